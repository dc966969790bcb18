/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bounds-checked reading of a frame, from its first byte to its last.
 *
 * The contract: `pos` only moves forward, never past `end`; whoever reads n bytes at `pos` has asked
 * cursor_has(c, n) first. Multi-byte loads are in network byte order unless the name says otherwise.
 */
#ifndef XDPDNS_CURSOR_H
#define XDPDNS_CURSOR_H

struct cursor {
	const u8 *pos;
	const u8 *end; /* one past the frame's last byte */
};

#define cursor_has(c, n) ((c)->pos + (n) <= (c)->end)

/*
 * Unaligned loads in host byte order, as the hash and the word tricks want them. BPF loads a word from any address;
 * told that the address is unaligned, clang would load bytes and shift them together.
 */
#ifndef XDPDNS_NATIVE
#define LOAD(type, p) (*(const type *)(p))
#else
#define LOAD(type, p)                                                                                                  \
	({                                                                                                             \
		type value;                                                                                            \
		__builtin_memcpy(&value, p, sizeof(value));                                                            \
		value;                                                                                                 \
	})
#endif
#define load16(p) LOAD(u16, p)
#define load32(p) LOAD(u32, p)
#define load64(p) LOAD(u64, p)

static __always_inline u16 load_be16(const u8 *p)
{
	return __builtin_bswap16(load16(p));
}

/* Keeps clang from looking through a value: what is computed from it is computed as it is written. */
#define opaque(x) asm volatile("" : "+r"(x))

/*
 * A zero that the verifier takes for any number (the difference of two packet pointers is one to it). Sums that start
 * from it look alike after any number of steps and on all paths, so that the verifier merges what it would else walk
 * apart.
 */
static __always_inline u64 opaque_zero(const u8 *p)
{
	const u8 *same = p;
	u64 zero;

	opaque(same); /* or clang folds the difference, */
	zero = same - p;
	opaque(zero); /* or adds the pointer to something else first */
	return zero;
}

/*
 * Leaves the verifier knowing of x only that it is between 0 and the mask, a power of two less one that x does not
 * exceed anyway. In assembly, or clang would see that and drop it. `p` is any packet pointer. Natively it traps if x
 * does exceed the mask.
 */
#ifndef XDPDNS_NATIVE
#define blur(x, p, mask)                                                                                               \
	({                                                                                                             \
		(x) += opaque_zero(p);                                                                                 \
		asm volatile("%0 &= " #mask : "+r"(x));                                                                \
	})
#else
#define blur(x, p, mask) ((x) > (mask) ? __builtin_trap() : (void)(p))
#endif

#endif
