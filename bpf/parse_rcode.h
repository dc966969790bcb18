/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How a query was answered: the RCODE with its EDNS extension (RFC 1035 4.1.1, RFC 6891 6.1.3), and what NOERROR means.
 */
#ifndef XDPDNS_PARSE_RCODE_H
#define XDPDNS_PARSE_RCODE_H

#include "parse_dns.h"
#include "parse_edns.h"

#define HEADER3_RCODE 0x0f
#define TYPE_NS	      2

/* Answers that share RCODE 0 with those that have records, and the codes that nobody has registered. */
#define RCODE_NODATA   253 /* RFC 9499 3: NOERROR, nothing in the answer section */
#define RCODE_REFERRAL 254 /* RFC 9499 7: the same, and the authority section begins with NS records */
#define RCODE_OTHER    255

/* Registered are 0 to 11 and 16 to 23: RFC 6895 2.3, RFC 8490, RFC 7873. */
static __always_inline u64 rcode_of(u64 header2, u64 header3, u64 counts, const struct edns *e, u64 first)
{
	u64 rcode = (header3 & HEADER3_RCODE) | e->rcode << 4;

	if (rcode > 23 || (rcode > 11 && rcode < 16))
		return RCODE_OTHER;
	/* of a truncated answer one can't tell what it would have held */
	if (rcode || (u16)(counts >> 16) || (header2 & HEADER2_TC))
		return rcode;
	if ((u16)(counts >> 32) && first == __builtin_bswap16(TYPE_NS))
		return RCODE_REFERRAL;
	return RCODE_NODATA;
}

#endif
