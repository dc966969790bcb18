/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * xdpdns: counts DNS queries, or the responses to them, by their features, and every packet by its outcome. The program
 * never writes to a packet and always lets it pass.
 *
 * Maps are used here and in the files named *.bpf.h, which the agent pastes in where they are included: BCC rewrites
 * map operations in the main file only. All other headers are free of maps, so that they can be built natively.
 *
 * The agent compiles the configuration in: HOOK_TC, RESPONSES, HANDS_OVER, TIMING and TIMING_SAMPLE (timing.h), KEY_...
 * and TLD_BYTES (stats_key.h), WATCHED_PORT and ENCRYPTED_... (parse_udp.h), EDNS_EDGES (parse_edns.h), TLDS_BOUNDED,
 * QTYPE_REGISTERED, EXACT_EDNS (edns_sizes.h); and sets the maps' sizes when it creates them.
 */
#include "classify.h"
#include "counters.h"
#include "edns_sizes.h"
#include "make_key.h"
#include "outcomes.h"
#include "parse_usual.h"
#include "rows.bpf.h"
#include "stats_key.h"
#include "tables.h"
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

/*
 * A frame's bounds, read at each call: the verifier takes no pointer into the context, only its start, which clang
 * doesn't know.
 */
static __always_inline const u8 *frame_start(CONTEXT *ctx)
{
	opaque(ctx);
	return (const u8 *)(long)ctx->data;
}

static __always_inline const u8 *frame_end(CONTEXT *ctx)
{
	opaque(ctx);
	return (const u8 *)(long)ctx->data_end;
}

/* The most of a packet that is gathered for reading: a page, as XDP sees it. */
#define GATHER_MAX 4096

TABLE("percpu_array", u32, struct counters, counters, COUNTERS_COUNT);

/* Programs to go on in: for TCP segments, this one again, and the one that counts the other side. */
#define TAIL_TCP   0
#define TAIL_AGAIN 1
#define TAIL_OTHER 2
#define TAILS	   3
#if TCP || HOOK_TC || HANDS_OVER
TABLE("prog", u32, u32, tails, TAILS);
#endif

#if EXACT_EDNS
TABLE("percpu_array", u32, struct edns_sizes, edns_sizes, EDNS_SIZES_ELEMENTS);
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
 * At TC a packet's bytes may lie in pieces (a driver that splits headers, a segment made of pages), of which a program
 * sees the first. Those that a message can be read from are brought together, in packets that have one, for the program
 * to begin again. It is the only way to see them; what the packet says doesn't change.
 */
#if HOOK_TC
static __always_inline bool is_scattered(CONTEXT *ctx, u64 outcome)
{
	u64 len = ctx->len < GATHER_MAX ? ctx->len : GATHER_MAX;

	/* several datagrams in one (GRO) stay as they are: moved about, older kernels can't part them again */
	if (outcome != OUTCOME_TCP && ctx->gso_segs > 1)
		return false;
	return frame_end(ctx) - frame_start(ctx) < len && !IS_ELSEWHERE(outcome);
}
#endif

/*
 * Where both queries and responses pass one way (a resolver has clients and upstreams), the queries' program leaves to
 * the responses' what has no port of its own: each packet is counted once, by one or the other. Between two servers,
 * both ports are watched: then QR says which it is.
 */
#if HANDS_OVER
static __always_inline bool is_others(u64 outcome, const struct features *f)
{
	u16 from = __builtin_bswap16((u16)f->ports);

	if (outcome == OUTCOME_NOT_UDP || outcome == OUTCOME_OTHER_PORT)
		return true;
	if (outcome != OUTCOME_GO_ON && outcome < OUTCOME_HEADER_SEEN)
		return false;
	return f->header2 & HEADER2_QR && WATCHED_PORT(from);
}
#endif

/* VLAN tags that the kernel has taken out of the frame: at TC the outermost one is beside it. */
static __always_inline u64 tags_beside(CONTEXT *ctx)
{
#if HOOK_TC
	return ctx->vlan_present;
#else
	return 0;
#endif
}

/* A message that parsed whole: timed, and counted by all its features. */
static __always_inline void count_whole(CONTEXT *ctx, const struct ip_payload *ip, const struct message *m,
					const struct features *f, struct counters *c)
{
	struct stats_key key;

	/* the frame's start once more: what the verifier learned of the other since would split the walk */
	time_message(frame_start(ctx), ip, m, f);
	count_header(c, f);
	make_key(&key, ip, m, f);
	count_marginals(c, f);
#if EXACT_EDNS
	count_edns_size(f);
#endif
	if (!count_in_row(&key))
		count_unknown(&key, c);
}

static __always_inline void count_bad(u64 outcome, const struct features *f, struct counters *c)
{
	c->outcome[outcome] += 1;
	if (outcome >= OUTCOME_HEADER_SEEN)
		count_header(c, f);
}

#if USUAL
/* In the members that `usual` stands for: a query with options, or with bytes behind its records. */
static __always_inline void count_unusual_size(struct counters *c, u64 index, u64 size)
{
	u64 version = VERSION_0;

	if (index >= USUAL_COUNT / 2) {
		index -= USUAL_COUNT / 2;
		version = VERSION_NO_EDNS;
	}
	c->question[QCLASS_IN * VERSION_COUNT + version] += 1;
	c->name_len[index % USUAL_NAME_LEN + 1] += 1;
	c->name_labels[index / USUAL_NAME_LEN % 8 + 1] += 1;
	count_size(c, size);
	opaque(c); /* or clang joins the last of these with the one counter of others, which then needs a jump */
}

/* False if the message is not a usual query, and then nothing has been counted. */
static __always_inline bool count_usual(const struct plain *plain, struct counters *c)
{
	struct stats_key key;
	struct features f = {};
	struct usual u = {};

	if (!parse_usual(plain, &u, &f.edns))
		return false;
	read_usual(plain, &u, &f, &key);
	count_header(c, &f);
	if (u.index < USUAL_COUNT)
		c->usual[u.index] += 1;
	else
		count_unusual_size(c, u.index - USUAL_COUNT, plain->end - plain->start);
#if EXACT_EDNS
	count_edns_size(&f);
#endif
	if (!count_in_row(&key))
		count_unknown(&key, c);
	return true;
}
#endif

#include "tcp.bpf.h"

/* Leaves a packet to the other side's program, or to this one once more; true if it had to be counted as it is. */
static __always_inline bool leave(CONTEXT *ctx, u64 outcome, const struct features *f, struct counters *c)
{
#if HANDS_OVER
	if (is_others(outcome, f))
		tails.call(ctx, TAIL_OTHER);
#endif
#if HOOK_TC
	if (is_scattered(ctx, outcome)) {
		if (!bpf_skb_pull_data(ctx, ctx->len < GATHER_MAX ? ctx->len : GATHER_MAX))
			tails.call(ctx, TAIL_AGAIN);
		c->outcome[outcome ? outcome : OUTCOME_DNS_TRUNCATED] += 1; /* no memory: it stays cut */
		return true;
	}
#endif
	return false;
}

/* A packet of which the ports say enough, or the protocol. */
static __always_inline int count_unread(CONTEXT *ctx, u64 outcome, struct counters *c)
{
	struct features none = {};

	if (leave(ctx, outcome, &none, c))
		return GO_ON;
#if TCP
	if (outcome == OUTCOME_TCP)
		tails.call(ctx, TAIL_TCP);
#endif
	c->outcome[outcome] += 1;
	return GO_ON;
}

/* Any other packet. All is set from the beginning: clang copies what is not, and the verifier wants no such copy. */
static __always_inline int count_any(CONTEXT *ctx, bool is_plain, struct counters *c)
{
	const u8 *data = frame_start(ctx), *end = frame_end(ctx);
	struct ip_payload ip = {};
	struct message m = {};
	struct features f = {};
	u64 outcome = classify(data, end, tags_beside(ctx), is_plain ? plain_af(data, end) : 0, &ip, &m, &f);

	if (leave(ctx, outcome, &f, c))
		return GO_ON;
#if TCP
	if (outcome == OUTCOME_TCP)
		tails.call(ctx, TAIL_TCP);
#endif
	if (outcome != OUTCOME_GO_ON)
		count_bad(outcome, &f, c);
	else
		count_whole(ctx, &ip, &m, &f, c);
	return GO_ON;
}

int xdpdns_count(CONTEXT *ctx)
{
	CONTEXT *volatile kept = ctx; /* in memory: the usual query needs all registers, and not this */
	struct plain plain = {};
	struct counters *c;
	u32 packets = COUNTERS_PACKETS;
	u64 outcome;

	c = counters.lookup(&packets); /* first, while there is nothing else to keep */
	if (!c)			       /* an array's first element is always there; the verifier doesn't know */
		return GO_ON;
	outcome = parse_plain(frame_start(ctx), frame_end(ctx), &plain);
#if USUAL
	if (outcome == OUTCOME_GO_ON && count_usual(&plain, c))
		return GO_ON;
#endif
	if (outcome != OUTCOME_GO_ON && outcome != NOT_PLAIN)
		return count_unread(kept, outcome, c);
	return count_any(kept, outcome == OUTCOME_GO_ON, c);
}
