/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* IPv4 with options (RFC 791) and IPv6 with extension headers (RFC 8200). */
#ifndef XDPDNS_PARSE_IP_H
#define XDPDNS_PARSE_IP_H

#include "cursor.h"
#include "outcomes.h"

#define IPV4_HEADER	     20
#define IPV4_ADDRS	     12
#define IPV4_FRAGMENT_OFFSET __builtin_bswap16(0x1fff)
#define IPV6_HEADER	     40
#define IPV6_ADDRS	     8
#define IPV6_FRAGMENT_OFFSET __builtin_bswap16(0xfff8)
#define IPV6_EXT_MAX	     8

#define PROTO_HOP_BY_HOP   0
#define PROTO_TCP	   6
#define PROTO_UDP	   17
#define PROTO_ROUTING	   43
#define PROTO_FRAGMENT	   44
#define PROTO_AUTH	   51
#define PROTO_DEST_OPTIONS 60

/* What the transport needs to know of the network layer. */
struct ip_payload {
	u64 af;	   /* 4 or 6 */
	u64 proto; /* the transport's IP protocol number */
	u64 len;   /* bytes of the payload by the IP header; the frame may hold fewer or more */
	u64 addrs; /* where in the frame the source address is; the destination follows */
};

static __always_inline enum outcome parse_ipv4(struct cursor *c, struct ip_payload *ip)
{
	const u8 *h = c->pos;
	u64 header, total;

	if (!cursor_has(c, IPV4_HEADER))
		return END(IP_MALFORMED);
	header = (h[0] & 0x0f) * 4;
	total = load_be16(h + 2);
	if ((h[0] >> 4) != 4 || header < IPV4_HEADER || total < header || !cursor_has(c, header))
		return END(IP_MALFORMED);
	if (load16(h + 6) & IPV4_FRAGMENT_OFFSET)
		return END(FRAGMENT);
	ip->af = 4;
	ip->proto = h[9];
	ip->len = total - header;
	c->pos += header;
	return OUTCOME_GO_ON;
}

static __always_inline bool is_extension(u64 proto)
{
	return proto == PROTO_HOP_BY_HOP || proto == PROTO_DEST_OPTIONS || proto == PROTO_ROUTING ||
	       proto == PROTO_FRAGMENT || proto == PROTO_AUTH;
}

/* Walks the extension headers; apart from parse_ipv6, since hardly a packet has any. */
static __always_inline enum outcome skip_extensions(struct cursor *c, struct ip_payload *ip)
{
	u64 at = 0, len, left = ip->len;

	for (int i = 0; i < IPV6_EXT_MAX && is_extension(ip->proto); i++) {
		const u8 *h = c->pos + at;

		if (h + 8 > c->end || left < 8)
			return END(IP_MALFORMED);
		if (ip->proto == PROTO_FRAGMENT) {
			if (load16(h + 2) & IPV6_FRAGMENT_OFFSET)
				return END(FRAGMENT);
			len = 8;
		} else if (ip->proto == PROTO_AUTH) {
			len = (h[1] + 2) * 4; /* RFC 4302 2.2 */
		} else {
			len = (h[1] + 1) * 8;
		}
		if (left < len)
			return END(IP_MALFORMED);
		ip->proto = h[0];
		left -= len;
		at += len;
		/* headers of all kinds come to the same */
		blur(left, h, 0xffff);
		blur(at, h, 0x7fff);
	}
	if (is_extension(ip->proto))
		return END(IP_EXT_TOO_LONG);
	ip->len = left;
	c->pos += at;
	return cursor_has(c, 0) ? OUTCOME_GO_ON : END(IP_MALFORMED);
}

static __always_inline enum outcome parse_ipv6(struct cursor *c, struct ip_payload *ip)
{
	const u8 *h = c->pos;

	if (!cursor_has(c, IPV6_HEADER) || (h[0] >> 4) != 6)
		return END(IP_MALFORMED);
	ip->af = 6;
	ip->proto = h[6];
	ip->len = load_be16(h + 4);
	c->pos += IPV6_HEADER;
	if (is_extension(ip->proto))
		return skip_extensions(c, ip);
	return OUTCOME_GO_ON;
}

#endif
