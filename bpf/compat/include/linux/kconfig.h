/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What BCC expects of a kernel source tree, in a few lines. BCC_KERNEL_SOURCE points at this folder, so that the
 * program compiles in a fraction of the time and on machines that have no kernel headers; BCC includes this file
 * before any other. Nothing else of a kernel tree or of libc is used: the parsers know the wire formats.
 */
#ifndef XDPDNS_COMPAT_KCONFIG_H
#define XDPDNS_COMPAT_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;
#define true 1
#define false 0
typedef unsigned long size_t;
typedef unsigned long uintptr_t;

typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s8 __s8;
typedef s16 __s16;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;
typedef u16 __le16;
typedef u32 __le32;
typedef u64 __le64;
typedef u32 __wsum;
typedef u16 __sum16;
typedef u64 __aligned_u64 __attribute__((aligned(8)));

#define NULL ((void *)0)

#define __always_inline inline __attribute__((always_inline))

#endif
