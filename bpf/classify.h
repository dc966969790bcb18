/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to its outcome and, for a query, its features: all parsers in the order of the layers, and no map. */
#ifndef XDPDNS_CLASSIFY_H
#define XDPDNS_CLASSIFY_H

#include "cursor.h"
#include "outcomes.h"
#include "parse_dns.h"
#include "parse_edns.h"
#include "parse_eth.h"
#include "parse_ip.h"
#include "parse_udp.h"

/* What a query is counted by, besides its key. */
struct features {
	struct question question;
	struct edns edns;
	u32 size; /* bytes of the message */
	u8 header2;
	u8 header3;
};

/*
 * Expresses the message's place as the least that headers take plus a number of which the verifier knows only the
 * bounds, however the cursor got there: else it would walk all that follows once for each framing. The constant part
 * is what lets read_tld() look back from the name's end.
 */
static __always_inline enum outcome locate(struct message *m, const struct cursor *c, const u8 *data, u64 len)
{
	u64 beyond = c->pos - data - MESSAGE_AT_MIN;
	const u8 *base = data + MESSAGE_AT_MIN;

	if (beyond > MESSAGE_AT_MAX - MESSAGE_AT_MIN)
		return OUTCOME_IP_EXT_TOO_LONG; /* can't be: parse_ip.h allows no more */
	opaque(base);
	blur(len, data, 0xffff);
	m->start = base + beyond;
	m->frame_end = c->end;
	m->len = len;
	return OUTCOME_GO_ON;
}

/* Layer by layer to the question; what is found stays in `ip`, `m` and `f`. */
static __always_inline enum outcome classify(const u8 *data, const u8 *end, struct ip_payload *ip, struct message *m,
					     struct features *f)
{
	struct cursor c = {.pos = data, .end = end};
	enum outcome bad;
	u16 ethertype;
	u64 counts;

	bad = parse_eth(&c, &ethertype);
	if (bad)
		return bad;
	if (ethertype == ETHERTYPE_IPV4)
		bad = parse_ipv4(&c, ip);
	else if (ethertype == ETHERTYPE_IPV6)
		bad = parse_ipv6(&c, ip);
	else
		return OUTCOME_NOT_IP;
	if (bad)
		return bad;
	if (ip->proto != PROTO_UDP)
		return parse_other(&c, ip);
	bad = parse_udp(&c, ip, &f->size);
	if (bad)
		return bad;

	bad = locate(m, &c, data, f->size);
	if (bad)
		return bad;
	/* an index into counters, of which the verifier keeps all details: not those of m->len, please */
	f->size = m->len + opaque_zero(data);
	bad = parse_header(m, &f->header2, &f->header3, &counts);
	if (bad)
		return bad;
	bad = parse_question(m, &f->question);
	if (bad)
		return bad;
	parse_edns(m, &f->question, counts, &f->edns);
	return OUTCOME_GO_ON;
}

#endif
