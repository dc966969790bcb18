/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The table of waiting queries, which the programs of both sides share, and what becomes of each. */
#ifndef XDPDNS_TIMING_BPF_H
#define XDPDNS_TIMING_BPF_H

#if TIMING
#include "tables.h"
#include "timing.h"

TABLE("array", u32, struct waiting, pending, PENDING_PAIRS);
TABLE("percpu_array", u32, struct timing, timing, 1);

/*
 * The time of a packet in nanoseconds: the kernel's, or that of a capture, which the agent writes before each packet
 * that it replays.
 */
#if CAPTURE_CLOCK
TABLE("array", u32, u64, clock, 1);
#endif

static __always_inline u64 packet_time(void)
{
#if CAPTURE_CLOCK
	u32 at = 0;
	u64 *now = clock.lookup(&at);

	return now ? *now : 0;
#else
	return bpf_ktime_get_ns();
#endif
}

#if !RESPONSES
/* Whether a slot's word is of this very query. */
static __always_inline bool waits(u64 word, const struct pair *pair, u64 now)
{
	return (u32)word == (u32)pair->mark && age_of(word, now) < TIMING_TIMEOUT;
}

/* A query takes one of its slots, unless it waits there already: a free one, or that of who waits for longer. */
static __always_inline void begin_waiting(struct waiting *slots, const struct pair *pair, struct timing *t, u64 now)
{
	u64 first = slots->word[0], second = slots->word[1], before;

	if (waits(first, pair, now) || waits(second, pair, now)) {
		t->duplicate += 1;
		return;
	}
	t->tracked += 1;
	if (first && (!second || age_of(second, now) > age_of(first, now)))
		before = __sync_lock_test_and_set(&slots->word[1], now << 32 | pair->mark);
	else
		before = __sync_lock_test_and_set(&slots->word[0], now << 32 | pair->mark);
	if (!before)
		return;
	if (age_of(before, now) < TIMING_TIMEOUT)
		t->displaced += 1;
	else
		t->expired += 1;
}

#else
/* Whether this is the query that the response answers, in time; one without a question answers any of its tuple. */
static __always_inline bool is_pair(u64 word, const struct pair *pair, u64 now)
{
	u64 what = pair->question ? WORD_TUPLE | WORD_QUESTION : WORD_TUPLE;

	return word && !((word ^ pair->mark) & what) && age_of(word, now) < TIMING_TIMEOUT;
}

/* A response frees its query's slot; of two that are the same only one can. */
static __always_inline void end_waiting(struct waiting *slots, const struct pair *pair, struct timing *t, u64 now,
					u64 index)
{
	u64 way = !is_pair(slots->word[0], pair, now), word, units, bucket;

	word = slots->word[way];
	units = age_of(word, now);
	if (!is_pair(word, pair, now) || __sync_val_compare_and_swap(&slots->word[way], word, 0) != word) {
		t->orphan += 1;
		return;
	}
	bucket = timing_bucket(units) + index * TIMING_BUCKETS;
	opaque(bucket); /* or clang drops the check that the verifier wants to see */
	if (bucket >= TIMING_COUNT * TIMING_BUCKETS)
		return;
	t->bucket[bucket] += 1;
	t->units[index & (TIMING_COUNT - 1)] += units;
}

#endif

static __always_inline void time_message(const u8 *data, const struct ip_payload *ip, const struct message *m,
					 const struct features *f)
{
	struct waiting *slots;
	u64 now;
	struct timing *t;
	struct pair pair;
	u32 at = 0;

	/* queries only, of those that have an answer: QR is set in answers that come to a server's port */
	if (f->header2 & (RESPONSES ? HEADER2_OPCODE : HEADER2_QR))
		return;
	pair_of(data, ip, m, f, &pair);
	if (!pair.sampled)
		return;
	t = timing.lookup(&at);
	at = pair.slot;
	slots = pending.lookup(&at);
	if (!t || !slots) /* never: elements of arrays */
		return;
	now = timing_now(packet_time());
#if RESPONSES
	end_waiting(slots, &pair, t, now, (ip->af == 6 ? TIMING_IPV6_UDP : TIMING_IPV4_UDP) + (ip->proto == PROTO_TCP));
#else
	begin_waiting(slots, &pair, t, now);
#endif
}
#else
#define time_message(data, ip, m, f) ((void)0)
#endif

#endif
