/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The DNS header and the question: RFC 1035 4.1. */
#ifndef XDPDNS_PARSE_DNS_H
#define XDPDNS_PARSE_DNS_H

#include "cursor.h"
#include "outcomes.h"

#define DNS_HEADER	12
#define NAME_MAX_BYTES	255 /* RFC 1035 2.3.4, with the root's zero byte */
#define NAME_MAX_LABELS 127
#define LABEL_MAX	63
#define QUESTION_TAIL	4 /* type and class */

/* The third byte of the header: QR, four bits of opcode, AA, TC, RD. */
#define HEADER2_QR     0x80
#define HEADER2_OPCODE 0x78
#define HEADER2_TC     0x02
/* The fourth: RA, Z, AD, CD, four bits of rcode. */
#define HEADER3_AD 0x20

/* The four counts of the header as one word in memory order. */
#define COUNTS(qd, an, ns, ar)                                                                                         \
	((u64)__builtin_bswap16(qd) | (u64)__builtin_bswap16(an) << 16 | (u64)__builtin_bswap16(ns) << 32 |            \
	 (u64)__builtin_bswap16(ar) << 48)

/* A DNS message inside a frame. Offsets are in bytes from `start`. */
struct message {
	const u8 *start;
	const u8 *frame_end; /* what the verifier knows */
	u32 len;	     /* what the headers say: never more than the frame holds */
};

struct question {
	const u8 *root; /* the name's final zero byte; with the tail behind it, inside the frame */
	u32 end;	/* offset one past the question */
	u32 name_len;	/* bytes on the wire, 1 to 255 */
	u32 labels;	/* 0 to 127, without the root */
	u32 last_len;	/* bytes of the last label: the TLD's; 0 for the root */
	u16 qtype;
	u16 qclass;
};

static __always_inline enum outcome parse_header(const struct message *m, u8 *header2, u8 *header3, u64 *counts)
{
	if (m->len < DNS_HEADER || m->start + DNS_HEADER > m->frame_end)
		return OUTCOME_DNS_TRUNCATED;
	*header2 = m->start[2];
	*header3 = m->start[3];
	*counts = load64(m->start + 4);
	if (*header2 & HEADER2_OPCODE)
		return OUTCOME_OPCODE;
	if ((u16)*counts != __builtin_bswap16(1))
		return OUTCOME_QDCOUNT;
	return OUTCOME_GO_ON;
}

/* Four labels of one byte each, as in ip6.arpa: 01 xx 01 xx 01 xx 01 xx. */
static __always_inline bool is_nibble_run(u64 word)
{
	return (word & 0x00ff00ff00ff00ffULL) == 0x0001000100010001ULL;
}

/*
 * Walks the question's name. The checks of a step are against the frame, as the verifier wants them; that the message
 * may end before the frame does is asked once, where the walk ends: bytes past the message's end can only have led
 * the walk further past it.
 */
static __always_inline enum outcome parse_question(const struct message *m, struct question *q)
{
	u64 labels = opaque_zero(m->start), at = DNS_HEADER;
	u32 last = 0, len;
	enum outcome bad = OUTCOME_NAME_TOO_LONG;

	blur(at, m->start, 511);
#pragma nounroll
	for (int i = 0; i <= NAME_MAX_LABELS; i++) {
		const u8 *p = m->start + at;

		if (p + 1 > m->frame_end)
			return OUTCOME_NAME_TRUNCATED;
		len = *p;
		if (len > LABEL_MAX) {
			bad = len >= 0xc0 ? OUTCOME_NAME_COMPRESSED : OUTCOME_NAME_RESERVED;
			break;
		}
		if (len == 0)
			goto whole;
		if (len == 1 && p + 8 <= m->frame_end && is_nibble_run(load64(p))) {
			last = 1;
			at += 8;
			labels += 4;
		} else {
			last = len;
			at += len + 1;
			labels += 1;
		}
		if (at >= DNS_HEADER + NAME_MAX_BYTES)
			break;
	}
	return at >= m->len ? OUTCOME_NAME_TRUNCATED : bad;

whole:
	blur(at, m->start, 511);
	q->root = m->start + at;
	if (at >= m->len)
		return OUTCOME_NAME_TRUNCATED;
	if (at + 1 + QUESTION_TAIL > m->len || q->root + 1 + QUESTION_TAIL > m->frame_end)
		return OUTCOME_QUESTION_TRUNCATED;
	q->qtype = load_be16(q->root + 1);
	q->qclass = load_be16(q->root + 3);
	q->name_len = at + 1 - DNS_HEADER;
	q->end = at + 1 + QUESTION_TAIL;
	q->labels = labels;
	q->last_len = last;
	return OUTCOME_GO_ON;
}

#endif
