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
	struct ag_configs *both = bpf_map_lookup_elem(&config, &zero);

	return both ? &both->each[both->which & 1] : NULL;
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

/* Whether this kernel has bpf_rdonly_cast; the loader says so before it loads. */
const volatile __u32 ag_has_cast SEC(".rodata.cast") = 1;

/* The cgroup that is `level` below the root and above this one, or is it. What stands there is a pointer in an array
 * without an end, which the verifier does not follow; the first member of interest of a css_set is such a pointer. The
 * distance must be a constant to it, and the compiler must not make one calculation of all. */
static __always_inline struct cgroup *ancestor_at(struct cgroup *cgroup, __u32 level)
{
	void *slot = NULL;

#pragma unroll
	for (__u32 each = 1; each <= AG_MAX_LEVEL; each++) {
		if (level == each) {
			slot = (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) + each * sizeof(cgroup) -
			       bpf_core_field_offset(struct css_set, dfl_cgrp);
			struct css_set *entry = bpf_rdonly_cast(slot, bpf_core_type_id_kernel(struct css_set));
			return entry->dfl_cgrp;
		}
	}
	return NULL;
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
	if (bpf_current_task_under_cgroup(&cgroups, known->slot) == 1)
		return true;
	if (known->fast == 1)
		return false;
	by->id = known->ids[1];
	by->flags = known->flags[1];
	return bpf_current_task_under_cgroup(&cgroups, known->slot + 1) == 1;
}

/* The same for who has the task already: without a helper, which costs some 20 ns where each return is guarded against
 * speculation. */
static __always_inline bool find_guard_of(struct task_struct *task, struct guarded_by *by)
{
	struct ag_config *known = settings();

	if (!known || !known->levels)
		return false;
	if (!ag_has_cast || !bpf_core_field_exists(struct cgroup, ancestors) || !known->fast || !known->level)
		return find_guard(by);
	struct cgroup *cgroup = task->cgroups->dfl_cgrp;
	if (cgroup->level < (int)known->level)
		return false;
	struct cgroup *above = ancestor_at(cgroup, known->level);
	if (!above)
		return false;
	__u64 id = above->kn->id;
	__u32 which = id == known->ids[0] ? 0 : 1;
	if (which && (known->fast < 2 || id != known->ids[1]))
		return false;
	by->id = id;
	by->flags = known->flags[which];
	return true;
}
