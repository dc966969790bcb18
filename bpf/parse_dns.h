/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The DNS header and the question: RFC 1035 4.1. */
#ifndef XDPDNS_PARSE_DNS_H
#define XDPDNS_PARSE_DNS_H

#include "cursor.h"
#include "outcomes.h"
#include "stats_key.h"

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

/* The four counts of the header as one word in memory order. */
#define COUNTS(qd, an, ns, ar)                                                                                         \
	((u64)__builtin_bswap16(qd) | (u64)__builtin_bswap16(an) << 16 | (u64)__builtin_bswap16(ns) << 32 |            \
	 (u64)__builtin_bswap16(ar) << 48)

/* A DNS message inside a frame. Offsets are in bytes from `start`. */
struct message {
	const u8 *start;     /* its header is whole */
	const u8 *frame_end; /* what the verifier knows */
	u64 len;	     /* what the headers say: never more than the frame holds */
};

struct question {
	const u8 *root; /* the name's final zero byte; with the tail behind it, inside the frame */
	u64 end;	/* offset one past the question */
	u64 name_len;	/* bytes on the wire, 1 to 255; 0: there is no question */
	u64 labels;	/* 0 to 127, without the root */
	u64 last_len;	/* bytes of the last label: the TLD's; 0 for the root */
	u64 qtype;
	u64 qclass;
};

static __always_inline enum outcome parse_header(const struct message *m, u64 *header2, u64 *header3, u64 *counts)
{
	*header2 = m->start[2];
	*header3 = m->start[3];
	*counts = load64(m->start + 4);
#if RESPONSES
	/* Any opcode, and a question or none: servers that did not understand the query may leave it out (RFC
	 * 1035 7.3). */
	if (!(*header2 & HEADER2_QR))
		return END(NOT_RESPONSE);
	if ((u16)*counts && (u16)*counts != __builtin_bswap16(1))
		return END(QDCOUNT);
#else
	if (*header2 & HEADER2_OPCODE)
		return END(OPCODE);
	if ((*counts & 0xffff) != __builtin_bswap16(1))
		return END(QDCOUNT);
#endif
	return OUTCOME_GO_ON;
}

/* Of a message without one: no length is 0, since the root's name has one byte. */
static __always_inline void no_question(const struct message *m, struct question *q)
{
	u64 end = DNS_HEADER, label = 0, type = QTYPE_NONE, class = 0;

	/* to the verifier all of it looks as it does behind a question, or it would walk all that follows twice */
	blur(end, m->start, 0x1ff);
	blur(label, m->start, 63);
	blur(type, m->start, 0xffff);
	blur(class, m->start, 0xffff);
	q->root = m->start;
	q->end = end;
	q->name_len = opaque_zero(m->start);
	q->labels = opaque_zero(m->start);
	q->last_len = label;
	q->qtype = type;
	q->qclass = class;
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
 *
 * The first labels, all that most names have, are stepped over in straight code, the others in a loop that takes runs
 * of nibbles at once.
 */
#define STRAIGHT_LABELS 4

static __always_inline enum outcome parse_question(const struct message *m, struct question *q)
{
	u64 at, len, last = 0, labels = opaque_zero(m->start), zero = 0;
	const u8 *p = m->start + DNS_HEADER, *start;

#pragma unroll
	for (int i = 0; i < STRAIGHT_LABELS; i++) {
		if (p + 1 > m->frame_end)
			return END(NAME_TRUNCATED);
		len = *p;
		if (len == 0) {
			labels += i;
			opaque(labels); /* or clang has all that is needed at `root` ready before every step */
			goto root;
		}
		if (len > LABEL_MAX)
			goto odd;
		last = len;
		p = p + 1 + len;
	}
	labels += STRAIGHT_LABELS;
	at = p - m->start;
	if (at >= DNS_HEADER + NAME_MAX_BYTES) /* four labels of 63 bytes */
		return at >= m->len ? END(NAME_TRUNCATED) : END(NAME_TOO_LONG);
	/*
	 * To the verifier the loop has a pointer of its own: what it learns of the frame's length on the way shall not
	 * tell the ways apart behind it. No counter is needed: each step takes a byte or more, and there are but 255.
	 */
	blur(zero, m->start, 1);
	start = m->start + zero;
#pragma nounroll
	for (;;) {
		p = start + at;
		if (last == 1 && p + 8 <= m->frame_end && is_nibble_run(load64(p))) {
			at += 8;
			labels += 4;
		} else {
			if (p + 1 > m->frame_end)
				return END(NAME_TRUNCATED);
			len = *p;
			if (len == 0)
				goto root;
			if (len > LABEL_MAX)
				goto odd;
			last = len;
			labels++;
			at += len + 1;
		}
		if (at >= DNS_HEADER + NAME_MAX_BYTES)
			return at >= m->len ? END(NAME_TRUNCATED) : END(NAME_TOO_LONG);
	}
odd:
	if (p - m->start >= m->len)
		return END(NAME_TRUNCATED);
	return len >= 0xc0 ? END(NAME_COMPRESSED) : END(NAME_RESERVED);
root:
	at = p - m->start;
	if (at >= DNS_HEADER + NAME_MAX_BYTES)
		return at >= m->len ? END(NAME_TRUNCATED) : END(NAME_TOO_LONG);
	blur(last, m->start, 63);
	q->root = m->start + at;
	q->end = at + 1 + QUESTION_TAIL;
	if (q->end > m->len || q->root + 1 + QUESTION_TAIL > m->frame_end)
		return at >= m->len ? END(NAME_TRUNCATED) : END(QUESTION_TRUNCATED);
	q->qtype = load_be16(q->root + 1);
	q->qclass = load_be16(q->root + 3);
	q->name_len = at + 1 - DNS_HEADER;
	q->labels = labels;
	q->last_len = last;
	return OUTCOME_GO_ON;
}

#endif
