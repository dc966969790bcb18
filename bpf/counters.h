/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * struct counters: all that is counted without a cross product, one element of a per-CPU array. Each member is an
 * array of plain counters (or one). A query costs one lookup and six adds here, chosen so that the agent can work out
 * the rest: header bytes are counted by their value, which keeps the opcode and every flag; small messages by their
 * exact size, which keeps the sum; and a query has no outcome of its own, for it is in exactly one of name_len. For
 * most queries two adds do: usual stands for one in each of question, name_len, name_labels and size.
 */
#ifndef XDPDNS_COUNTERS_H
#define XDPDNS_COUNTERS_H

#include "outcomes.h"
#include "parse_dns.h"
#include "parse_edns.h"

#define SIZE_EXACT   512 /* below, sizes are counted one by one */
#define SIZE_STEP    16	 /* bytes; RSSAC002 counts sizes in these steps */
#define SIZE_BUCKETS 257 /* 0-15, 16-31, ... 4080-4095, and above */

/* The header's third byte (QR, opcode, AA, TC, RD) and of its fourth Z, AD and CD, as one index. */
#define HEADER_VALUES		       2048
#define HEADER_INDEX(header2, header3) ((u64)(header2) | ((u64)(header3)&0x70) << 4)

/* Classes that have a counter of their own (RFC 6895 3.2); others share one. */
enum qclass_index { QCLASS_IN, QCLASS_CH, QCLASS_HS, QCLASS_NONE, QCLASS_ANY, QCLASS_OTHER, QCLASS_COUNT };

/* Whether there is an OPT record, and its version. */
enum version_index { VERSION_NO_EDNS, VERSION_0, VERSION_1, VERSION_OTHER, VERSION_UNSEEN, VERSION_COUNT };

/*
 * Queries of class IN without an OPT record, or with one of version 0 and no options, and nothing behind that: the size
 * of such a message follows from its name's. Counted by all of it at once, at USUAL_INDEX, the OPT record first.
 */
#define USUAL_LABELS			       6
#define USUAL_NAME_LEN			       64
#define USUAL_COUNT			       (2 * USUAL_LABELS * USUAL_NAME_LEN)
#define USUAL_INDEX(no_edns, labels, name_len) (((no_edns)*USUAL_LABELS + (labels)-1) * USUAL_NAME_LEN + (name_len)-1)

/* Why a query is in no row. */
enum overflow_index { OVERFLOW_MAP_FULL, OVERFLOW_MAP_ERROR, OVERFLOW_COUNT };

/* The elements of the map: packets, with the messages over UDP; and messages over TCP. */
enum counters_index { COUNTERS_PACKETS, COUNTERS_TCP, COUNTERS_COUNT };

struct counters {
	u64 outcome[OUTCOME_COUNT];		    /* packets; that of OUTCOME_QUERY stays 0 */
	u64 header[HEADER_VALUES];		    /* messages by HEADER_INDEX */
	u64 question[QCLASS_COUNT * VERSION_COUNT]; /* queries by class * VERSION_COUNT + version */
	u64 name_len[NAME_MAX_BYTES + 1];	    /* queries by the name's bytes on the wire */
	u64 name_labels[NAME_MAX_LABELS + 1];	    /* queries by the name's labels, the root not counted */
	u64 size[SIZE_EXACT];			    /* queries by the message's bytes */
	u64 large[SIZE_BUCKETS];		    /* queries of SIZE_EXACT bytes and more by bytes / SIZE_STEP */
	u64 large_sum;				    /* bytes of those */
	u64 usual[USUAL_COUNT];			    /* queries by USUAL_INDEX, which are in none of the five above */
	u64 overflow[OVERFLOW_COUNT];		    /* queries in no row */
	u64 folded;				    /* queries in a row ~other since the map was full */
};

_Static_assert(sizeof(struct counters) <= 32768, "the most that a per-CPU map gives an element");

static __always_inline enum qclass_index qclass_index(u64 qclass)
{
	if (qclass == 1) /* nearly always */
		return QCLASS_IN;
	switch (qclass) {
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

static __always_inline u64 version_index(const struct edns *e)
{
	if (e->bucket == EDNS_NONE)
		return VERSION_NO_EDNS;
	if (e->bucket == EDNS_UNSEEN)
		return VERSION_UNSEEN;
	return e->version < 2 ? e->version + VERSION_0 : VERSION_OTHER;
}

#endif
