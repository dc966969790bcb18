/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The rows: one counter for each key, and the lists that bound how many there can be. */
#ifndef XDPDNS_ROWS_BPF_H
#define XDPDNS_ROWS_BPF_H

#include "counters.h"
#include "stats_key.h"

BPF_TABLE("percpu_hash", struct stats_key, u64, rows, 1);

#if KEY_TLD && TLDS_BOUNDED
struct tld_key {
	u8 tld[TLD_BYTES]; /* as in stats_key */
};
/* The allow-list; the value is the label's length, since a zero byte may also be part of a label. */
BPF_TABLE("hash", struct tld_key, u64, tlds, 1);
#endif

static __always_inline bool count_in_row(struct stats_key *key)
{
	u64 *count = rows.lookup(key);

	if (!count)
		return false;
	*count += 1;
	return true;
}

/* 0, or the negative error of the insertion. Another CPU may be first: then its row is there to add to. */
static __always_inline int count_in_new_row(struct stats_key *key)
{
	u64 one = 1;
	int err = rows.insert(key, &one);

	if (err && count_in_row(key))
		return 0;
	return err;
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
