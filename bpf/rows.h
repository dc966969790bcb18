/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where the counters of a row lie: rows are numbered from 0 on as they are made, and a row has one counter for each
 * CPU. */
#ifndef XDPDNS_ROWS_H
#define XDPDNS_ROWS_H

/*
 * A block is the counters that one CPU has for ROWS_IN_BLOCK rows: a page, which no other CPU writes to. The blocks of
 * all CPUs for the same rows are adjacent, so that what is used of the array is its beginning. CPUS, compiled in, is
 * one more than the highest number that a CPU may have.
 */
#define ROWS_IN_BLOCK 512

struct row_numbers {
	u64 given; /* numbers that rows have, or are about to have */
	u64 rows;  /* rows that were made */
};

/* A row's place is where CPU 0 has its counter. */
static __always_inline u32 place_of(u32 number)
{
	return number / ROWS_IN_BLOCK * (CPUS * ROWS_IN_BLOCK) + number % ROWS_IN_BLOCK;
}

static __always_inline u32 place_on(u32 place, u32 cpu)
{
	return place + cpu * ROWS_IN_BLOCK;
}

#endif
