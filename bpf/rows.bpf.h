/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The rows: one counter a CPU for each key, and the lists that bound how many rows there can be.
 *
 * Rows are numbered as they are made. The hash says of a key where its counters are; counters and keys themselves lie
 * in plain arrays in the order of the numbers, so that the agent has what it wants as memory, without a system call, a
 * walk over buckets, or a look at what isn't used. Nothing is ever taken out.
 */
#ifndef XDPDNS_ROWS_BPF_H
#define XDPDNS_ROWS_BPF_H

#include "counters.h"
#include "rows.h"
#include "stats_key.h"
#include "tables.h"

TABLE("hash", struct stats_key, u32, rows, 1); /* the row's place */
TABLE("array", u32, u64, counts, 1);
TABLE("array", u32, struct stats_key, keys, 1); /* by the row's number */
TABLE("array", u32, struct row_numbers, numbers, 1);
/* One more than the number that a CPU was given for a row that was not made: the next one has it. */
TABLE("percpu_array", u32, u64, spare, 1);

#if KEY_TLD && TLDS_BOUNDED
struct tld_key {
	u8 tld[TLD_BYTES]; /* as in stats_key */
};
/* The allow-list; the value is the label's length, since a zero byte may also be part of a label. */
TABLE("hash", struct tld_key, u64, tlds, 1);
#endif

static __always_inline void count_at(u32 place)
{
	u32 at = place_on(place, bpf_get_smp_processor_id());
	u64 *count = counts.lookup(&at);

	if (count) /* always: the arrays have room for all rows */
		*count += 1;
}

static __always_inline bool count_in_row(struct stats_key *key)
{
	u32 *place = rows.lookup(key);

	if (!place)
		return false;
	count_at(*place);
	return true;
}

/* The number that the next row of this CPU is to have: one that was kept, or a new one. */
static __always_inline u32 next_number(struct row_numbers *n, u64 *kept)
{
	u64 number = __sync_lock_test_and_set(kept, 0);

	return number ? number - 1 : __sync_fetch_and_add(&n->given, 1);
}

/*
 * 0, or the negative error of the insertion. Another CPU may be first: then its row is there to add to, and the number
 * is kept for the next row, so that whatever is sent, no more numbers are given than there are rows and CPUs.
 *
 * The agent takes a number for a row once its counters are above 0. They become so last, behind the atomic addition,
 * which is a barrier if its result is asked for: who sees them sees the key.
 */
static __always_inline int count_in_new_row(struct stats_key *key)
{
	u32 zero = 0, number, place;
	struct row_numbers *n = numbers.lookup(&zero);
	u64 *kept = spare.lookup(&zero);
	struct stats_key *copy;
	u64 made;
	int err;

	if (!n || !kept)
		return -1; /* never: elements of arrays */
	number = next_number(n, kept);
	copy = keys.lookup(&number);
	if (!copy)
		return -1; /* never: there is room for all rows and one more a CPU */
	*copy = *key;
	place = place_of(number);
	err = rows.insert(key, &place);
	if (err) {
		*kept = (u64)number + 1;
		return count_in_row(key) ? 0 : err;
	}
	made = __sync_fetch_and_add(&n->rows, 1);
	opaque(made);
	count_at(place);
	return 0;
}

#if KEY_QTYPE
static __always_inline bool has_no_question(const struct stats_key *key)
{
#if RESPONSES
	return key->bits & BIT_NO_QUESTION;
#else
	return false;
#endif
}
#endif

static __always_inline bool fold_tld(struct stats_key *key)
{
#if KEY_TLD
	if (key->tld_len == TLD_LEN_OTHER || (RESPONSES && key->tld_len == TLD_LEN_NONE))
		return false;
	key->tld_len = TLD_LEN_OTHER;
	__builtin_memset(key->tld, 0, sizeof(key->tld));
	return true;
#else
	return false;
#endif
}

static __always_inline bool is_listed(struct stats_key *key)
{
#if KEY_TLD && TLDS_BOUNDED
	u64 *len;

	if (RESPONSES && key->tld_len == TLD_LEN_NONE)
		return true;
	len = tlds.lookup((struct tld_key *)key->tld);
	return len && *len == key->tld_len;
#else
	return true;
#endif
}

/* Folds values that are on no list, so that a sender can't make more rows than the lists allow. */
static __always_inline bool bound_values(struct stats_key *key)
{
	bool changed = false;

#if KEY_QTYPE
	if (key->qtype != QTYPE_OTHER && !has_no_question(key) && !(QTYPE_REGISTERED(key->qtype))) {
		key->qtype = QTYPE_OTHER;
		changed = true;
	}
#endif
	if (!is_listed(key))
		changed |= fold_tld(key);
	return changed;
}

/* A message whose row was not found: the only path that asks lists or makes rows. */
static __always_inline void count_unknown(struct stats_key *key, struct counters *c)
{
	int err;

	if (bound_values(key) && count_in_row(key))
		return;
	err = count_in_new_row(key);
	if (!err)
		return;
	if (fold_tld(key) && (count_in_row(key) || !count_in_new_row(key))) {
		c->folded += 1;
		return;
	}
	if (err == -7 /* E2BIG */)
		c->overflow[OVERFLOW_MAP_FULL] += 1;
	else
		c->overflow[OVERFLOW_MAP_ERROR] += 1;
}

#endif
