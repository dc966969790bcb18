/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * struct counters: all that is counted without a cross product, one element of a per-CPU array. Each member is an
 * array of plain counters (or one), so that a query costs one lookup and a handful of adds.
 *
 * Header bytes are counted by their value: one add keeps every flag, the opcode and the rcode, and the agent takes
 * the sums apart.
 */
#ifndef XDPDNS_COUNTERS_H
#define XDPDNS_COUNTERS_H

#include "outcomes.h"
#include "parse_dns.h"

#define SIZE_STEP    16	 /* bytes; RSSAC002 counts sizes in these steps */
#define SIZE_BUCKETS 257 /* 0-15, 16-31, ... 4080-4095, and above */

/* Classes that have a counter of their own (RFC 6895 3.2); others share one. */
enum qclass_index { QCLASS_IN, QCLASS_CH, QCLASS_HS, QCLASS_NONE, QCLASS_ANY, QCLASS_OTHER, QCLASS_COUNT };

/* Whether there is an OPT record, and its version. */
enum version_index { VERSION_NO_EDNS, VERSION_0, VERSION_1, VERSION_OTHER, VERSION_UNSEEN, VERSION_COUNT };

/* Why a query is in no row. */
enum overflow_index { OVERFLOW_MAP_FULL, OVERFLOW_MAP_ERROR, OVERFLOW_COUNT };

struct counters {
	u64 outcome[OUTCOME_COUNT];	      /* packets */
	u64 header2[256];		      /* messages by the header's third byte: QR, opcode, AA, TC, RD */
	u64 header3[256];		      /* messages by its fourth: RA, Z, AD, CD, rcode */
	u64 qclass[QCLASS_COUNT];	      /* queries */
	u64 version[VERSION_COUNT];	      /* queries */
	u64 name_len[NAME_MAX_BYTES + 1];     /* queries by the name's bytes on the wire */
	u64 name_labels[NAME_MAX_LABELS + 1]; /* queries by the name's labels, the root not counted */
	u64 size[SIZE_BUCKETS];		      /* queries by the message's bytes / SIZE_STEP */
	u64 size_sum;			      /* bytes of all queries */
	u64 overflow[OVERFLOW_COUNT];	      /* queries in no row */
	u64 folded;			      /* queries in a row ~other since the map was full */
};

static __always_inline enum qclass_index qclass_index(u16 qclass)
{
	switch (qclass) {
	case 1:
		return QCLASS_IN;
	case 3:
		return QCLASS_CH;
	case 4:
		return QCLASS_HS;
	case 254:
		return QCLASS_NONE;
	case 255:
		return QCLASS_ANY;
	default:
		return QCLASS_OTHER;
	}
}

#endif
