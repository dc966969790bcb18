/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * DNS over TCP (RFC 7766): messages with their length in two bytes before them, one after another in a stream that is
 * cut into segments anywhere. A message is read where a segment holds all of it, or all but its length. Streams are
 * never put together: a small table remembers of each flow where its next message begins, and a segment that doesn't
 * hold one is counted as what it is.
 */
#ifndef XDPDNS_TCP_H
#define XDPDNS_TCP_H

#include "classify.h"
#include "timing.h"

#define TCP_HEADER   20
#define TCP_FLAG_SYN 0x02
#define LENGTH_BYTES 2 /* bytes of a message's length: RFC 1035 4.2.2 */

#define HALF_LENGTH 0x10000

/* Flows that are remembered at a time; a power of two. One that another displaced is unknown in the middle. */
#define TCP_FLOWS 4096

/*
 * Messages of one segment that are looked at, each in a tail call, of which the kernel allows 33: one more may come
 * from the other side's program, one begins again at TC, and one passes over what is left. That sees a page at the
 * most, so many messages of a header.
 */
#define TCP_MESSAGES_MAX 30
#define TCP_UNREAD_MAX	 (4096 / (LENGTH_BYTES + DNS_HEADER))

/* What every segment to (or, where responses are counted, from) a watched port is. X(SYMBOL, name, "help") */
/* clang-format off */
#define TCP_SEGMENTS(X)                                                                                                \
	X(MESSAGES, messages, "one message or more that lie within it, or begin with a length that came before")       \
	X(SYN, syn, "the first of a connection, without data")                                                         \
	X(EMPTY, empty, "no data: an acknowledgement, or the end")                                                     \
	X(LENGTH, length, "only the length of the message that follows, or half of it")                                \
	X(PARTIAL, partial, "the first part of a message")                                                             \
	X(CONTINUATION, continuation, "a further part of a message, or data sent again")                               \
	X(OUT_OF_ORDER, out_of_order, "data behind a gap, in which the next message begins")                           \
	X(UNKNOWN, unknown, "data of a connection whose beginning was not seen or is forgotten")                       \
	X(MALFORMED, malformed, "a TCP header that is cut or contradicts itself")
/* clang-format on */

enum tcp_segment {
#define X(symbol, name, help) TCP_##symbol,
	TCP_SEGMENTS(X)
#undef X
	    TCP_SEGMENT_COUNT,
};

struct tcp_counters {
	u64 segment[TCP_SEGMENT_COUNT];
	u64 split;  /* messages that no segment holds whole */
	u64 unread; /* messages behind the last that is looked at */
};

/* Of a flow the place of its next message; `mark` says whose it is, 0 nobody's. */
struct tcp_flow {
	u32 mark;
	u32 next; /* the sequence number of the next message's length, or of itself */
	u32 body; /* its length in bytes, if that came already; HALF_LENGTH and its first byte; else 0 */
	u32 unused;
};

struct tcp_segment_view {
	u64 at;	   /* offset of the data in the frame */
	u64 len;   /* bytes of data by the headers; the frame may hold fewer */
	u32 seq;   /* of the first byte of data (that of a SYN is one before) */
	u32 ports; /* source and destination, in memory order */
	u8 flags;
};

/* The header at the cursor; false if it is cut or contradicts itself. */
static __always_inline bool parse_tcp(const struct cursor *c, const u8 *data, const struct ip_payload *ip,
				      struct tcp_segment_view *s)
{
	const u8 *h = c->pos;
	u64 header;

	if (!cursor_has(c, TCP_HEADER))
		return false;
	header = (h[12] >> 4) * 4;
	if (header < TCP_HEADER || ip->len < header)
		return false;
	s->ports = load32(h);
	s->seq = __builtin_bswap32(load32(h + 4));
	s->flags = h[13];
	s->len = ip->len - header;
	s->at = h - data + header;
	return true;
}

/* Where in a segment a message begins that its flow has been waiting for. */
struct tcp_begin {
	u64 skip; /* bytes of data before it */
	u64 body; /* its length, if that came already */
};

/*
 * Finds it by what is known of the flow, if it is this one's; without that, or behind a gap, a segment that has a
 * length and just as many bytes behind it, or only a length, is taken for what it looks like.
 */
static __always_inline enum tcp_segment find_message(const struct tcp_flow *flow, u32 mark,
						     const struct tcp_segment_view *s, u64 first, struct tcp_begin *b)
{
	s32 ahead = flow->next - s->seq;
	bool known = flow->mark == mark;

	b->skip = 0;
	b->body = 0;
	if (known && ahead >= 0) {
		if ((u64)ahead >= s->len)
			return TCP_CONTINUATION;
		b->skip = ahead;
		b->body = flow->body;
		return TCP_MESSAGES;
	}
	if (first >= DNS_HEADER && (first + LENGTH_BYTES == s->len || s->len == LENGTH_BYTES))
		return TCP_MESSAGES;
	return known ? TCP_OUT_OF_ORDER : TCP_UNKNOWN;
}

#endif
