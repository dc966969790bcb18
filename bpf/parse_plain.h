/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The shape of nearly every DNS query: Ethernet without tags, IPv4 without options or IPv6 without extension headers,
 * UDP to a watched port, all lengths in agreement. One bounds check, and everything stands at a constant offset. What
 * is not of this shape, for whatever reason, is left to the parsers of the layers, which say why.
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

enum plain {
	PLAIN_MESSAGE,	  /* DNS, its place and length known */
	PLAIN_OTHER_PORT, /* UDP to a port that is not watched */
	PLAIN_NOT,	  /* another shape */
};

/* The UDP header at `udp` is in the frame; `ip_len` is the IP payload's length. */
static __always_inline enum plain plain_udp(const u8 *udp, const u8 *end, u64 ip_len, u64 *len)
{
	u64 udp_len = load_be16(udp + 4);

	if (udp_len != ip_len || udp_len < UDP_HEADER || udp_len > end - udp)
		return PLAIN_NOT;
	if (!(WATCHED_PORT(load_be16(udp + 2))))
		return PLAIN_OTHER_PORT;
	*len = udp_len - UDP_HEADER;
	return PLAIN_MESSAGE;
}

static __always_inline enum plain parse_plain(const u8 *data, const u8 *end, struct ip_payload *ip, u64 *beyond,
					      u64 *len)
{
	const u8 *h = data + ETH_HEADER;
	u64 ethertype;

	if (h + IPV4_HEADER + UDP_HEADER > end)
		return PLAIN_NOT;
	ethertype = load16(data + ETH_TYPE_AT);
	ip->proto = PROTO_UDP;
	if (ethertype == ETHERTYPE_IPV4) {
		if ((load64(h) & PLAIN_IPV4_MASK) != PLAIN_IPV4 || h[9] != PROTO_UDP)
			return PLAIN_NOT;
		ip->af = 4;
		*beyond = 0;
		return plain_udp(h + IPV4_HEADER, end, (u64)load_be16(h + 2) - IPV4_HEADER, len);
	}
	if (ethertype == ETHERTYPE_IPV6 && h + IPV6_HEADER + UDP_HEADER <= end) {
		if ((h[0] >> 4) != 6 || h[6] != PROTO_UDP)
			return PLAIN_NOT;
		ip->af = 6;
		*beyond = IPV6_HEADER - IPV4_HEADER;
		return plain_udp(h + IPV6_HEADER, end, load_be16(h + 4), len);
	}
	return PLAIN_NOT;
}

#endif
