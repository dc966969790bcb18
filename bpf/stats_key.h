/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * struct stats_key: the features that one row of counters stands for. This is the only definition: the agent takes the
 * layout from BCC. A dimension that is switched off (-DKEY_...=0) is not in the key, and the code that would find its
 * value is not compiled.
 *
 * A program counts one side of the traffic: queries, which go to a watched port, or with -DRESPONSES=1 responses, which
 * come from one. RCODE, TC and AA are dimensions of responses only, QR of queries only.
 *
 * The first eight bytes, the head, are written as one word: bytes that are stored apart and read back as words by the
 * hash would stall on the store buffer.
 */
#ifndef XDPDNS_STATS_KEY_H
#define XDPDNS_STATS_KEY_H

#define KEY_BITS      (KEY_QR || KEY_DO || KEY_AD || KEY_TC || KEY_AA || (RESPONSES && KEY_QTYPE))
#define KEY_HEAD_USED (KEY_AF + KEY_PROTO + KEY_BITS + KEY_EDNS + 2 * KEY_QTYPE + KEY_TLD + KEY_RCODE)

/* stats_key.bits; QR and AD where the header's third and fourth byte have them, so that they need no shifting */
#define BIT_QR		0x80 /* RFC 1035 4.1.1 */
#define BIT_DO		0x40 /* RFC 3225 3: bit 15 of the OPT record's flags */
#define BIT_AD		0x20 /* RFC 4035 3.2.3 */
#define BIT_AA		0x04 /* RFC 1035 4.1.1 */
#define BIT_TC		0x02
#define BIT_NO_QUESTION 0x01 /* of a response */

/* stats_key.edns; the buckets of the advertised size follow, two an edge and one above: see edns_bucket() */
#define EDNS_NONE    0
#define EDNS_UNSEEN  1
#define EDNS_BUCKETS 2

/* The value of a field whose real value is not on the list. No length is 255, and type 65535 is reserved (RFC 6895). */
#define TLD_LEN_OTHER 255
#define QTYPE_OTHER   65535

/* Those of a response without a question. A question can have type 0 as well, but then not BIT_NO_QUESTION. */
#define TLD_LEN_NONE 254
#define QTYPE_NONE   0

struct stats_key {
#if KEY_AF
	u8 af; /* 4 or 6 */
#endif
#if KEY_PROTO
	u8 proto; /* IP protocol number: 17 or 6 */
#endif
#if KEY_BITS
	u8 bits; /* BIT_... */
#endif
#if KEY_EDNS
	u8 edns; /* EDNS_... */
#endif
#if KEY_QTYPE
	u16 qtype; /* host byte order, or QTYPE_... */
#endif
#if KEY_TLD
	u8 tld_len; /* bytes, 0 for the root, or TLD_LEN_... */
#endif
#if KEY_RCODE
	u8 rcode; /* an RCODE, or RCODE_... (parse_rcode.h) */
#endif
#if KEY_HEAD_USED < 8
	u8 zero[8 - KEY_HEAD_USED];
#endif
#if KEY_TLD
	u8 tld[TLD_BYTES]; /* lower case, right-aligned: the last tld_len bytes; zeros before them */
#endif
} __attribute__((packed, aligned(8)));

/* One field's share of the head, in host byte order (little-endian: BPF on x86-64 and arm64). */
#define KEY_HEAD(field, value) ((u64)(value) << (8 * __builtin_offsetof(struct stats_key, field)))

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "KEY_HEAD and the word-wise TLD need little-endian");

#endif
