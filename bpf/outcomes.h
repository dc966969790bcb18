/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Every way that a packet can end: each packet that the program sees adds one to exactly one of these.
 * The numbers are positions in struct counters; the agent reads this file for the names and the help texts, so that
 * they stand here only. Outcomes from OUTCOME_HEADER_SEEN on have a whole 12-byte DNS header.
 */
#ifndef XDPDNS_OUTCOMES_H
#define XDPDNS_OUTCOMES_H

#include "cursor.h"

/* clang-format off: one outcome a line; the agent reads X(SYMBOL, name, "help") */
#define OUTCOMES(X)                                                                                                    \
	X(QUERY, query, "a DNS query whose question parsed whole: in a row or in the overflow")                        \
	X(ETH_TRUNCATED, eth_truncated, "the frame ends inside the Ethernet or VLAN header")                           \
	X(VLAN_TOO_DEEP, vlan_too_deep, "more than two VLAN tags")                                                     \
	X(NOT_IP, not_ip, "an ethertype other than IPv4 and IPv6")                                                     \
	X(IP_MALFORMED, ip_malformed, "an IP header that is cut or contradicts itself")                                \
	X(IP_EXT_TOO_LONG, ip_ext_too_long, "more than eight IPv6 extension headers, or too long ones")                \
	X(FRAGMENT, fragment, "a later fragment: it has no UDP header")                                                \
	X(NOT_UDP, not_udp, "a transport other than UDP, or TCP to a port that is not watched")                        \
	X(OTHER_PORT, other_port, "UDP to a port that is not watched")                                                 \
	X(DOT, dot, "TCP to port 853: DNS over TLS (RFC 7858)")                                                        \
	X(DOQ, doq, "UDP to port 853: DNS over QUIC (RFC 9250)")                                                       \
	X(DOH3, doh3, "UDP to port 443: HTTP/3, and so perhaps DNS over HTTPS; only with --encrypted doh3")            \
	X(TCP, tcp, "a TCP segment to a watched port")                                                                 \
	X(UDP_MALFORMED, udp_malformed, "a UDP header that is cut, or a UDP length under 8")                           \
	X(DNS_TRUNCATED, dns_truncated, "a message of less than a DNS header's 12 bytes")                              \
	X(OPCODE, opcode, "an opcode other than QUERY")                                                                \
	X(QDCOUNT, qdcount, "QDCOUNT is not 1")                                                                        \
	X(NAME_COMPRESSED, name_compressed, "a compression pointer in the question")                                   \
	X(NAME_RESERVED, name_reserved, "a label of a reserved type (0x40 or 0x80)")                                   \
	X(NAME_TRUNCATED, name_truncated, "the message ends inside the name")                                          \
	X(NAME_TOO_LONG, name_too_long, "a name of more than 255 bytes")                                               \
	X(QUESTION_TRUNCATED, question_truncated, "the message ends inside the question's type or class")              \
	X(RESPONSE, response, "a DNS response, with a whole question or none: in a row or in the overflow")            \
	X(NOT_RESPONSE, not_response, "a message from a watched port that is no response (QR is clear)")
/* clang-format on */

enum outcome {
#define X(symbol, name, help) OUTCOME_##symbol,
	OUTCOMES(X)
#undef X
	    OUTCOME_COUNT,
};

#define OUTCOME_HEADER_SEEN OUTCOME_OPCODE

/* What has no watched port, and so nothing that is read behind the ports. */
#define IS_ELSEWHERE(outcome) ((outcome) >= OUTCOME_NOT_UDP && (outcome) <= OUTCOME_DOH3)

/*
 * Ends a packet. The number is made where the packet ends: left to itself, clang would load it on the way of those
 * that go on, before every check.
 */
#define END(symbol)                                                                                                    \
	({                                                                                                             \
		enum outcome end_ = OUTCOME_##symbol;                                                                  \
		opaque(end_);                                                                                          \
		end_;                                                                                                  \
	})

/*
 * Parsers return this for "nothing wrong so far": a packet that gets through them all is a query; or a response, where
 * the program counts those (OUTCOME_RESPONSE is only its name).
 */
#define OUTCOME_GO_ON OUTCOME_QUERY

#endif
