/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * xdpdns: counts DNS queries, or the responses to them, by their features, and every packet by its outcome.
 *
 * Entry points, maps and record(): the only file with map operations, since BCC rewrites them only here. The program
 * never writes to a packet and always returns XDP_PASS.
 *
 * The agent compiles the configuration in: HOOK_TC, RESPONSES, KEY_... and TLD_BYTES (stats_key.h), WATCHED_PORT
 * (parse_udp.h), EDNS_EDGES (parse_edns.h), TLDS_BOUNDED, QTYPE_REGISTERED, EXACT_EDNS (edns_sizes.h); and sets the
 * maps' sizes when it creates them.
 */
#include "classify.h"
#include "counters.h"
#include "edns_sizes.h"
#include "make_key.h"
#include "outcomes.h"
#include "stats_key.h"

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

BPF_TABLE("percpu_hash", struct stats_key, u64, rows, 1);
BPF_TABLE("percpu_array", u32, struct counters, counters, 1);

#if KEY_TLD && TLDS_BOUNDED
struct tld_key {
	u8 tld[TLD_BYTES]; /* as in stats_key */
};
/* The allow-list; the value is the label's length, since a zero byte may also be part of a label. */
BPF_TABLE("hash", struct tld_key, u64, tlds, 1);
#endif

#if EXACT_EDNS
BPF_TABLE("percpu_array", u32, struct edns_sizes, edns_sizes, EDNS_SIZES_ELEMENTS);
#endif

static __always_inline bool count_in_row(struct stats_key *key)
{
	u64 *count = rows.lookup(key);

	if (!count)
		return false;
	*count += 1;
	return true;
}

/* 0, or the negative error of the insertion. Another CPU may be first: then its row is there to add to. */
static __always_inline int count_in_new_row(struct stats_key *key)
{
	u64 one = 1;
	int err = rows.insert(key, &one);

	if (err && count_in_row(key))
		return 0;
	return err;
}

static __always_inline bool fold_tld(struct stats_key *key)
{
#if KEY_TLD
	if (key->tld_len == TLD_LEN_OTHER || (RESPONSES && key->tld_len == TLD_LEN_NONE))
		return false;
	key->tld_len = TLD_LEN_OTHER;
	__builtin_memset(key->tld, 0, sizeof(key->tld));
	return true;
#else
	return false;
#endif
}

static __always_inline bool is_listed(struct stats_key *key)
{
#if KEY_TLD && TLDS_BOUNDED
	u64 *len;

	if (RESPONSES && key->tld_len == TLD_LEN_NONE)
		return true;
	len = tlds.lookup((struct tld_key *)key->tld);
	return len && *len == key->tld_len;
#else
	return true;
#endif
}

/* Folds values that are on no list, so that a sender can't make more rows than the lists allow. */
static __always_inline bool bound_values(struct stats_key *key)
{
	bool changed = false;

#if KEY_QTYPE
	if (key->qtype != QTYPE_OTHER && !(RESPONSES && key->qtype == QTYPE_NONE) && !(QTYPE_REGISTERED(key->qtype))) {
		key->qtype = QTYPE_OTHER;
		changed = true;
	}
#endif
	if (!is_listed(key))
		changed |= fold_tld(key);
	return changed;
}

/* A message whose row was not found: the only path that asks lists or makes rows. */
static __always_inline void count_unknown(struct stats_key *key, struct counters *c)
{
	int err;

	if (bound_values(key) && count_in_row(key))
		return;
	err = count_in_new_row(key);
	if (!err)
		return;
	if (fold_tld(key) && (count_in_row(key) || !count_in_new_row(key))) {
		c->folded += 1;
		return;
	}
	if (err == -7 /* E2BIG */)
		c->overflow[OVERFLOW_MAP_FULL] += 1;
	else
		c->overflow[OVERFLOW_MAP_ERROR] += 1;
}

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
