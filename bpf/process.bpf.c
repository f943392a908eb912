// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Processes: programs with their arguments, forks, exits with their code, moves between cgroups. */
#include "lib/types.h"
#include "lib/names.h"
#include <bpf/bpf_tracing.h>

/* Which processes are guarded, so that one that leaves is missed even when it moves itself. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u64);
} members SEC(".maps");

/* The arguments as the kernel laid them out for the new program, before it runs: nobody can have changed them. */
AG_GLOBAL int send_argument(__u64 cgroup, __u64 from, __u64 whole, __u32 part)
{
	bool cut = whole > AG_NAMES;
	__u32 length = cut ? AG_NAMES : whole;
	__u32 done = (part - 1) * AG_DATA;

	if (part == 0 || part >= AG_MAX_PARTS || done >= length)
		return 0;
	struct ag_record *record = reserve(cgroup, AG_EXEC);
	if (!record)
		return 0;
	__u32 left = length - done;
	record->head.part = part;
	record->head.parts = 1 + (length + AG_DATA - 1) / AG_DATA;
	if (left > AG_DATA)
		left = AG_DATA;
	record->len = left;
	if (bpf_probe_read_user(record->data, left & (2 * AG_DATA - 1), (void *)(from + done)))
		record->head.flags |= AG_BLIND;
	if (cut)
		record->head.flags |= AG_TRUNCATED;
	submit(record);
	return 1;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *binprm)
{
	struct identity who = {}, base = {};
	struct mm_struct *mm = task->mm;
	struct file *file = binprm->file;
	struct guarded_by by;

	if (!find_guard(&by))
		return 0;
	__u64 cgroup = by.id;
	__u64 from = mm->arg_start;
	__u64 whole = mm->arg_end - from;
	bool cut = whole > AG_NAMES;
	__u32 length = cut ? AG_NAMES : whole;
	__u8 parts = 1 + (length + AG_DATA - 1) / AG_DATA;
	identify(file->f_inode, &who);
	if (!is_named(file->f_path.dentry, file->f_path.mnt, &who))
		send_path(cgroup, (__u64)BPF_CORE_READ(binprm, file) + bpf_core_field_offset(struct file, f_path));
	name_folder(cgroup, -100, &base);
	struct ag_record *record = reserve(cgroup, AG_EXEC);
	if (!record)
		return 0;
	put_file(record, &who);
	record->base_dev = base.dev;
	record->base_ino = base.ino;
	record->head.flags |= AG_BASED;
	record->head.a0 = whole;
	record->head.a1 = old_pid;
	record->head.parts = parts;
	if (cut)
		record->head.flags |= AG_TRUNCATED;
	note_text(record, bpf_probe_read_kernel_str(record->data, AG_DATA, binprm->filename), 0);
	submit(record);
	for (__u32 part = 1; part < AG_MAX_PARTS; part++)
		if (!send_argument(cgroup, from, whole, part))
			break;
	return 0;
}

static __always_inline bool is_below(struct cgroup *cgroup, __u64 guard_id)
{
	int level = cgroup->level;

	/* In 5.x the ids stood in place of pointers, and this says no more than the cgroup's own id does. */
	if (!bpf_core_field_exists(cgroup->ancestors))
		return BPF_CORE_READ(cgroup, kn, id) == guard_id;
	for (int above = 0; above <= AG_MAX_LEVEL && above <= level; above++) {
		struct cgroup *ancestor = NULL;
		bpf_probe_read_kernel(&ancestor, sizeof(ancestor),
				      (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
					      above * sizeof(ancestor));
		if (BPF_CORE_READ(ancestor, kn, id) == guard_id)
			return true;
	}
	return false;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct guarded_by by;

	if (child->pid != child->tgid)
		return 0;
	if (!find_guard(&by))
		return 0;
	__u64 cgroup = by.id;
	struct ag_record *record = reserve(cgroup, AG_FORK);
	if (!record)
		return 0;
	record->head.a0 = child->tgid;
	record->head.a1 = start_of(child);
	/* clone3 can put the child elsewhere. */
	if (!is_below(child->cgroups->dfl_cgrp, cgroup))
		record->head.flags |= AG_ESCAPE;
	submit(record);
	__u32 pid = child->tgid;
	bpf_map_update_elem(&members, &pid, &cgroup, BPF_ANY);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct guarded_by by;

	if (task->signal->live.counter != 0)
		return 0;
	if (!find_guard(&by))
		return 0;
	__u64 cgroup = by.id;
	__u32 pid = task->tgid;
	bpf_map_delete_elem(&members, &pid);
	struct ag_record *record = reserve(cgroup, AG_EXIT);
	if (!record)
		return 0;
	int group = task->signal->group_exit_code;
	record->head.ret = group ? group : task->exit_code;
	/* From this the loader learns on which level its cgroups are; a path does not say it in a container. */
	record->head.a0 = task->cgroups->dfl_cgrp->level;
	submit(record);
	return 0;
}

/* Returns the guarded cgroup that this one is, or is below, or 0. */
static __noinline __u64 guard_above(struct cgroup *cgroup)
{
	struct ag_config *known = settings();
	int depth = cgroup->level;

	for (int level = 1; level <= AG_MAX_LEVEL; level++) {
		struct cgroup *above = cgroup;

		if (!known || level > depth || !(known->levels & (1u << level)))
			continue;
		if (bpf_core_field_exists(cgroup->ancestors))
			bpf_probe_read_kernel(&above, sizeof(above),
					      (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
						      level * sizeof(above));
		__u64 id = BPF_CORE_READ(above, kn, id);
		if (bpf_map_lookup_elem(&guarded, &id))
			return id;
	}
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_cgroup_move, struct cgroup *to, const char *path, struct task_struct *moved)
{
	__u32 pid = moved->tgid;
	__u64 now = guard_above(to);
	__u64 *known = bpf_map_lookup_elem(&members, &pid);

	if (now) {
		bpf_map_update_elem(&members, &pid, &now, BPF_ANY);
		return 0;
	}
	if (!known)
		return 0;
	__u64 was = *known;
	bpf_map_delete_elem(&members, &pid);
	/* Its own guard may be gone by now, as that of who is let go. */
	if (!bpf_map_lookup_elem(&guarded, &was))
		return 0;
	struct ag_record *record = reserve(was, AG_CGROUP_MOVE);
	if (!record)
		return 0;
	record->head.a0 = pid;
	record->head.a1 = to->kn->id;
	record->head.flags |= AG_ESCAPE;
	note_text(record, bpf_probe_read_kernel_str(record->data, AG_DATA, path), 0);
	submit(record);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
