/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What numbers mean, one `NAME NUMBER` a line, for the agent's words to be compared with. */
#include "native.h"

#include "counters.h"
#include "make_key.h"
#include "outcomes.h"
#include "timing.h"

#define SHOW(name) printf("%s %u\n", #name, (u32)(name))

int main(void)
{
#define X(symbol, name, help) printf("outcome %s %u\n", #name, OUTCOME_##symbol);
	OUTCOMES(X)
#undef X
	SHOW(OUTCOME_COUNT);
	SHOW(QCLASS_IN);
	SHOW(QCLASS_CH);
	SHOW(QCLASS_HS);
	SHOW(QCLASS_NONE);
	SHOW(QCLASS_ANY);
	SHOW(QCLASS_OTHER);
	SHOW(QCLASS_COUNT);
	SHOW(VERSION_NO_EDNS);
	SHOW(VERSION_0);
	SHOW(VERSION_1);
	SHOW(VERSION_OTHER);
	SHOW(VERSION_UNSEEN);
	SHOW(VERSION_COUNT);
	SHOW(OVERFLOW_MAP_FULL);
	SHOW(OVERFLOW_MAP_ERROR);
	SHOW(OVERFLOW_COUNT);
	SHOW(SIZE_STEP);
	SHOW(USUAL_COUNT);
	for (u32 i = 1; i <= USUAL_LABELS; i++) {
		printf("usual_labels %u %u\n", i, USUAL_INDEX(0, i, 1));
		printf("usual_no_edns %u %u\n", i, USUAL_INDEX(1, i, 1));
	}
	for (u32 i = 1; i <= USUAL_NAME_LEN; i++)
		printf("usual_name_len %u %u\n", i, USUAL_INDEX(0, 1, i));
	SHOW(sizeof(struct counters));
	SHOW(BIT_QR);
	SHOW(BIT_DO);
	SHOW(BIT_AD);
	SHOW(BIT_AA);
	SHOW(BIT_TC);
	SHOW(BIT_NO_QUESTION);
	SHOW(EDNS_NONE);
	SHOW(EDNS_UNSEEN);
	SHOW(TLD_BYTES);
	SHOW(TLD_LEN_OTHER);
	SHOW(QTYPE_OTHER);
	SHOW(TLD_LEN_NONE);
	SHOW(RCODE_NODATA);
	SHOW(RCODE_REFERRAL);
	SHOW(RCODE_OTHER);
	SHOW(PENDING_PAIRS);
	SHOW(sizeof(struct waiting));
	SHOW(TIMING_SHIFT);
	SHOW(TIMING_FIRST);
	SHOW(TIMING_BUCKETS);
	SHOW(TIMING_IPV4_UDP);
	SHOW(TIMING_IPV4_TCP);
	SHOW(TIMING_IPV6_UDP);
	SHOW(TIMING_IPV6_TCP);
	SHOW(TIMING_COUNT);
	SHOW(sizeof(struct timing));
#define PLACE(member) printf("timing %s %zu\n", #member, offsetof(struct timing, member) / sizeof(u64))
	PLACE(tracked);
	PLACE(duplicate);
	PLACE(expired);
	PLACE(displaced);
	PLACE(orphan);
	PLACE(bucket);
	PLACE(units);
	for (u64 units = 0; units < TIMING_TIMEOUT; units = units * 2 + 1) /* the last ones below each edge */
		printf("timing_bucket %llu %llu\n", (unsigned long long)units,
		       (unsigned long long)timing_bucket(units));
	for (u64 units = 16; units < TIMING_TIMEOUT; units *= 2)
		printf("timing_bucket %llu %llu\n", (unsigned long long)units,
		       (unsigned long long)timing_bucket(units));
	SHOW(PROTO_TCP);
	SHOW(PROTO_UDP);
	for (u32 i = 0; i < 16; i++) /* bits of the header's third and fourth byte */
		printf("header_index %u %u\n", i, (u32)HEADER_INDEX((1 << i) >> 8, (1 << i) & 0xff));
	for (u32 i = 0; i < 256; i++) {
		struct edns found = {.bucket = EDNS_BUCKETS, .version = i};

		printf("version_index %u %u\n", i, (u32)version_index(&found));
	}
	printf("version_index no_edns %u\n", (u32)version_index(&(struct edns){.bucket = EDNS_NONE}));
	printf("version_index unseen %u\n", (u32)version_index(&(struct edns){.bucket = EDNS_UNSEEN}));
	for (u32 i = 0; i < 65536; i++) {
		printf("edns_bucket %u %u\n", i, (u32)edns_bucket(i));
		printf("qclass_index %u %u\n", i, (u32)qclass_index(i));
		printf("registered %u %d\n", i, QTYPE_REGISTERED(i) != 0);
	}
	return 0;
}
