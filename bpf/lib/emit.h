/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Records: reserving, filling in and counting those for which there is no room. */
#pragma once
#include "guard.h"

#define AG_LOOK_EVERY 64 /* records of files between two looks at how full the ring is */

static __u32 file_records;
static bool is_crowded;

static __always_inline void count(__u32 kind)
{
	__u64 *found = bpf_map_lookup_elem(&drops, &kind);

	if (found)
		*found += 1;
}

static __always_inline __u64 start_of(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	/* Renamed in 5.5. */
	if (bpf_core_field_exists(leader->start_boottime))
		return leader->start_boottime;
	return leader->real_start_time;
}

static __always_inline void fill_head(struct ag_head *head, struct task_struct *task, __u64 cgroup, __u16 kind)
{
	head->time_ns = bpf_ktime_get_boot_ns();
	head->cgroup = cgroup;
	head->start_ns = start_of(task);
	head->pid = task->tgid;
	head->tid = task->pid;
	head->kind = kind;
	head->flags = 0;
	head->nr = 0;
	head->part = 0;
	head->parts = 1;
	head->ret = 0;
	head->a0 = 0;
	head->a1 = 0;
}

/* A flood of opens leaves room for what it would hide. That the count is not exact between processors does no harm:
 * what is left is room for some ten thousand records. */
static __always_inline bool has_room_for_file(void)
{
	if (file_records++ % AG_LOOK_EVERY == 0) {
		struct ag_config *known = settings();

		is_crowded = known && bpf_ringbuf_query(&ring_sec, BPF_RB_AVAIL_DATA) >= known->file_limit;
	}
	return !is_crowded;
}

/* Returns a record with its head and its process filled in, or NULL, which is counted. A helper costs some 20 ns where
 * each return is guarded against speculation, so whoever has the task already passes it on. */
static __always_inline struct ag_record *reserve_for(struct task_struct *task, __u64 cgroup, __u16 kind)
{
	bool is_file = kind <= AG_SENDFILE;
	struct ag_record *record = NULL;

	if (!is_file || has_room_for_file())
		record = bpf_ringbuf_reserve(&ring_sec, sizeof(*record), 0);
	if (!record) {
		count(is_file ? AG_DROP_FILE : AG_DROP_VITAL);
		return NULL;
	}
	fill_head(&record->head, task, cgroup, kind);
	record->ino = 0;
	record->base_ino = 0;
	record->dev = 0;
	record->base_dev = 0;
	record->ppid = task->real_parent->tgid;
	record->uid = task->cred->uid.val;
	record->mode = 0;
	record->len = 0;
	record->family = 0;
	/* Which program it is, the start of the program has told. */
	if (is_file)
		record->comm[0] = 0;
	else
		bpf_get_current_comm(record->comm, sizeof(record->comm));
	return record;
}

static __always_inline struct ag_record *reserve(__u64 cgroup, __u16 kind)
{
	return reserve_for(bpf_get_current_task_btf(), cgroup, kind);
}

/* To wake the reader costs as much as to look: while it looks by itself, it is woken for what is vital only, and then
 * though there is something before it that it has not read. */
static __always_inline __u64 waking(bool is_vital)
{
	__u32 zero = 0;
	volatile __u64 *looks = bpf_map_lookup_elem(&reader_looks, &zero);

	if (!looks || !*looks)
		return 0;
	return is_vital ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void submit(struct ag_record *record)
{
	bpf_ringbuf_submit(record, waking(record->head.kind > AG_SENDFILE));
}

/* Notes how much of a text was read into `data`: `size` is what bpf_probe_read_*_str returned. */
static __always_inline void note_text(struct ag_record *record, long size, __u16 flags)
{
	record->head.flags |= flags;
	if (size <= 0) {
		record->head.flags |= AG_BLIND;
		return;
	}
	record->len = size - 1;
	/* A text that just fits cannot be told from one that was cut, so it counts as cut. */
	if (size >= AG_DATA)
		record->head.flags |= AG_TRUNCATED;
}
