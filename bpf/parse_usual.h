/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The usual query: a plain message whose name has a few short labels, and at most an OPT record behind the question.
 * It is read once from front to back, in straight code that says yes or no; what it says no to is left to parsers that
 * take all of DNS apart. So nothing that is found here is used there, and the other way round: to the verifier, who
 * follows each of the many ways to a no, they all end in the same place.
 *
 * What matters is the number of instructions, and so of registers: values are read where they are needed, if need be
 * again, and `opaque` keeps clang from reading them all at first, or from keeping a copy for each label.
 */
#ifndef XDPDNS_PARSE_USUAL_H
#define XDPDNS_PARSE_USUAL_H

#include "classify.h"
#include "counters.h"
#include "make_key.h"
#include "parse_plain.h"

/* In a program for queries that times none: timing reads the whole question and more, and responses have more shapes.
 */
#define USUAL (!RESPONSES && !TIMING)

/* QR and opcode are 0: the header's third byte is AA, TC and RD. */
#define USUAL_HEADER2_MAX 0x07

#define USUAL_TLD_MAX 8
#define USUAL_CLASS   __builtin_bswap16(1)

/* Of the first eight bytes of an OPT record: its owner the root, its type, and version 0. */
#define USUAL_OPT_MASK 0x00ff000000ffffffULL
#define USUAL_OPT      ((u64)__builtin_bswap16(TYPE_OPT) << 8)
#define OPT_FIXED      (1 + RECORD_FIXED)
#define OPT_AT	       (1 + QUESTION_TAIL) /* from the name's last byte */

/* What is found of it; the rest is read in the end, where it is needed. */
struct usual {
	const u8 *root; /* the name's final zero byte */
	u64 tld_len;	/* 1 to USUAL_TLD_MAX */
	u64 index;	/* in counters.usual; or, USUAL_COUNT above, what it would be but for the message's length */
};

/* The walk over a name: where it is, and the label that it comes from. */
struct walk {
	const u8 *at;
	u64 last; /* bytes */
	u64 row;  /* USUAL_NAME_LEN a label */
};

static __always_inline void step(struct walk *w, u64 label)
{
	w->at += label;
	opaque(w->at);
	w->at += 1;
	opaque(w->at);
	w->last = label;
	opaque(w->last);
	w->row += USUAL_NAME_LEN;
	opaque(w->row);
}

/* From a name's first byte to its last, the root; false if that is the first, too, or behind too many labels. */
static __always_inline bool walk_usual(struct walk *w, const u8 *end)
{
	u64 label;

#define STEP(nth)                                                                                                      \
	if (w->at >= end)                                                                                              \
		return false;                                                                                          \
	label = *w->at;                                                                                                \
	if (label == 0)                                                                                                \
		return nth > 0;                                                                                        \
	if (label > LABEL_MAX)                                                                                         \
		return false;                                                                                          \
	step(w, label);

	/* written out, for clang makes a loop of what it is asked to unroll */
	STEP(0)
	STEP(1)
	STEP(2)
	STEP(3)
	STEP(4)
	STEP(5)
#undef STEP
	_Static_assert(USUAL_LABELS == 6, "as many as steps");
	return w->at < end && *w->at == 0;
}

/* Whether there are as many bytes behind the name as `tail`, from its last one on, and the class is IN. */
static __always_inline bool has_usual_tail(const u8 *root, const u8 *end, u64 tail)
{
	return root + tail <= end && load16(root + 3) == USUAL_CLASS;
}

/* The OPT record behind the question, in the frame. */
static __always_inline bool parse_usual_opt(const u8 **root, struct edns *e)
{
	if ((load64(*root + OPT_AT) & USUAL_OPT_MASK) != USUAL_OPT)
		return false;
	opaque(*root); /* so that these are read again, rather than kept */
	e->size = load_be16(*root + OPT_AT + 3);
	opaque(e->size); /* or it is compared as it lies in memory */
	e->bucket = edns_bucket(e->size);
	e->do_bit = (*root)[OPT_AT + 7] >> 7;
	return true;
}

/* `e` becomes the OPT record, but for what a usual one has always. */
static __always_inline bool parse_usual(const struct plain *plain, struct usual *u, struct edns *e)
{
	const u8 *start = plain->start, *end = plain->end;
	struct walk w = {.at = start + DNS_HEADER};
	u64 counts, index;

	opaque(w.at);
	if (!walk_usual(&w, end))
		return false;
	index = w.at - start; /* the name's bytes but the root, behind the header's */
	if (index >= DNS_HEADER + USUAL_NAME_LEN)
		return false;
	index += w.row;
	opaque(index); /* or what is subtracted now is so before it is compared, as well */
	index -= DNS_HEADER + USUAL_NAME_LEN;
	opaque(index); /* and not apart on each way that goes on from here */
	if (w.last > USUAL_TLD_MAX || start[2] > USUAL_HEADER2_MAX)
		return false;
	counts = load64(start + 4);
	opaque(counts);
	if (counts == COUNTS(1, 0, 0, 1)) {
		if (!has_usual_tail(w.at, end, OPT_AT + OPT_FIXED) || !parse_usual_opt(&w.at, e))
			return false;
		if (w.at + OPT_AT + OPT_FIXED != end)
			index += USUAL_COUNT;
	} else {
		if (counts != COUNTS(1, 0, 0, 0) || !has_usual_tail(w.at, end, OPT_AT))
			return false;
		index += USUAL_LABELS * USUAL_NAME_LEN;
		if (w.at + OPT_AT != end)
			index += USUAL_COUNT;
		e->size = 0;
		e->bucket = EDNS_NONE;
		e->do_bit = 0;
	}
	u->root = w.at;
	u->tld_len = w.last;
	u->index = index;
	return true;
}

/* What a usual query is counted by, from where it was found: the rest of `f`, and the key. */
static __always_inline void read_usual(const struct plain *plain, const struct usual *u, struct features *f,
				       struct stats_key *key)
{
	struct ip_payload ip = {.af = plain->af, .proto = PROTO_UDP};
	u64 head = edns_head(&f->edns);

	opaque(head); /* one word of it, before others are read */
	f->question.qtype = load_be16(u->root + 1);
	opaque(f->question.qtype); /* or eight bytes are swapped, and shifted into place and masked */
	f->header2 = plain->start[2];
	f->header3 = plain->start[3];
	if (f->header2 > USUAL_HEADER2_MAX)
		__builtin_unreachable();
	head |= other_head(&ip, f);
#if KEY_TLD
	head |= KEY_HEAD(tld_len, u->tld_len);
#endif
	opaque(head); /* and all of it before the TLD is */
	*(u64 *)key = head;
#if KEY_TLD
	read_near_tld((u64 *)key->tld, u->root, u->tld_len);
#endif
}

#endif
