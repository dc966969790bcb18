/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * BCC's BPF_TABLE, made local to the file. BCC's clang sees the variable and makes the map; LLVM, for which map
 * operations have become plain numbers by then, has no use for it and drops it. Otherwise BCC would compile, for the
 * CPU that it runs on, functions that print and scan each of a map's keys and values, member by member: a fifth of the
 * time that the whole program takes to compile.
 */
#ifndef XDPDNS_TABLES_H
#define XDPDNS_TABLES_H

/* Members by the names that BCC knows; those of its operations that are used. */
#define TABLE(kind, key_type, leaf_type, name, entries)                                                                \
	struct name##_table {                                                                                          \
		key_type key;                                                                                          \
		leaf_type leaf;                                                                                        \
		leaf_type *(*lookup)(key_type *);                                                                      \
		int (*insert)(key_type *, leaf_type *);                                                                \
		void (*call)(void *, int);                                                                             \
		u32 max_entries;                                                                                       \
	};                                                                                                             \
	__attribute__((section("maps/" kind), unused)) static struct name##_table name = {.max_entries = (entries)}

#endif
