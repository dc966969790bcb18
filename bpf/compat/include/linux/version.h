/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* BCC asks only whether the kernel is newer than 4.8; the oldest that xdpdns runs on is 5.12. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(5, 12, 0)
