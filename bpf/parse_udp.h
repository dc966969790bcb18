/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* UDP (RFC 768), and the one thing that is said of TCP: whether its port is watched. */
#ifndef XDPDNS_PARSE_UDP_H
#define XDPDNS_PARSE_UDP_H

#include "cursor.h"
#include "outcomes.h"
#include "parse_eth.h"
#include "parse_ip.h"

#define UDP_HEADER 8

/* Where in a frame a message can begin: behind bare headers, and behind two VLAN tags and the longest extensions. */
#define MESSAGE_AT_MIN (ETH_HEADER + IPV4_HEADER + UDP_HEADER)
#define MESSAGE_AT_MAX (ETH_HEADER + VLAN_DEPTH * VLAN_TAG + IPV6_HEADER + IPV6_EXT_MAX * 2048 + UDP_HEADER)

/* WATCHED_PORT(p), p in host byte order, is compiled in by the agent: (p) == 53 || ... */

/* Queries go to a watched port, responses come from one; UDP and TCP begin with both ports, the source first. */
static __always_inline bool is_watched(const u8 *ports)
{
	u16 port = load_be16(RESPONSES ? ports : ports + 2);

	return WATCHED_PORT(port);
}

static __always_inline u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

/*
 * Moves the cursor to the payload. `len` is its length in bytes: what frame, IP length and UDP length all allow, so
 * that Ethernet padding is never taken for DNS and a lying length is never followed.
 */
static __always_inline enum outcome parse_udp(struct cursor *c, const struct ip_payload *ip, u64 *len)
{
	const u8 *h = c->pos;
	u64 udp_len;

	if (!cursor_has(c, UDP_HEADER) || ip->len < UDP_HEADER)
		return END(UDP_MALFORMED);
	if (!is_watched(h))
		return END(OTHER_PORT);
	udp_len = load_be16(h + 4);
	if (udp_len < UDP_HEADER)
		return END(UDP_MALFORMED);
	c->pos += UDP_HEADER;
	*len = min_u64(min_u64(udp_len, ip->len) - UDP_HEADER, c->end - c->pos);
	return OUTCOME_GO_ON;
}

static __always_inline enum outcome parse_other(struct cursor *c, const struct ip_payload *ip)
{
	if (ip->proto == PROTO_TCP && cursor_has(c, 4) && ip->len >= 4 && is_watched(c->pos))
		return END(TCP);
	return END(NOT_UDP);
}

#endif
