/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The last label of a name, as words. Headers lie before every name, so the 8-byte words that *end* where the name ends
 * are always inside the frame: no loop over bytes, no bound that depends on the label.
 */
#ifndef XDPDNS_PARSE_TLD_H
#define XDPDNS_PARSE_TLD_H

#include "cursor.h"
#include "parse_dns.h"
#include "parse_udp.h"

#define TLD_WORDS (TLD_BYTES / 8)

#define EACH_BYTE(x) ((x)*0x0101010101010101ULL)

/* ASCII A-Z to a-z in all eight bytes at once; other bytes, also those over 127, stay (RFC 4343). */
static __always_inline u64 lower_word(u64 w)
{
	u64 low7 = w & EACH_BYTE(0x7f);
	u64 from_a = low7 + EACH_BYTE(0x80 - 'A'); /* high bit: at or after A */
	u64 past_z = low7 + EACH_BYTE(0x7f - 'Z'); /* high bit: after Z */
	u64 upper = from_a & ~past_z & ~w & EACH_BYTE(0x80);

	return w | (upper >> 2);
}

/* Of a word loaded from memory the last `n` bytes, n from 1 on, in lower case; the others become zero. */
static __always_inline u64 last_bytes(u64 w, u64 n)
{
	u64 mask = n >= 8 ? ~0ULL : ~0ULL << ((64 - 8 * n) & 63);
	u64 not_capital = mask & EACH_BYTE(0x20); /* capitals have this bit clear: with it everywhere there is none */

	w &= mask;
	return (w & not_capital) == not_capital ? w : lower_word(w);
}

/*
 * The verifier lets a load reach back only as far as a pointer's constant part goes: for the first words that is the
 * least that lies before a message; behind a label of more than NEAR_WORDS words it is as much more as that label is
 * long. NULL never happens.
 */
#define NEAR_WORDS (MESSAGE_AT_MIN / 8)
#define FAR_MIN	   (DNS_HEADER + 1 + 8 * NEAR_WORDS)

static __always_inline const u8 *root_from_afar(const struct message *m, const struct question *q)
{
	u64 beyond = q->end - 1 - QUESTION_TAIL - FAR_MIN;
	const u8 *base = m->start + FAR_MIN;

	opaque(base);
	if (beyond > NAME_MAX_BYTES || base + beyond + 1 > m->frame_end)
		return NULL;
	return base + beyond;
}

/* Writes the name's last label, of 1 to TLD_BYTES bytes, lower-cased, right-aligned into `tld`. */
static __always_inline void read_tld(u64 *tld, const struct message *m, const struct question *q)
{
	const u8 *root = q->root;
	u64 len = q->last_len;

#pragma unroll
	for (int i = 0; i < TLD_WORDS; i++)
		tld[i] = 0;
#pragma unroll
	for (int i = 0; i < TLD_WORDS; i++) {
		u64 w;

		if (i == NEAR_WORDS) {
			root = root_from_afar(m, q);
			if (!root)
				return;
		}
		w = load64(root - 8 * (i + 1));
		tld[TLD_WORDS - 1 - i] = last_bytes(w, len);
		/* Not asked at the last word, where the verifier knows the answer and would then keep it for all. */
		if (i + 1 == TLD_WORDS || len <= 8)
			return;
		len -= 8;
	}
}

/* The same for a label of 1 to 8 bytes, in straight code. */
static __always_inline void read_near_tld(u64 *tld, const u8 *root, u64 len)
{
	u64 others = 64 - 8 * len, lower = EACH_BYTE(0x20), w;

#pragma unroll
	for (int i = 0; i < TLD_WORDS - 1; i++)
		tld[i] = 0;
	opaque(others); /* or shifting it out and back becomes a mask, and that another constant */
	w = load64(root - 8) >> others;
	opaque(w);
	w <<= others;
	opaque(w);
	opaque(lower);
	lower <<= others;
	if ((w & lower) != lower) /* see last_bytes() */
		w = lower_word(w);
	tld[TLD_WORDS - 1] = w;
}

#endif
