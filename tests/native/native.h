/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the BPF compiler's prelude gives (bpf/compat), for a build against libc. */
#ifndef XDPDNS_NATIVE_H
#define XDPDNS_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XDPDNS_NATIVE

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

/* An assertion that stays, and says what it wanted. */
#define must(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
