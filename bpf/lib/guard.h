/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whether the current task is guarded. By ancestor, since a process may make cgroups below its own. */
#pragma once
#include "maps.h"

#define AG_MAX_LEVEL 8

static __always_inline __u32 guarded_levels(void)
{
	__u32 zero = 0;
	struct ag_config *settings = bpf_map_lookup_elem(&config, &zero);

	return settings ? settings->levels : 0;
}

/* Returns the guard of the current task and puts the cgroup's id in `id`, or NULL. */
static __always_inline struct ag_guard *current_guard(__u64 *id)
{
	__u32 levels = guarded_levels();

	/* The usual case: all guarded cgroups are on one level. */
#pragma unroll
	for (int level = 1; level <= AG_MAX_LEVEL; level++) {
		if (!(levels & (1u << level)))
			continue;
		*id = bpf_get_current_ancestor_cgroup_id(level);
		struct ag_guard *guard = bpf_map_lookup_elem(&guarded, id);
		if (guard)
			return guard;
	}
	return NULL;
}
