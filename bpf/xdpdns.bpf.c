/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * xdpdns: counts DNS queries, or the responses to them, by their features, and every packet by its outcome. The program
 * never writes to a packet and always lets it pass.
 *
 * Maps are used here and in the files named *.bpf.h, which the agent pastes in where they are included: BCC rewrites
 * map operations in the main file only. All other headers are free of maps, so that they can be built natively.
 *
 * The agent compiles the configuration in: HOOK_TC, RESPONSES, TIMING and TIMING_SAMPLE (timing.h), KEY_... and
 * TLD_BYTES (stats_key.h), WATCHED_PORT (parse_udp.h), EDNS_EDGES (parse_edns.h), TLDS_BOUNDED, QTYPE_REGISTERED,
 * EXACT_EDNS (edns_sizes.h); and sets the maps' sizes when it creates them.
 */
#include "classify.h"
#include "counters.h"
#include "edns_sizes.h"
#include "make_key.h"
#include "outcomes.h"
#include "rows.bpf.h"
#include "stats_key.h"
#include "timing.bpf.h"

/*
 * The hook that the program is compiled for: XDP, or TC (TCX and clsact) behind it. "Go on" is XDP_PASS, and TCX_NEXT,
 * which clsact knows as TC_ACT_UNSPEC.
 */
#if HOOK_TC
#define CONTEXT struct __sk_buff
#define GO_ON	(-1)
#else
#define CONTEXT struct xdp_md
#define GO_ON	2
#endif

/* The most of a packet that is gathered for reading: a page, as XDP sees it. */
#define GATHER_MAX 4096

BPF_TABLE("percpu_array", u32, struct counters, counters, 1);

#if EXACT_EDNS
BPF_TABLE("percpu_array", u32, struct edns_sizes, edns_sizes, EDNS_SIZES_ELEMENTS);
#endif

static __always_inline void count_header(struct counters *c, const struct features *f)
{
	c->header[HEADER_INDEX(f->header2, f->header3)] += 1;
}

static __always_inline void count_size(struct counters *c, u64 size)
{
	u64 step = size / SIZE_STEP;

	if (size < SIZE_EXACT) {
		c->size[size] += 1;
		return;
	}
	if (step >= SIZE_BUCKETS)
		step = SIZE_BUCKETS - 1;
	c->large[step] += 1;
	c->large_sum += size;
}

static __always_inline void count_marginals(struct counters *c, const struct features *f)
{
	u64 labels = f->question.labels & NAME_MAX_LABELS, len = f->question.name_len & NAME_MAX_BYTES;

	c->question[qclass_index(f->question.qclass) * VERSION_COUNT + version_index(&f->edns)] += 1;
	c->name_len[len] += 1;
	c->name_labels[labels] += 1;
	count_size(c, f->size);
}

#if EXACT_EDNS
static __always_inline void count_edns_size(const struct features *f)
{
	u32 index = edns_sizes_index(&f->edns);
	u32 element = index / EDNS_SIZES_COUNTERS;
	struct edns_sizes *sizes;

	if (!has_exact_size(f))
		return;
	sizes = edns_sizes.lookup(&element);
	if (sizes)
		sizes->count[index % EDNS_SIZES_COUNTERS] += 1;
}
#endif

/*
 * At TC a packet's bytes may lie in pieces (a driver that splits headers, a segment made of pages): those that a
 * message can be read from are brought together first. It is the only way to see them; what the packet says doesn't
 * change.
 */
static __always_inline void gather(CONTEXT *ctx)
{
#if HOOK_TC
	u64 len = ctx->len;

	if (len > GATHER_MAX)
		len = GATHER_MAX;
	if (ctx->data_end - ctx->data < len)
		bpf_skb_pull_data(ctx, len); /* a failure leaves the packet as it was, to be read as far as it goes */
#endif
}

/* VLAN tags that the kernel has taken out of the frame: at TC the outermost one is beside it. */
static __always_inline u64 tags_beside(CONTEXT *ctx)
{
#if HOOK_TC
	return ctx->vlan_present;
#else
	return 0;
#endif
}

int xdpdns_count(CONTEXT *ctx)
{
	struct stats_key key;
	struct ip_payload ip;
	struct message m;
	struct features f;
	u64 outcome;
	struct counters *c;
	u32 zero = 0;

	gather(ctx);
	outcome = classify((const u8 *)(long)ctx->data, (const u8 *)(long)ctx->data_end, tags_beside(ctx), &ip, &m, &f);
	c = counters.lookup(&zero);
	if (!c) /* an array's first element is always there; the verifier doesn't know */
		return GO_ON;
	if (outcome != OUTCOME_QUERY) {
		c->outcome[outcome] += 1;
		if (outcome >= OUTCOME_HEADER_SEEN)
			count_header(c, &f);
		return GO_ON;
	}
	time_message((const u8 *)(long)ctx->data, &ip, &m, &f);
	count_header(c, &f);
	make_key(&key, &ip, &m, &f);
	count_marginals(c, &f);
#if EXACT_EDNS
	count_edns_size(&f);
#endif
	if (!count_in_row(&key))
		count_unknown(&key, c);
	return GO_ON;
}
