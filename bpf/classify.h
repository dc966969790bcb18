/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to its outcome and, for a query or response, its features: all parsers in order, and no map. */
#ifndef XDPDNS_CLASSIFY_H
#define XDPDNS_CLASSIFY_H

#include "cursor.h"
#include "outcomes.h"
#include "parse_dns.h"
#include "parse_edns.h"
#include "parse_eth.h"
#include "parse_ip.h"
#include "parse_plain.h"
#include "parse_rcode.h"
#include "parse_udp.h"

/* What a message is counted by, besides its key. */
struct features {
	struct question question;
	struct edns edns;
	u64 rcode; /* of a response */
	u64 size;  /* bytes of the message */
	u64 header2;
	u64 header3;
	u32 ports; /* source and destination, in memory order */
};

/* The layers below the transport, to which the cursor moves. `tags` VLAN tags are not in the frame but beside it. */
static __always_inline enum outcome parse_network(struct cursor *c, const u8 *data, u64 tags, struct ip_payload *ip)
{
	enum outcome bad;
	u16 ethertype;

	bad = parse_eth(c, tags, &ethertype);
	if (bad)
		return bad;
	ip->addrs = c->pos - data + (ethertype == ETHERTYPE_IPV4 ? IPV4_ADDRS : IPV6_ADDRS);
	if (ethertype == ETHERTYPE_IPV4)
		return parse_ipv4(c, ip);
	if (ethertype == ETHERTYPE_IPV6)
		return parse_ipv6(c, ip);
	return END(NOT_IP);
}

/* Layer by layer to the message: where it begins, as the bytes beyond MESSAGE_AT_MIN, and its length. */
static __always_inline enum outcome parse_layers(const u8 *data, const u8 *end, u64 tags, struct ip_payload *ip,
						 u64 *beyond, u64 *len)
{
	struct cursor c = {.pos = data, .end = end};
	enum outcome bad = parse_network(&c, data, tags, ip);

	if (bad)
		return bad;
	if (ip->proto != PROTO_UDP)
		return parse_other(&c, ip);
	bad = parse_udp(&c, ip, len);
	if (bad)
		return bad;
	*beyond = c.pos - data - MESSAGE_AT_MIN;
	return OUTCOME_GO_ON;
}

/*
 * Sets the message's place: the least that headers take, and a number of which the verifier knows only the bounds,
 * however it was found, or it would walk all that follows once for each framing. The constant part is what lets
 * read_tld() look back from the name's end.
 */
static __always_inline bool locate(struct message *m, const u8 *data, const u8 *end, u64 beyond, u64 len)
{
	const u8 *base = data + MESSAGE_AT_MIN;

	_Static_assert(MESSAGE_AT_MAX - MESSAGE_AT_MIN <= 0x7fff, "the mask must hold what parse_ip.h allows");
	blur(beyond, data, 0x7fff);
	blur(len, data, 0xffff);
	opaque(base);
	m->start = base + beyond;
	m->frame_end = end;
	m->len = len;
	return len >= DNS_HEADER && m->start + DNS_HEADER <= end;
}

/* From the message's place to the question and the OPT record; what is found stays in `ip`, `m` and `f`. */
static __always_inline enum outcome classify_message(const u8 *data, const u8 *end, u64 beyond, u64 len,
						     struct ip_payload *ip, struct message *m, struct features *f)
{
	enum outcome bad;
	u64 counts, first;

	if (!locate(m, data, end, beyond, len))
		return END(DNS_TRUNCATED);
	f->ports = load32(m->start - UDP_HEADER); /* of TCP, the caller knows */
#if TIMING
	/* the family will be asked for: known, it would split all that follows */
	blur(ip->af, data, 7);
	blur(ip->addrs, data, 0x3f);
#endif
	/* an index into counters, of which the verifier keeps all details: not those of m->len, please */
	f->size = m->len + opaque_zero(data);
	bad = parse_header(m, &f->header2, &f->header3, &counts);
	if (bad)
		return bad;
	if (RESPONSES && !(u16)counts) {
		no_question(m, &f->question);
	} else {
		bad = parse_question(m, &f->question);
		if (bad)
			return bad;
	}
	parse_edns(m, &f->question, counts, &f->edns, &first);
	f->rcode = rcode_of(f->header2, f->header3, counts, &f->edns, first);
	return OUTCOME_GO_ON;
}

/* Where a plain message of this address family begins, and its length. */
static __always_inline void locate_plain(const u8 *data, const u8 *end, u64 af, struct ip_payload *ip, u64 *beyond,
					 u64 *len)
{
	u64 frame = end - data;

	opaque(frame); /* or clang takes the one pointer first from something else */
	*beyond = af == 4 ? 0 : IPV6_HEADER - IPV4_HEADER;
	*len = frame - MESSAGE_AT_MIN - *beyond;
	ip->af = af;
	ip->proto = PROTO_UDP;
	ip->addrs = ETH_HEADER + (af == 4 ? IPV4_ADDRS : IPV6_ADDRS);
}

/* From a frame to all of that, where it holds a message over UDP: `plain_af` is the family of a plain one, else 0. */
static __always_inline enum outcome classify(const u8 *data, const u8 *end, u64 tags, u64 plain_af,
					     struct ip_payload *ip, struct message *m, struct features *f)
{
	enum outcome bad = OUTCOME_GO_ON;
	u64 beyond = 0, len = 0;

	if (plain_af)
		locate_plain(data, end, plain_af, ip, &beyond, &len);
	else
		bad = parse_layers(data, end, tags, ip, &beyond, &len);
	if (bad)
		return bad;
	return classify_message(data, end, beyond, len, ip, m, f);
}

#endif
