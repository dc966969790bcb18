/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * xdpdns sample: packets, DNS queries and answers over UDP, and who asks or is asked, at TC ingress and egress for as
 * long as somebody looks. The parsers are those of the program that counts for good. Nothing is written to a packet,
 * and every packet goes on to the next program.
 *
 * The agent compiles in what ProgramSettings.cflags() says, of which WATCHED_PORT is used here.
 */

static __always_inline bool is_dns_port(u16 p)
{
	return WATCHED_PORT(p);
}

/* The ports decide what a message is, so the parsers have to let all of them through. */
#undef WATCHED_PORT
#define WATCHED_PORT(p) ((void)(p), true)

#include "classify.h"
#include "tables.h"

#define CONTEXT struct __sk_buff
#define GO_ON	(-1) /* TCX_NEXT, TC_ACT_UNSPEC to clsact */

/* The most of a packet that is gathered for reading, as xdpdns.bpf.c does. */
#define GATHER_MAX 4096

#define QTYPE_ANY 255 /* RFC 8482 */

/* The way of a packet through the interface. */
enum way { WAY_IN, WAY_OUT, WAYS };

/* What this machine is in an exchange: queries come in to a server, and go out from a client. */
enum side { SIDE_SERVER, SIDE_CLIENT, SIDES };

struct sample_counts {
	u64 packets[WAYS];
	u64 queries[WAYS];	     /* to a watched port, QR clear, opcode QUERY, one whole question */
	u64 answers[WAYS];	     /* from a watched port, QR set, opcode QUERY, a whole question or none */
	u64 other_dns[WAYS];	     /* any other UDP from or to a watched port */
	u64 tcp_segments[WAYS];	     /* from or to a watched port */
	u64 any_queries[WAYS];	     /* queries of the type ANY */
	u64 truncated[WAYS];	     /* answers with TC set */
	u64 unlisted_queries[SIDES]; /* those whose address found no room */
	u64 unlisted_answers[SIDES];
};

/* Who is at the other end: an address as IPv6 has it, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct peer {
	u32 side;
	u8 addr[16];
};

struct peer_counts {
	u64 queries;
	u64 answers;
};

/*
 * The gate: packets are counted while the limit isn't 0. Every packet that comes to it takes a number, and one whose
 * number reaches the limit stays out, so that with all CPUs at once just as many are counted as were asked for.
 */
#define GATE_LIMIT 0
#define GATE_TAKEN 1
#define GATE_ENDED 2 /* when the last number was taken: nanoseconds of CLOCK_MONOTONIC */
#define GATE_SIZE  3

#define NO_LIMIT (~0ULL)

TABLE("array", u32, u64, gate, GATE_SIZE);
TABLE("percpu_array", u32, struct sample_counts, counts, 1);
TABLE("hash", struct peer, struct peer_counts, peers, 1);

static __always_inline bool enter_gate(void)
{
	u32 at_limit = GATE_LIMIT, at_taken = GATE_TAKEN, at_ended = GATE_ENDED;
	u64 *limit = gate.lookup(&at_limit), *taken = gate.lookup(&at_taken), *ended = gate.lookup(&at_ended);
	u64 most, number;

	if (!limit || !taken || !ended) /* never: elements of an array */
		return false;
	most = *(volatile u64 *)limit;
	if (most == 0 || most == NO_LIMIT)
		return most;
	number = __sync_fetch_and_add(taken, 1);
	if (number + 1 == most)
		*ended = bpf_ktime_get_ns();
	return number < most;
}

/* The first address that asks finds room or not; nobody is ever pushed out, so that what is counted stays whole. */
static __always_inline void count_peer(struct peer *peer, bool answer, struct sample_counts *c)
{
	struct peer_counts none = {}, *found = peers.lookup(peer);

	if (!found) {
		peers.insert(peer, &none); /* or another CPU has just done that, or there is no room */
		found = peers.lookup(peer);
	}
	if (found) {
		__sync_fetch_and_add(answer ? &found->answers : &found->queries, 1);
		return;
	}
	if (answer)
		c->unlisted_answers[peer->side & 1] += 1;
	else
		c->unlisted_queries[peer->side & 1] += 1;
}

/* The source of what comes in, the destination of what goes out; false if it is not in the frame (it is). */
static __always_inline bool read_peer(const u8 *data, const u8 *end, const struct ip_payload *ip, enum way way,
				      struct peer *peer)
{
	u64 at = ip->addrs;
	const u8 *p;

	blur(at, data, 0x3f);
	p = data + at;
	if (ip->af == 4) {
		p += way * 4;
		if (p + 4 > end)
			return false;
		peer->addr[10] = peer->addr[11] = 0xff;
		__builtin_memcpy(peer->addr + 12, p, 4);
		return true;
	}
	p += way * 16;
	if (p + 16 > end)
		return false;
	__builtin_memcpy(peer->addr, p, 16);
	return true;
}

/* Where a datagram or segment is, and whether its ports are watched. */
struct transport {
	struct ip_payload ip;
	u64 beyond; /* of UDP: where the message begins, as locate() wants it */
	u64 len;    /* and its length */
	bool from;  /* a watched port */
	bool to;
};

static __always_inline enum outcome parse_transport(CONTEXT *ctx, struct transport *t)
{
	const u8 *data = (const u8 *)(long)ctx->data;
	struct cursor c = {.pos = data, .end = (const u8 *)(long)ctx->data_end};
	enum outcome bad = parse_network(&c, data, ctx->vlan_present, &t->ip);
	const u8 *ports = c.pos;

	t->from = t->to = false;
	if (bad)
		return bad;
	if (t->ip.proto != PROTO_UDP && t->ip.proto != PROTO_TCP)
		return END(NOT_UDP);
	if (!cursor_has(&c, 4) || t->ip.len < 4)
		return END(UDP_MALFORMED);
	t->from = is_dns_port(load_be16(ports));
	t->to = is_dns_port(load_be16(ports + 2));
	if (!t->from && !t->to)
		return END(OTHER_PORT);
	if (t->ip.proto == PROTO_TCP)
		return END(TCP);
	bad = parse_udp(&c, &t->ip, &t->len);
	if (bad)
		return bad;
	t->beyond = c.pos - data - MESSAGE_AT_MIN;
	return OUTCOME_GO_ON;
}

/* Its bytes may lie in pieces, of which a program sees the first: see is_scattered() in xdpdns.bpf.c. */
static __always_inline bool gather(CONTEXT *ctx, enum outcome outcome)
{
	u64 len = ctx->len < GATHER_MAX ? ctx->len : GATHER_MAX;

	if (ctx->data_end - ctx->data >= len || outcome == OUTCOME_OTHER_PORT || outcome == OUTCOME_NOT_UDP ||
	    outcome == OUTCOME_TCP)
		return false;
	return !bpf_skb_pull_data(ctx, len);
}

/* Counts a query or an answer; false for any other message. */
static __always_inline bool count_message(CONTEXT *ctx, const struct transport *t, enum way way,
					  struct sample_counts *c)
{
	const u8 *data = (const u8 *)(long)ctx->data, *end = (const u8 *)(long)ctx->data_end;
	u64 header2, header3, counts;
	struct peer peer = {};
	struct question q;
	struct message m;
	enum outcome bad;
	bool answer;

	if (!locate(&m, data, end, t->beyond, t->len))
		return false;
	bad = parse_header(&m, &header2, &header3, &counts);
	answer = header2 & HEADER2_QR;
	if (answer ? !t->from : !t->to)
		return false;
	q.qtype = QTYPE_NONE;
	if (!bad)
		bad = parse_question(&m, &q);
	else if (bad == OUTCOME_QDCOUNT && answer && !(u16)counts)
		bad = OUTCOME_GO_ON;
	if (bad || !read_peer(data, end, &t->ip, way, &peer))
		return false;
	if (answer) {
		c->answers[way] += 1;
		c->truncated[way] += !!(header2 & HEADER2_TC);
	} else {
		c->queries[way] += 1;
		c->any_queries[way] += q.qtype == QTYPE_ANY;
	}
	/* queries come in to a server, and answers go out */
	peer.side = (way == WAY_IN) == answer ? SIDE_CLIENT : SIDE_SERVER;
	count_peer(&peer, answer, c);
	return true;
}

static __always_inline int sample(CONTEXT *ctx, enum way way)
{
	struct sample_counts *c;
	struct transport t = {};
	enum outcome outcome;
	u32 zero = 0;

	if (!enter_gate())
		return GO_ON;
	c = counts.lookup(&zero);
	if (!c)
		return GO_ON;
	c->packets[way] += 1;
	outcome = parse_transport(ctx, &t);
	if (gather(ctx, outcome))
		outcome = parse_transport(ctx, &t);
	if (outcome == OUTCOME_TCP)
		c->tcp_segments[way] += 1;
	else if ((t.to || t.from) && (outcome || !count_message(ctx, &t, way, c)))
		c->other_dns[way] += 1;
	return GO_ON;
}

int sample_in(CONTEXT *ctx)
{
	return sample(ctx, WAY_IN);
}

int sample_out(CONTEXT *ctx)
{
	return sample(ctx, WAY_OUT);
}
