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

/* Not an outcome: the frame has another shape. */
#define NOT_PLAIN OUTCOME_COUNT

/* The UDP header at `udp` is in the frame; `ip_len` is the IP payload's length. */
static __always_inline enum outcome plain_udp(const u8 *udp, const u8 *end, u64 ip_len, u64 *len)
{
	u64 udp_len = load_be16(udp + 4);

	if (udp_len != ip_len || udp_len < UDP_HEADER || udp_len > end - udp)
		return NOT_PLAIN;
	if (!is_watched(udp))
		return unwatched_udp(udp);
	*len = udp_len - UDP_HEADER;
	opaque(*len); /* or clang has what the caller sets then ready before every check */
	return OUTCOME_GO_ON;
}

/* Another transport, whose first four bytes are in the frame. */
static __always_inline enum outcome plain_other(const u8 *h, u64 proto, u64 ip_len)
{
	if (proto != PROTO_TCP)
		return END(NOT_UDP);
	if (ip_len < 4)
		return NOT_PLAIN;
	return tcp_by_port(h);
}

/* Sets `af`, `proto`, how far `beyond` MESSAGE_AT_MIN the message begins, and its length. */
static __always_inline enum outcome parse_plain(const u8 *data, const u8 *end, struct ip_payload *ip, u64 *beyond,
						u64 *len)
{
	const u8 *h = data + ETH_HEADER;
	enum outcome bad;
	u64 ethertype, total;

	if (h + IPV4_HEADER + UDP_HEADER > end)
		return NOT_PLAIN;
	ethertype = load16(data + ETH_TYPE_AT);
	ip->proto = PROTO_UDP;
	if (ethertype == ETHERTYPE_IPV4) {
		total = load_be16(h + 2);
		if ((load64(h) & PLAIN_IPV4_MASK) != PLAIN_IPV4 || total < IPV4_HEADER)
			return NOT_PLAIN;
		if (h[9] != PROTO_UDP)
			return plain_other(h + IPV4_HEADER, h[9], total - IPV4_HEADER);
		bad = plain_udp(h + IPV4_HEADER, end, total - IPV4_HEADER, len);
		if (bad)
			return bad;
		ip->af = 4;
		ip->addrs = ETH_HEADER + IPV4_ADDRS;
		*beyond = 0;
		return OUTCOME_GO_ON;
	}
	if (ethertype == ETHERTYPE_IPV6 && h + IPV6_HEADER + UDP_HEADER <= end) {
		if ((h[0] >> 4) != 6 || h[6] != PROTO_UDP)
			return NOT_PLAIN;
		bad = plain_udp(h + IPV6_HEADER, end, load_be16(h + 4), len);
		if (bad)
			return bad;
		ip->af = 6;
		ip->addrs = ETH_HEADER + IPV6_ADDRS;
		*beyond = IPV6_HEADER - IPV4_HEADER;
		return OUTCOME_GO_ON;
	}
	return NOT_PLAIN;
}

#endif
