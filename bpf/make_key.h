/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a query's features to the key of its row, in the dimensions that are switched on. */
#ifndef XDPDNS_MAKE_KEY_H
#define XDPDNS_MAKE_KEY_H

#include "classify.h"
#include "parse_tld.h"
#include "stats_key.h"

/* The OPT record's part of the head. */
static __always_inline u64 edns_head(const struct edns *e)
{
	u64 head = 0;

#if KEY_DO
	head |= KEY_HEAD(bits, (u64)e->do_bit * BIT_DO);
#endif
#if KEY_EDNS
	head |= KEY_HEAD(edns, e->bucket);
#endif
	return head;
}

/* And the others', but for the TLD's length. */
static __always_inline u64 other_head(const struct ip_payload *ip, const struct features *f)
{
	u64 head = 0;

#if KEY_AF
	head |= KEY_HEAD(af, ip->af);
#endif
#if KEY_PROTO
	head |= KEY_HEAD(proto, ip->proto);
#endif
#if KEY_QR
	head |= KEY_HEAD(bits, f->header2 & BIT_QR);
#endif
#if KEY_AA || KEY_TC
	head |= KEY_HEAD(bits, f->header2 & (KEY_AA * BIT_AA | KEY_TC * BIT_TC));
#endif
#if KEY_RCODE
	head |= KEY_HEAD(rcode, f->rcode);
#endif
#if KEY_AD
	head |= KEY_HEAD(bits, f->header3 & BIT_AD);
#endif
#if KEY_QTYPE
	head |= KEY_HEAD(qtype, f->question.qtype);
#if RESPONSES
	u64 below = f->question.name_len - 1;

	opaque(below); /* or it becomes a branch, which the verifier follows both ways */
	head |= KEY_HEAD(bits, (below >> 63) * BIT_NO_QUESTION);
#endif
#endif
	return head;
}

static __always_inline void make_key(struct stats_key *key, const struct ip_payload *ip, const struct message *m,
				     const struct features *f)
{
	u64 head = other_head(ip, f) | edns_head(&f->edns);
#if KEY_TLD
	u64 len = f->question.last_len;

	/* The root's name, one byte, is not asked of `len`: of that the verifier would know more than is good for it.
	 */
	if (RESPONSES && f->question.name_len == 0) {
		__builtin_memset(key->tld, 0, sizeof(key->tld));
		len = TLD_LEN_NONE;
	} else if (f->question.name_len == 1 || len > TLD_BYTES) {
		__builtin_memset(key->tld, 0, sizeof(key->tld));
		if (len > TLD_BYTES)
			len = TLD_LEN_OTHER;
	} else {
		read_tld((u64 *)key->tld, m, &f->question);
	}
	head |= KEY_HEAD(tld_len, len);
#endif
	*(u64 *)key = head;
}

#endif
