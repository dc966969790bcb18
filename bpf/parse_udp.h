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
static __always_inline u16 port_of(const u8 *ports)
{
	return load_be16(RESPONSES ? ports : ports + 2);
}

static __always_inline bool is_watched(const u8 *ports)
{
	u16 port = port_of(ports);

	return WATCHED_PORT(port);
}

/*
 * Encrypted transports are told by their port, and nothing else is looked at. ENCRYPTED_DOT, _DOQ and _DOH3 are
 * compiled in by the agent.
 */
#define PORT_DOT  853 /* RFC 7858 3.1 */
#define PORT_DOQ  853 /* RFC 9250 4.1.1 */
#define PORT_DOH3 443 /* RFC 9114 3.1.2 */

static __always_inline enum outcome unwatched_udp(const u8 *ports)
{
	if (ENCRYPTED_DOQ && port_of(ports) == PORT_DOQ)
		return END(DOQ);
	if (ENCRYPTED_DOH3 && port_of(ports) == PORT_DOH3)
		return END(DOH3);
	return END(OTHER_PORT);
}

static __always_inline enum outcome tcp_by_port(const u8 *ports)
{
	if (is_watched(ports))
		return END(TCP);
	if (ENCRYPTED_DOT && port_of(ports) == PORT_DOT)
		return END(DOT);
	return END(NOT_UDP);
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
		return unwatched_udp(h);
	udp_len = load_be16(h + 4);
	if (udp_len < UDP_HEADER)
		return END(UDP_MALFORMED);
	c->pos += UDP_HEADER;
	*len = min_u64(min_u64(udp_len, ip->len) - UDP_HEADER, c->end - c->pos);
	return OUTCOME_GO_ON;
}

static __always_inline enum outcome parse_other(struct cursor *c, const struct ip_payload *ip)
{
	if (ip->proto == PROTO_TCP && cursor_has(c, 4) && ip->len >= 4)
		return tcp_by_port(c->pos);
	return END(NOT_UDP);
}

#endif
