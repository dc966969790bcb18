/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * `mutate SEED COUNT`: mutants of the frames on standard input, the same for the same seed. Prints how many had each
 * outcome. For compilers without a fuzzer, and for runs that can be repeated to the byte.
 */
#include "frames.h"
#include "observe.h"

#define CORPUS_MAX   4096
#define FRAME_MAX    4096
#define DECISIVE_LEN 120 /* what decides lies in the first bytes, mostly */

static u64 state;

/* splitmix64 (Steele, Lea, Flood 2014): below `bound`, which is not zero. */
static u32 below(u32 bound)
{
	u64 z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) % bound;
}

static void mutate(u8 *data, u32 *len)
{
	static const u8 odd[] = {0, 1, 2, 4, 0x3e, 0x3f, 0x40, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
	u32 at = below(*len > DECISIVE_LEN && below(4) ? DECISIVE_LEN : *len), run = 1 + below(12);

	switch (below(7)) {
	case 0:
		data[at] = odd[below(sizeof(odd))];
		break;
	case 1:
		data[at] ^= 1 << below(8);
		break;
	case 2:
		data[at] = below(256);
		break;
	case 3:
		*len = at + 1;
		break;
	case 4: /* take some bytes out */
		if (run < *len - at) {
			memmove(data + at, data + at + run, *len - at - run);
			*len -= run;
		}
		break;
	case 5: /* repeat what comes before */
		if (run <= at && *len + run <= FRAME_MAX) {
			memmove(data + at + run, data + at, *len - at);
			memcpy(data + at, data + at - run, run);
			*len += run;
		}
		break;
	default: /* cut anywhere */
		*len = 1 + below(*len);
	}
}

int main(int argc, char **argv)
{
#define X(symbol, name, help) #name,
	static const char *const names[] = {OUTCOMES(X)};
#undef X
	static struct frame corpus[CORPUS_MAX];
	u64 outcomes[OUTCOME_COUNT] = {0};
	u32 seeds = 0;

	must(argc == 3);
	state = strtoull(argv[1], NULL, 10);
	while (seeds < CORPUS_MAX && next_frame(&corpus[seeds]))
		seeds++;
	must(seeds > 0);
	for (u64 left = strtoull(argv[2], NULL, 10); left; left--) {
		const struct frame *seed = &corpus[below(seeds)];
		u8 data[FRAME_MAX], *exact;
		u32 len = seed->len;

		must(len > 0 && len <= FRAME_MAX);
		memcpy(data, seed->data, len);
		for (u32 changes = 1 + below(3); changes; changes--)
			mutate(data, &len);
		exact = malloc(len);
		must(exact);
		memcpy(exact, data, len);
		outcomes[observe(exact, len).outcome]++;
		free(exact);
	}
	for (u32 i = 0; i < OUTCOME_COUNT; i++)
		printf("%s %llu\n", names[i], (unsigned long long)outcomes[i]);
	while (seeds--)
		free(corpus[seeds].data);
	return 0;
}
