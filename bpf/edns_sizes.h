/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Exact EDNS sizes, compiled in by -DEXACT_EDNS=1: a counter for each size with DO clear and one with DO set, at
 * size * 2 + DO; behind them one for queries without an OPT record and one for those whose OPT was not reached.
 *
 * What is counted: a query that is in a row (or in the overflow), with QR and TC clear. A response is no query, and a
 * query whose question doesn't parse has no place where an OPT record would be looked for.
 *
 * The kernel gives each element of a per-CPU array an allocation of its own: elements of 256 adjacent sizes make 257
 * of them, 1 MB a CPU.
 */
#ifndef XDPDNS_EDNS_SIZES_H
#define XDPDNS_EDNS_SIZES_H

#include "classify.h"

#define EDNS_SIZES_COUNTERS 512 /* in an element */
#define EDNS_SIZES_ELEMENTS 257
#define EDNS_SIZES_NO_OPT   (65536 * 2)
#define EDNS_SIZES_UNSEEN   (65536 * 2 + 1)

struct edns_sizes {
	u64 count[EDNS_SIZES_COUNTERS];
};

static __always_inline bool has_exact_size(const struct features *f)
{
	return !(f->header2 & (HEADER2_QR | HEADER2_TC));
}

static __always_inline u32 edns_sizes_index(const struct edns *e)
{
	if (e->bucket == EDNS_NONE)
		return EDNS_SIZES_NO_OPT;
	if (e->bucket == EDNS_UNSEEN)
		return EDNS_SIZES_UNSEEN;
	return e->size * 2 + e->do_bit;
}

#endif
