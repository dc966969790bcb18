/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The OPT record (RFC 6891 6.1.2): the first record of type 41 among those that the counts announce after the question.
 * Records are stepped over by their syntax alone; a pointer in an owner name ends it and is not followed.
 */
#ifndef XDPDNS_PARSE_EDNS_H
#define XDPDNS_PARSE_EDNS_H

#include "cursor.h"
#include "parse_dns.h"
#include "stats_key.h"

#define TYPE_OPT     41
#define RECORD_FIXED 10 /* type, class, TTL, rdlength */

/* The walk must end somewhere; a query has one to three records, and a name at most 127 labels. */
#define WALK_STEPS_MAX 256
#define WALK_BYTES_MAX 0x3fff

struct edns {
	u64 bucket; /* EDNS_... */
	u64 do_bit; /* 0 or 1 */
	u64 rcode;  /* the extended RCODE: its upper eight bits */
	u64 version;
	u64 size; /* the class field: the sender's UDP payload size in bytes */
};

/*
 * Numbers the size's bucket: below the first edge 0, equal to it 1, between it and the second 2, and so on.
 * EDNS_EDGES(X), compiled in by the agent, is X(edge) X(edge) ... in ascending order.
 */
static __always_inline u64 edns_bucket(u64 size)
{
	u64 bucket = EDNS_BUCKETS;

#define X(edge)                                                                                                        \
	if (size <= (edge))                                                                                            \
		return bucket + (size == (edge));                                                                      \
	bucket += 2;
	EDNS_EDGES(X)
#undef X
	return bucket;
}

/*
 * An OPT record is handed around as the word behind its owner name: type, size, extended rcode, version, first byte of
 * the flags, in memory order. These stand for none; their type isn't OPT.
 */
#define OPT_ABSENT 0ULL
#define OPT_UNSEEN 1ULL

static __always_inline bool is_opt(u64 fixed)
{
	return (u16)fixed == __builtin_bswap16(TYPE_OPT);
}

/* What the message holds from an offset on; below zero past its end. */
static __always_inline s64 bytes_left(const struct message *m, u64 at)
{
	s64 left = (s64)m->len - (s64)at;

	opaque(left); /* of a difference the verifier learns nothing about m->len, which would split the walk */
	return left;
}

/*
 * The walk over `records` records (one or more) from `at`, for the message whose only record isn't the OPT: TSIG before
 * it, an IXFR's SOA, answers. A step is a label of an owner name, or a name's end with the record behind it. `first`
 * becomes the type of the first record, in memory order, and 0 if that is not whole.
 *
 * The two kinds of step are one way, on which masks make the difference, and which is only left to end the walk: the
 * verifier follows it once. Both must have a record's fixed part behind them, for a label has to be followed by one.
 */
static __always_inline u64 search_opt(const struct message *m, u64 at, u64 records, u64 *first)
{
	u64 is_first = 0xffff, found = 0;

	blur(at, m->start, 0x3fff);
	blur(records, m->start, 0x3ffff);
#pragma nounroll
	for (int step = 0; step < WALK_STEPS_MAX; step++) {
		const u8 *p = m->start + at;
		u64 fixed, len, is_end, label, record;

		if (bytes_left(m, at) < 1 || p + 1 > m->frame_end)
			break;
		len = *p;
		if (len > LABEL_MAX && len < 0xc0)
			break;
		is_end = (len - 1) >> 63 | len >> 7; /* the root's zero byte, or a pointer of two bytes */
		opaque(is_end);
		label = is_end - 1;
		record = -is_end;
		at += 1 + (len & label) + (len >> 7);
		p = m->start + at;
		if (bytes_left(m, at) < RECORD_FIXED || p + RECORD_FIXED > m->frame_end)
			break;
		fixed = load64(p);
		if (RESPONSES) {
			found |= fixed & record & is_first;
			is_first &= label;
		}
		if (is_opt(fixed | label)) {
			*first = found;
			return fixed;
		}
		at += (RECORD_FIXED + load_be16(p + 8)) & record;
		records -= is_end;
		if (records == 0) {
			*first = found;
			return OPT_ABSENT;
		}
		if (at > WALK_BYTES_MAX)
			break;
	}
	*first = found;
	return OPT_UNSEEN;
}

static __always_inline u64 find_opt(const struct message *m, const struct question *q, u64 counts, u64 *first)
{
	u64 end = q->end, fixed;
	const u8 *p;

	*first = 0;
	if (counts >> 16 == 0)
		return OPT_ABSENT;
	opaque(end); /* else p is q->root to the verifier, and what it learns here splits the walk below */
	p = m->start + end;
	/* The usual place: the only record, its owner the root. */
	if (counts >> 16 == COUNTS(0, 0, 0, 1) >> 16 && bytes_left(m, end) >= 1 + RECORD_FIXED &&
	    p + 1 + RECORD_FIXED <= m->frame_end) {
		fixed = load64(p);
		if ((fixed & 0xffffff) == (u64)__builtin_bswap16(TYPE_OPT) << 8)
			return fixed >> 8;
	}
	fixed = search_opt(
	    m, q->end,
	    __builtin_bswap16(counts >> 16) + __builtin_bswap16(counts >> 32) + __builtin_bswap16(counts >> 48), first);
	/* Without additional records there is nothing that the walk could have missed. */
	return fixed == OPT_UNSEEN && !(counts >> 48) ? OPT_ABSENT : fixed;
}

/* `first` becomes the type of the first record behind the question, if a response has others than an OPT. */
static __always_inline void parse_edns(const struct message *m, const struct question *q, u64 counts, struct edns *e,
				       u64 *first)
{
	u64 fixed = find_opt(m, q, counts, first);

	e->rcode = 0;
	if (is_opt(fixed)) {
		e->size = __builtin_bswap16((u16)(fixed >> 16));
		e->bucket = edns_bucket(e->size);
		e->rcode = fixed >> 32 & 0xff;
		e->version = fixed >> 40 & 0xff;
		e->do_bit = (fixed >> 55) & 1;
	} else {
		e->size = 0;
		e->bucket = fixed == OPT_UNSEEN ? EDNS_UNSEEN : EDNS_NONE;
		e->version = 0;
		e->do_bit = 0;
	}
}

#endif
