/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The shape of nearly every DNS query: Ethernet without tags, IPv4 without options or IPv6 without extension headers,
 * UDP to a watched port, all lengths in agreement, also with the frame's. One bounds check, and everything stands at
 * a constant offset. What is not of this shape, for whatever reason, is left to the parsers of the layers, which say
 * why.
 */
#ifndef XDPDNS_PARSE_PLAIN_H
#define XDPDNS_PARSE_PLAIN_H

#include "cursor.h"
#include "parse_dns.h"
#include "parse_eth.h"
#include "parse_ip.h"
#include "parse_udp.h"

/* Of the first eight bytes of an IPv4 header: version 4, IHL 5, fragment offset 0. */
#define PLAIN_IPV4_MASK 0xff1f0000000000ffULL
#define PLAIN_IPV4	0x0000000000000045ULL

/* Not an outcome: the frame has another shape. */
#define NOT_PLAIN OUTCOME_COUNT

/* Where a plain message is. Its DNS header is in the frame, its last byte is the frame's. */
struct plain {
	const u8 *start;
	const u8 *end;
	u64 af; /* 4 or 6 */
};

/* Lengths are those of an IP payload behind a UDP header: without room for one, they are below 0, and so above this. */
#define PLAIN_LEN_MAX 0xffff

/* Another transport, whose first four bytes are in the frame. */
static __always_inline enum outcome plain_other(const u8 *h, u64 proto, u64 len)
{
	if (len > PLAIN_LEN_MAX)
		return NOT_PLAIN;
	return proto == PROTO_TCP ? tcp_by_port(h) : END(NOT_UDP);
}

/* The UDP header at `udp` is in the frame, and a DNS header's bytes behind it. */
static __always_inline enum outcome plain_udp(const u8 *udp, const u8 *end, u64 len, u64 af, struct plain *plain)
{
	const u8 *start = udp + UDP_HEADER;

	if (!is_watched(udp))
		return len > PLAIN_LEN_MAX ? NOT_PLAIN : unwatched_udp(udp);
	if (load_be16(udp + 4) - UDP_HEADER != len || end - start != len)
		return NOT_PLAIN;
	plain->start = start;
	plain->end = end;
	plain->af = af;
	return OUTCOME_GO_ON;
}

static __always_inline enum outcome parse_plain(const u8 *data, const u8 *end, struct plain *plain)
{
	const u8 *h = data + ETH_HEADER;
	u64 ethertype, len;

	if (h + IPV4_HEADER + UDP_HEADER + DNS_HEADER > end)
		return NOT_PLAIN;
	ethertype = load16(data + ETH_TYPE_AT);
	opaque(ethertype); /* or clang asks for IPv6 first */
	if (ethertype == ETHERTYPE_IPV4) {
		if ((load64(h) & PLAIN_IPV4_MASK) != PLAIN_IPV4)
			return NOT_PLAIN;
		len = load_be16(h + 2) - (u64)(IPV4_HEADER + UDP_HEADER);
		opaque(len); /* or clang adds the two back, for each comparison */
		if (h[9] != PROTO_UDP)
			return plain_other(h + IPV4_HEADER, h[9], len);
		return plain_udp(h + IPV4_HEADER, end, len, 4, plain);
	}
	opaque(ethertype);
	if (ethertype == ETHERTYPE_IPV6) {
		if (h + IPV6_HEADER + UDP_HEADER + DNS_HEADER > end || (h[0] >> 4) != 6 || h[6] != PROTO_UDP)
			return NOT_PLAIN;
		len = load_be16(h + 4) - (u64)UDP_HEADER;
		opaque(len);
		return plain_udp(h + IPV6_HEADER, end, len, 6, plain);
	}
	return is_vlan(ethertype) ? NOT_PLAIN : END(NOT_IP);
}

/* The address family of a plain frame, found again. */
static __always_inline u64 plain_af(const u8 *data, const u8 *end)
{
	return data + ETH_HEADER <= end && load16(data + ETH_TYPE_AT) == ETHERTYPE_IPV4 ? 4 : 6;
}

#endif
