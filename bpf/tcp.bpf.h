/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The program for TCP segments, which xdpdns_count() tail-calls: it counts the segment, then calls itself for each
 * message that the segment holds. What it has to remember from one call to the next lies in `walk`.
 */
#ifndef XDPDNS_TCP_BPF_H
#define XDPDNS_TCP_BPF_H

#if TCP
#include "tables.h"
#include "tcp.h"

struct tcp_walk {
	u64 at;	  /* offset of the next message's length in the frame */
	u64 left; /* bytes of data from there on */
	u64 body; /* the message's length if that came already */
	u64 af;
	u64 addrs;
	u64 messages; /* so many have been counted; 0: a segment begins */
	u32 seq;      /* of the byte at `at` */
	u32 slot;
	u32 mark;
	u32 ports;
};

TABLE("percpu_array", u32, struct tcp_counters, tcp, 1);
TABLE("percpu_array", u32, struct tcp_walk, walk, 1);
TABLE("array", u32, struct tcp_flow, flows, TCP_FLOWS);

static __always_inline void remember(struct tcp_flow *flow, const struct tcp_walk *w, u32 next, u64 body)
{
	flow->mark = w->mark;
	flow->next = next;
	flow->body = body;
}

/* The segment's own part: false if no message begins in it, and then it has been counted. */
static __always_inline bool begin_segment(const u8 *data, const u8 *end, u64 tags, struct tcp_walk *w,
					  struct tcp_counters *t)
{
	struct cursor c = {.pos = data, .end = end};
	struct ip_payload ip = {};
	struct tcp_segment_view s = {};
	enum tcp_segment what;
	struct tcp_begin begin;
	struct tcp_flow *flow;
	u64 tuple, first = 0, at;
	const u8 *p;

	if (parse_network(&c, data, tags, &ip) || !parse_tcp(&c, data, &ip, &s)) {
		t->segment[TCP_MALFORMED] += 1;
		return false;
	}
	w->af = ip.af;
	w->addrs = ip.addrs;
	w->ports = s.ports;
	blur(ip.addrs, data, 0x3f);
	tuple = hash_tuple(ip.af, data + ip.addrs, end, s.ports, 0);
	w->mark = tuple >> 32 | 1;
	w->slot = tuple & (TCP_FLOWS - 1);
	flow = flows.lookup(&w->slot);
	if (!flow)
		return false;
	if (s.flags & TCP_FLAG_SYN) {
		s.seq += 1; /* of the data, which may come already: RFC 7413 */
		remember(flow, w, s.seq, 0);
	}
	if (!s.len) {
		t->segment[s.flags & TCP_FLAG_SYN ? TCP_SYN : TCP_EMPTY] += 1;
		return false;
	}
	at = s.at;
	blur(at, data, 0x7fff);
	p = data + at;
	if (p + LENGTH_BYTES <= end)
		first = load_be16(p);
	what = find_message(flow, w->mark, &s, first, &begin);
	if (what != TCP_MESSAGES) {
		t->segment[what] += 1;
		return false;
	}
	w->at = s.at + begin.skip;
	w->left = s.len - begin.skip;
	w->body = begin.body;
	w->seq = s.seq + begin.skip;
	return true;
}

/* Ends a segment: the flow goes on at `next`. */
static __always_inline void end_segment(struct tcp_walk *w, struct tcp_counters *t, enum tcp_segment what, u32 next,
					u64 body)
{
	struct tcp_flow *flow = flows.lookup(&w->slot);

	t->segment[w->messages ? TCP_MESSAGES : what] += 1;
	w->messages = 0;
	if (flow)
		remember(flow, w, next, body);
}

/* Where the length can't be read: the flow is forgotten, until a segment looks like a message of its own. */
static __always_inline void lose_flow(struct tcp_walk *w, struct tcp_counters *t)
{
	t->split += 1;
	w->mark = 0;
	end_segment(w, t, TCP_PARTIAL, 0, 0);
}

/* The next message's place, as bytes in the frame and in the message; false if the segment holds no other whole. */
static __always_inline bool next_message(const u8 *data, const u8 *end, struct tcp_walk *w, struct tcp_counters *t,
					 u64 *start, u64 *len)
{
	u64 at = w->at, left = w->left, body = w->body, bytes;
	const u8 *p;

	if (!body || body >= HALF_LENGTH) {
		bytes = body ? 1 : LENGTH_BYTES;
		blur(at, data, 0x7fff);
		p = data + at;
		if (w->at > 0x7fff || p + 1 > end) {
			lose_flow(w, t);
			return false;
		}
		if (body) {
			body = (body & 0xff) << 8 | *p;
		} else if (left == 1) {
			end_segment(w, t, TCP_LENGTH, w->seq + 1, HALF_LENGTH | *p);
			return false;
		} else if (p + LENGTH_BYTES > end) {
			lose_flow(w, t);
			return false;
		} else {
			body = load_be16(p);
		}
		w->at += bytes;
		w->left = left -= bytes;
		w->seq += bytes;
		if (!left) {
			end_segment(w, t, TCP_LENGTH, w->seq, body);
			return false;
		}
	}
	if (body > left) {
		t->split += 1;
		end_segment(w, t, TCP_PARTIAL, w->seq + body, 0);
		return false;
	}
	*start = w->at;
	*len = body;
	w->at += body;
	w->left -= body;
	w->seq += body;
	w->body = 0;
	w->messages += 1;
	return true;
}

/* What is left of a segment behind the last message that is looked at: counted, so that the flow's next is known. */
static __always_inline void pass_over(const u8 *data, const u8 *end, struct tcp_walk *w, struct tcp_counters *t)
{
	u64 start, len;

	for (int i = 0; i < TCP_UNREAD_MAX; i++) {
		if (!next_message(data, end, w, t, &start, &len))
			return;
		t->unread += 1;
		if (!w->left) {
			end_segment(w, t, TCP_MESSAGES, w->seq, 0);
			return;
		}
	}
	lose_flow(w, t);
}

int xdpdns_tcp(CONTEXT *ctx)
{
	const u8 *data = (const u8 *)(long)ctx->data, *end = (const u8 *)(long)ctx->data_end;
	struct ip_payload ip = {.proto = PROTO_TCP};
	u32 packets = COUNTERS_PACKETS, messages = COUNTERS_TCP, zero = 0;
	struct counters *c = counters.lookup(&packets);
	struct tcp_counters *t = tcp.lookup(&zero);
	struct tcp_walk *w = walk.lookup(&zero);
	u64 start, len, outcome;
	struct message m;
	struct features f;

	if (!c || !t || !w)
		return GO_ON;
	if (!w->messages) {
		c->outcome[OUTCOME_TCP] += 1;
		if (!begin_segment(data, end, tags_beside(ctx), w, t))
			return GO_ON;
	} else if (w->messages == TCP_MESSAGES_MAX) {
		pass_over(data, end, w, t);
		return GO_ON;
	}
	if (!next_message(data, end, w, t, &start, &len))
		return GO_ON;
	c = counters.lookup(&messages);
	if (!c)
		return GO_ON;
	/* from memory once more: what the verifier learned of them on the way here would split the walk */
	ip.af = w->af;
	ip.addrs = w->addrs;
	data = (const u8 *)(long)ctx->data;
	end = (const u8 *)(long)ctx->data_end;
	outcome = classify_message(data, end, start - MESSAGE_AT_MIN, len, &ip, &m, &f);
	if (outcome) {
		count_bad(outcome, &f, c);
	} else {
		f.ports = w->ports;
		count_whole(ctx, &ip, &m, &f, c);
	}
	if (w->left)
		tails.call(ctx, TAIL_TCP);
	end_segment(w, t, TCP_MESSAGES, w->seq, 0);
	return GO_ON;
}
#endif

#endif
