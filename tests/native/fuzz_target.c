/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* libFuzzer's entry; it hands over each input in an allocation of exactly its size. */
#include "observe.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	observe(data, len);
	return 0;
}
