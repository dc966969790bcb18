/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Frames from standard input: a length of 32 bits in host byte order before each. */
#ifndef XDPDNS_FRAMES_H
#define XDPDNS_FRAMES_H

#include "native.h"

struct frame {
	u8 *data; /* an allocation of exactly its size */
	u32 len;
};

static inline bool next_frame(struct frame *frame)
{
	if (fread(&frame->len, sizeof(frame->len), 1, stdin) != 1)
		return false;
	frame->data = malloc(frame->len);
	must(frame->data);
	must(fread(frame->data, 1, frame->len, stdin) == frame->len);
	return true;
}

#endif
