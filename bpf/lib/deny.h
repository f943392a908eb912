/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps that the network objects share, and telling what was denied. */
#pragma once
#include "sock.h"
#include "egress.h"

#define REPEAT_NS 1000000000ull

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ag_net_config);
} net_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} net_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AG_NET_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} net_counts SEC(".maps");

/* When a denial was last told: a flood of the same one is told once a second. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ag_end);
	__type(value, __u64);
} net_told SEC(".maps");

static __always_inline struct ag_net_config *net_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&net_config, &zero);
}

static __always_inline void net_count(__u32 which)
{
	__u64 *count = bpf_map_lookup_elem(&net_counts, &which);

	if (count)
		*count += 1;
}

struct denial {
	__u32 verdict;
	__u16 kind, family, type, protocol, port;
	__u32 address[4];
};

static __always_inline bool was_told(const struct denial *what)
{
	struct ag_end key = {.port = what->port | (__u32)what->kind << 16 | (__u32)what->protocol << 24};
	__u64 now = bpf_ktime_get_boot_ns();

	__builtin_memcpy(key.address, what->address, sizeof(key.address));
	__u64 *last = bpf_map_lookup_elem(&net_told, &key);
	if (last && now - *last < REPEAT_NS)
		return true;
	bpf_map_update_elem(&net_told, &key, &now, BPF_ANY);
	return false;
}

static __always_inline struct ag_net_record *net_reserve(const struct denial *what, bool enforced)
{
	struct ag_net_record *record = bpf_ringbuf_reserve(&net_ring, sizeof(*record), 0);

	if (!record) {
		net_count(AG_NET_LOST);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	__u64 ids = bpf_get_current_pid_tgid();
	record->time_ns = bpf_ktime_get_boot_ns();
	record->cgroup = bpf_get_current_cgroup_id();
	record->pid = ids >> 32;
	record->tid = ids;
	record->uid = bpf_get_current_uid_gid();
	record->verdict = what->verdict;
	record->kind = what->kind;
	record->family = what->family;
	record->type = what->type;
	record->protocol = what->protocol;
	record->port = what->port;
	record->enforced = enforced;
	__builtin_memcpy(record->address, what->address, sizeof(record->address));
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	return record;
}

/* Tells of it and returns what the program returns: 0 denies. */
static __always_inline int deny(struct ag_net_config *config, const struct denial *what)
{
	bool enforced = !config || config->flags & AG_ENFORCE;

	net_count(AG_NET_DENIED);
	if (!was_told(what)) {
		struct ag_net_record *record = net_reserve(what, enforced);
		if (record)
			bpf_ringbuf_submit(record, 0);
	}
	return !enforced;
}
