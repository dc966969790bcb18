/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the parsers make of a frame, and what must hold of it whatever the frame: the name is walked again, label by
 * label, and the TLD copied byte by byte. The frame lies in an allocation of exactly its size, so that the sanitizer
 * traps every read beyond either end.
 */
#ifndef XDPDNS_OBSERVE_H
#define XDPDNS_OBSERVE_H

#include "native.h"

#include "classify.h"
#include "make_key.h"
#include "parse_usual.h"
#if TIMING
#include "timing.h"
#endif

/* Written as it is for each frame: 24 bytes, the key, and 8 bytes. What the outcome doesn't fill is zero. */
struct observation {
	u8 outcome;
	u8 header2;
	u8 header3;
	u8 version;
	u16 qclass;
	u16 edns_size;
	u64 size;
	u32 name_len;
	u32 labels;
	struct stats_key key;
	u64 usual; /* read in straight code as well */
};

_Static_assert(offsetof(struct observation, key) == 24, "no padding");

static inline void check_name(const struct message *m, const struct question *q)
{
	u32 at = DNS_HEADER, labels = 0, last = 0;

	while (m->start[at]) {
		last = m->start[at];
		must(last <= LABEL_MAX);
		at += 1 + last;
		labels++;
		must(at < m->len);
	}
	must(q->root == m->start + at);
	must(q->name_len == at + 1 - DNS_HEADER && q->name_len <= NAME_MAX_BYTES);
	must(q->labels == labels && labels <= NAME_MAX_LABELS);
	must(q->last_len == last);
	must(q->end == at + 1 + QUESTION_TAIL && q->end <= m->len);
	must(q->qtype == (m->start[at + 1] << 8 | m->start[at + 2]));
	must(q->qclass == (m->start[at + 3] << 8 | m->start[at + 4]));
}

static inline void check_no_question(const struct message *m, const struct question *q)
{
	must(RESPONSES && m->start[4] == 0 && m->start[5] == 0);
	must(q->end == DNS_HEADER && q->labels == 0 && q->last_len == 0 && q->qtype == QTYPE_NONE);
}

/* What is read for a response's time lies in the frame, or the sanitizer says so. */
static inline void check_pair(const u8 *frame, const struct ip_payload *ip, const struct message *m,
			      const struct features *f)
{
#if TIMING
	struct pair pair = {0};

	pair_of(frame, ip, m, f, &pair);
	must(!pair.sampled || (pair.slot < PENDING_PAIRS && pair.mark && pair.mark <= 0xffffffff));
	must(TIMING_SAMPLE > 1 || pair.sampled);
#else
	(void)frame, (void)ip, (void)m, (void)f;
#endif
}

static inline void check_key(const struct stats_key *key, const struct question *q)
{
#if KEY_HEAD_USED < 8
	for (size_t i = 0; i < sizeof(key->zero); i++)
		must(key->zero[i] == 0);
#endif
#if KEY_TLD
	u8 tld[TLD_BYTES] = {0};
	u32 len = q->last_len;

	if (!q->name_len) {
		must(key->tld_len == TLD_LEN_NONE);
	} else if (len > TLD_BYTES) {
		must(key->tld_len == TLD_LEN_OTHER);
	} else {
		must(key->tld_len == len);
		for (u32 i = 0; i < len; i++) {
			u8 byte = q->root[(int)i - (int)len];

			tld[TLD_BYTES - len + i] = byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
		}
	}
	must(memcmp(tld, key->tld, TLD_BYTES) == 0);
#else
	(void)q;
#endif
}

/* Found at constant offsets or layer by layer: the same message. */
static inline void check_plain(const u8 *frame, const u8 *end, enum outcome outcome, const struct ip_payload *ip,
			       const struct message *m)
{
	struct plain plain = {0};
	struct ip_payload plain_ip;
	struct message plain_m;
	struct features f;
	enum outcome found = parse_plain(frame, end, &plain);

	if (found == NOT_PLAIN)
		return;
	if (found != OUTCOME_GO_ON) {
		must(found == outcome);
		return;
	}
	must(plain.af == plain_af(frame, end));
	must(classify(frame, end, 0, plain.af, &plain_ip, &plain_m, &f) == outcome);
	must(plain_ip.af == ip->af && plain_ip.proto == ip->proto && plain_ip.addrs == ip->addrs);
	must(plain_m.start == m->start && plain_m.len == m->len);
	must(plain.start == m->start && plain.end == m->start + m->len);
}

static inline bool is_usual(const u8 *frame, const u8 *end)
{
#if !RESPONSES
	struct plain plain = {0};
	struct usual u;
	struct edns e;

	return !parse_plain(frame, end, &plain) && parse_usual(&plain, &u, &e);
#else
	(void)frame, (void)end;
	return false;
#endif
}

/* Found in straight code or by the parsers that know all of DNS: the same query. */
static inline bool check_usual(const u8 *frame, const u8 *end, const struct message *m, const struct features *f,
			       const struct stats_key *key)
{
#if !RESPONSES
	struct plain plain = {0};
	struct stats_key usual_key;
	struct features found = {0};
	struct usual u;
	u64 index;

	if (parse_plain(frame, end, &plain) || !parse_usual(&plain, &u, &found.edns))
		return false;
	read_usual(&plain, &u, &found, &usual_key);
	must(memcmp(&usual_key, key, sizeof(*key)) == 0);
	must(found.header2 == f->header2 && found.header3 == f->header3);
	must(found.edns.bucket == f->edns.bucket && found.edns.do_bit == f->edns.do_bit);
	must(found.edns.size == f->edns.size);
	must(u.root == f->question.root && u.tld_len == f->question.last_len);
	must(f->question.qclass == 1 && f->edns.version == 0);
	index = USUAL_INDEX(f->edns.bucket == EDNS_NONE, f->question.labels, f->question.name_len);
	must(index < USUAL_COUNT);
	if (u.index < USUAL_COUNT)
		must(m->len == f->question.end + (f->edns.bucket == EDNS_NONE ? 0 : OPT_FIXED));
	else
		index += USUAL_COUNT;
	must(u.index == index);
	return true;
#else
	(void)frame, (void)end, (void)m, (void)f, (void)key;
	return false;
#endif
}

static inline struct observation observe(const u8 *frame, size_t len)
{
	struct observation o = {0};
	struct ip_payload ip;
	struct message m;
	struct features f;
	enum outcome outcome = classify(frame, frame + len, 0, 0, &ip, &m, &f);

	must(outcome < OUTCOME_COUNT);
	check_plain(frame, frame + len, outcome, &ip, &m);
	o.outcome = outcome;
	if (outcome == OUTCOME_QUERY || outcome >= OUTCOME_HEADER_SEEN) {
		must(m.start >= frame + MESSAGE_AT_MIN && m.start + m.len <= frame + len);
		must(f.header2 == m.start[2] && f.header3 == m.start[3]);
		o.header2 = f.header2;
		o.header3 = f.header3;
	}
	if (outcome != OUTCOME_QUERY) {
		must(!is_usual(frame, frame + len));
		return o;
	}
	must(f.size == m.len);
	must(f.edns.do_bit <= 1);
	if (f.question.name_len)
		check_name(&m, &f.question);
	else
		check_no_question(&m, &f.question);
	check_pair(frame, &ip, &m, &f);
	make_key(&o.key, &ip, &m, &f);
	check_key(&o.key, &f.question);
	o.usual = check_usual(frame, frame + len, &m, &f, &o.key);
	o.version = f.edns.version;
	o.edns_size = f.edns.size;
	o.qclass = f.question.qclass;
	o.size = f.size;
	o.name_len = f.question.name_len;
	o.labels = f.question.labels;
	return o;
}

#endif
