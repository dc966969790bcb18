/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The table of waiting queries, which the programs of both sides share, and what becomes of each. */
#ifndef XDPDNS_TIMING_BPF_H
#define XDPDNS_TIMING_BPF_H

#if TIMING
#include "timing.h"

BPF_TABLE("array", u32, u64, pending, PENDING_SLOTS);
BPF_TABLE("percpu_array", u32, struct timing, timing, 1);

/*
 * The time of a packet in nanoseconds: the kernel's, or that of a capture, which the agent writes before each packet
 * that it replays.
 */
#if CAPTURE_CLOCK
BPF_TABLE("array", u32, u64, clock, 1);
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
/* A query takes its slot, unless it waits there already. */
static __always_inline void begin_waiting(u64 *slot, const struct pair *pair, struct timing *t, u64 now)
{
	u64 waiting = *slot;

	if ((u32)waiting == (u32)pair->mark && age_of(waiting, now) < TIMING_TIMEOUT) {
		t->duplicate += 1;
		return;
	}
	t->tracked += 1;
	waiting = __sync_lock_test_and_set(slot, now << 32 | pair->mark);
	if (!waiting)
		return;
	if (age_of(waiting, now) < TIMING_TIMEOUT)
		t->displaced += 1;
	else
		t->expired += 1;
}

#else
/* Whether this is the query that the response answers; one without a question answers any of its tuple. */
static __always_inline bool is_pair(u64 waiting, const struct pair *pair)
{
	u64 what = pair->question ? WORD_TUPLE | WORD_QUESTION : WORD_TUPLE;

	return waiting && !((waiting ^ pair->mark) & what);
}

/* A response frees its query's slot; of two that are the same only one can. */
static __always_inline void end_waiting(u64 *slot, const struct pair *pair, struct timing *t, u64 now, u64 index)
{
	u64 waiting = *slot, units = age_of(waiting, now), bucket;

	if (!is_pair(waiting, pair) || units >= TIMING_TIMEOUT ||
	    __sync_val_compare_and_swap(slot, waiting, 0) != waiting) {
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
	u64 now, *slot;
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
	slot = pending.lookup(&at);
	if (!t || !slot) /* never: elements of arrays */
		return;
	now = timing_now(packet_time());
#if RESPONSES
	end_waiting(slot, &pair, t, now, (ip->af == 6 ? TIMING_IPV6_UDP : TIMING_IPV4_UDP) + (ip->proto == PROTO_TCP));
#else
	begin_waiting(slot, &pair, t, now);
#endif
}
#else
#define time_message(data, ip, m, f) ((void)0)
#endif

#endif
