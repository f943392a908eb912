/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whether the current task is guarded. By ancestor, since a process may make cgroups below its own. */
#pragma once
#include "maps.h"

#define AG_MAX_LEVEL 8

struct guarded_by {
	__u64 id;
	__u32 flags;
};

static __always_inline struct ag_config *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* The verifier looks at a global function once, and at another one at each call. */
#define AG_GLOBAL __attribute__((noinline))

AG_GLOBAL int search_guard(struct guarded_by *by, __u32 levels)
{
	if (!by)
		return 0;
	for (int level = 1; level <= AG_MAX_LEVEL; level++) {
		if (!(levels & (1u << level)))
			continue;
		by->id = bpf_get_current_ancestor_cgroup_id(level);
		struct ag_guard *guard = bpf_map_lookup_elem(&guarded, &by->id);
		if (guard) {
			by->flags = guard->flags;
			return 1;
		}
	}
	return 0;
}

/* Tells whether the current task is guarded, and by which cgroup. Each process of the machine pays for this at each
 * system call, so it is one helper for one guarded cgroup. */
static __always_inline bool find_guard(struct guarded_by *by)
{
	struct ag_config *known = settings();

	if (!known || !known->levels)
		return false;
	if (!known->fast)
		return search_guard(by, known->levels);
	by->id = known->ids[0];
	by->flags = known->flags[0];
	if (bpf_current_task_under_cgroup(&cgroups, 0) == 1)
		return true;
	if (known->fast == 1)
		return false;
	by->id = known->ids[1];
	by->flags = known->flags[1];
	return bpf_current_task_under_cgroup(&cgroups, 1) == 1;
}
