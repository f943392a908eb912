/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps. Each object declares those that it names; the loader makes maps of one name one map. */
#pragma once
#include "record.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024 * 1024);
} ring_sec SEC(".maps");

/* A program that has begun sees one of the two whole: the loader writes the other one, lets it count, and waits until
 * nobody is left who looks at the first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ag_configs);
} config SEC(".maps");

/* Those of the first configuration, and then those of the second. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2 * AG_FAST);
	__uint(key_size, 4);
	__uint(value_size, 4);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct ag_guard);
} guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AG_DROPS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* Whether the reader looks by itself, as it does while there is much: user space has it mapped, and writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} reader_looks SEC(".maps");
