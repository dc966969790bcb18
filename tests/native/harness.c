/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames in, observations out. With an argument, `over` or `under`, it instead reads one byte beyond that end of the
 * first frame, as a parser with a fault would: the sanitizer must end the process.
 */
#include "frames.h"
#include "observe.h"

int main(int argc, char **argv)
{
	struct frame frame;

	while (next_frame(&frame)) {
		struct observation o;

		if (argc > 1) {
			const volatile u8 *data = frame.data;

			return strcmp(argv[1], "over") == 0 ? data[frame.len] : data[-1];
		}
		o = observe(frame.data, frame.len);
		must(fwrite(&o, sizeof(o), 1, stdout) == 1);
		free(frame.data);
	}
	return 0;
}
