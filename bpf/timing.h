/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Response time: what a query and its response have in common, and how one waits for the other.
 *
 * A waiting query is one 64-bit word in a table of slots; its addresses, ports and ID choose two. A new query takes
 * one of its slots whatever waits there: while strangers' queries flood in, one that is answered soon is still met, for
 * there are many slots between it and the next that takes its own. Words change hands only by atomic exchange, so that
 * every query that was taken note of is in exactly one count: matched, expired, displaced, or still in its slot.
 */
#ifndef XDPDNS_TIMING_H
#define XDPDNS_TIMING_H

#include "classify.h"

/* A power of two; each is a pair of slots. */
#define PENDING_PAIRS 32768

struct waiting {
	u64 word[2];
};

/* The clock's unit is 1024 ns, so that the histogram's edges, powers of two of it, are powers of two of nanoseconds. */
#define TIMING_SHIFT 10

/* Buckets: below 2^4 units (16.384 us), below 2^5, ... below 2^23 (8.59 s); what is older waits no longer. */
#define TIMING_FIRST   4
#define TIMING_BUCKETS 20
#define TIMING_TIMEOUT (1ULL << (TIMING_FIRST + TIMING_BUCKETS - 1))

/* Responses by address family and transport. */
enum timing_index { TIMING_IPV4_UDP, TIMING_IPV4_TCP, TIMING_IPV6_UDP, TIMING_IPV6_TCP, TIMING_COUNT };

/* What became of the sampled queries and responses; `timing` has one a CPU, which both programs count in. */
struct timing {
	u64 tracked;   /* queries that took a slot */
	u64 duplicate; /* queries that wait already: sent again before the answer */
	u64 expired;   /* waited for TIMING_TIMEOUT, and another query took the slot */
	u64 displaced; /* another query took the slot before that */
	u64 orphan;    /* responses for which no query waits */
	u64 bucket[TIMING_COUNT * TIMING_BUCKETS];
	u64 units[TIMING_COUNT]; /* the sum of the times, in clock units */
};

/*
 * The word of a waiting query: when it came, a mark of its tuple, and below that one of tuple and question together, so
 * that the many who ask the same differ in all bits.
 */
#define WORD_QUESTION 0xffffULL
#define WORD_TUPLE    0xffff0000ULL
#define WORD_SET      0x10000ULL /* part of every tuple's mark: no word is 0, which is an empty slot */

struct pair {
	u64 slot;
	u64 mark; /* the word without its time */
	bool sampled;
	bool question; /* there is one */
};

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 29;
}

/*
 * The client's half of the tuple, then the server's: a response has them the other way round. `addrs` has the source
 * address and the destination behind it. 0, which hardly ever is a hash, if they are not in the frame: they are, since
 * the message lies behind them, but the verifier doesn't know.
 */
static __always_inline u64 hash_tuple(u64 af, const u8 *addrs, const u8 *end, u32 ports, u64 id)
{
	u64 first, second;

	if (af == 4) {
		if (addrs + 8 > end)
			return 0;
		first = mix(0, load32(addrs));
		second = mix(0, load32(addrs + 4));
	} else {
		if (addrs + 32 > end)
			return 0;
		first = mix(mix(0, load64(addrs)), load64(addrs + 8));
		second = mix(mix(0, load64(addrs + 16)), load64(addrs + 24));
	}
	if (RESPONSES)
		return mix(mix(mix(id, second), first), ports >> 16 | ports << 16);
	return mix(mix(mix(id, first), second), ports);
}

/* At least 0, without a branch that the verifier would follow both ways. */
static __always_inline u64 at_least_0(s64 x)
{
	s64 below = x >> 63;

	opaque(below);
	return x & ~below;
}

/* A word of a name, in lower case, without its first 0 to 8 bytes. */
static __always_inline u64 name_word(const u8 *p, u64 without)
{
	u64 bits = 4 * without;

	return (load64(p) | EACH_BYTE(0x20)) >> bits >> bits;
}

/*
 * The whole question: type, class and every byte of the name, 16 at a time from its start, and the 16 that it ends
 * with. Upper and lower case are one, since a server may write the name in its own. To the verifier the walk has a
 * pointer and a length of its own, lest each number of steps lead it through all that follows.
 */
static __always_inline u64 hash_question(const struct message *m, const struct question *q)
{
	u64 len = q->name_len, zero = 0, hash, before, second;
	const u8 *p;

	hash = mix(len, q->qtype | q->qclass << 16);
	blur(len, m->start, 0xff);
	blur(zero, m->start, 1);
	p = m->start + zero + DNS_HEADER;
#pragma nounroll
	for (u64 at = 0; at + 16 <= NAME_MAX_BYTES; at += 16) {
		if (at + 16 > len || p + at + 16 > m->frame_end)
			break;
		hash = mix(hash, name_word(p + at, 0));
		hash = mix(hash, name_word(p + at + 8, 0));
	}
	before = at_least_0(16 - (s64)len);
	second = at_least_0(before - 8);
	hash = mix(hash, name_word(q->root + 1 - 16, before - second));
	return mix(hash, name_word(q->root + 1 - 8, second));
}

static __always_inline void pair_of(const u8 *data, const struct ip_payload *ip, const struct message *m,
				    const struct features *f, struct pair *pair)
{
	u64 tuple, at = ip->addrs;
	const u8 *addrs;

	pair->sampled = false;
	addrs = data + at;
	tuple = hash_tuple(ip->af, addrs, m->frame_end, f->ports, load16(m->start));
	if (!tuple || tuple >> 48 & (TIMING_SAMPLE - 1))
		return;
	pair->sampled = true;
	pair->slot = tuple >> 32 & (PENDING_PAIRS - 1);
	pair->mark = (u32)tuple | WORD_SET;
	pair->question = f->question.name_len;
	if (pair->question)
		pair->mark ^= hash_question(m, &f->question) >> 48;
}

static __always_inline u64 timing_now(u64 nanoseconds)
{
	return nanoseconds >> TIMING_SHIFT & 0xffffffff;
}

/* Units between a word's time and now; the clock comes round after 73 minutes. */
static __always_inline u64 age_of(u64 word, u64 now)
{
	return (now - (word >> 32)) & 0xffffffff;
}

/* The bucket of a time below TIMING_TIMEOUT. Without a branch, each of which would be two ways to the verifier. */
static __always_inline u64 timing_bucket(u64 units)
{
	u64 bucket = 0;

	units >>= TIMING_FIRST;
#pragma unroll
	for (int log = 4; log >= 0; log--) {
		u64 more = 0 - (units >> (1 << log));

		opaque(more); /* or clang makes a comparison of it */
		more = more >> 63 << log;
		units >>= more;
		bucket += more;
	}
	return bucket + units; /* by now 0 or 1 */
}

#endif
