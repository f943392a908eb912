/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files: opens and changes as events, reads and writes as sums for each process and file. */
#pragma once
#include "calls.h"
#include "names.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring_io SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ag_sum_key);
	__type(value, struct ag_sum);
} sums SEC(".maps");

/* An open that says nothing new: the same name of the same file, opened in the same way, in the same cgroup. */
struct open_key {
	__u64 cgroup, ino, name, folder;
	__u32 dev, mode;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct open_key);
	__type(value, __u64);
} opened_before SEC(".maps");

/* One system call, its arguments picked. */
struct seen {
	__u64 cgroup;
	__u64 a0, a1;
	__u64 path;
	__s64 ret;
	int dir;
	int fd;
	__u16 nr;
	__u16 kind;
};

/* What a call moved; one that returns a number of messages does not say how long they are. */
static __always_inline __u64 bytes_of(struct seen *seen)
{
	return seen->nr == RECVMMSG_NR || seen->nr == SENDMMSG_NR ? 0 : seen->ret;
}

static __always_inline struct ag_record *begin_for(struct task_struct *task, struct seen *seen)
{
	struct ag_record *record = reserve_for(task, seen->cgroup, seen->kind);

	if (record) {
		record->head.nr = seen->nr;
		record->head.ret = seen->ret;
		record->head.a0 = seen->a0;
		record->head.a1 = seen->a1;
	}
	return record;
}

static __always_inline struct ag_record *begin(struct seen *seen)
{
	return begin_for(bpf_get_current_task_btf(), seen);
}

/* Reads the path that the process named; a relative one with the folder that it starts from. */
static __always_inline void put_path(struct ag_record *record, struct seen *seen, struct identity *base)
{
	long size = bpf_probe_read_user_str(record->data, AG_DATA, (void *)seen->path);

	note_text(record, size, AG_CLAIMED);
	if (base->ino) {
		record->head.flags |= AG_BASED;
		record->base_ino = base->ino;
		record->base_dev = base->dev;
	}
}

static __always_inline bool is_absolute(__u64 path)
{
	char first = 0;

	bpf_probe_read_user(&first, 1, (void *)path);
	return first == '/';
}

/* Whether the inode alone says which path it was: a file with several names needs the one that was used. */
static __always_inline bool has_one_name(struct identity *who)
{
	return who->nlink <= 1 || (who->mode & 0170000) == 0040000;
}

static __always_inline int on_open(struct task_struct *task, struct seen *seen, __u64 how, bool each)
{
	struct identity who = {}, base = {};
	struct open_key key = {};
	__u64 one = 1;
	bool opened = false;

	if (seen->nr == OPENAT2_NR)
		bpf_probe_read_user(&seen->a0, sizeof(seen->a0), (void *)how);
	else if (seen->nr == CREAT_NR)
		seen->a0 = 01101; /* O_CREAT | O_WRONLY | O_TRUNC */
	if (seen->ret >= 0)
		opened = find_file(task, seen->ret, &who);
	if (opened) {
		/* What the file was opened with, whatever the process says that it asked for. Creating and truncating
		 * are not kept there. */
		seen->a0 = (seen->a0 & 01300) | who.flags;
		key.cgroup = seen->cgroup;
		key.ino = who.ino;
		key.name = who.name;
		key.folder = who.folder;
		key.dev = who.dev;
		key.mode = seen->a0 & 01303;
		__u64 *count = each ? NULL : bpf_map_lookup_elem(&opened_before, &key);
		if (count) {
			__sync_fetch_and_add(count, 1);
			return 0;
		}
		name_file(task, seen->cgroup, seen->ret, &who);
	} else if (seen->path && !is_absolute(seen->path))
		name_folder(seen->cgroup, seen->dir, &base);
	struct ag_record *record = begin_for(task, seen);
	if (!record)
		return 0;
	if (opened) {
		put_file(record, &who);
		if (!each)
			bpf_map_update_elem(&opened_before, &key, &one, BPF_ANY);
	}
	if (!opened || !has_one_name(&who))
		put_path(record, seen, &base);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* A change of the file behind a descriptor. */
AG_GLOBAL int on_descriptor(struct seen *seen)
{
	struct identity who = {};

	if (!seen)
		return 0;
	bool opened = name_file(bpf_get_current_task_btf(), seen->cgroup, seen->fd, &who);
	struct ag_record *record = begin(seen);
	if (!record)
		return 0;
	if (opened)
		put_file(record, &who);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* A call that names a path, or nothing. */
AG_GLOBAL int on_path(struct seen *seen, __u8 part, __u8 parts)
{
	struct identity base = {};

	if (!seen)
		return 0;
	if (seen->path && !is_absolute(seen->path))
		name_folder(seen->cgroup, seen->dir, &base);
	struct ag_record *record = begin(seen);
	if (!record)
		return 0;
	record->head.part = part;
	record->head.parts = parts;
	if (seen->path)
		put_path(record, seen, &base);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

static __always_inline int send_io(struct task_struct *task, struct seen *seen, struct identity *who)
{
	struct ag_head *head = bpf_ringbuf_reserve(&ring_io, sizeof(*head), 0);

	if (!head) {
		count_drop(AG_DROP_IO);
		return 0;
	}
	fill_head(head, task, seen->cgroup, seen->kind);
	head->nr = seen->nr;
	head->ret = bytes_of(seen);
	head->a0 = who->ino;
	head->a1 = who->dev;
	bpf_ringbuf_submit(head, 0);
	return 0;
}

AG_GLOBAL int new_sum(struct ag_sum_key *key, int fd)
{
	struct identity who = {};
	struct ag_sum sum = {};

	if (!key)
		return 0;
	name_file(bpf_get_current_task_btf(), key->cgroup, fd, &who);
	sum.first_ns = bpf_ktime_get_boot_ns();
	sum.mode = who.mode;
	return bpf_map_update_elem(&sums, key, &sum, BPF_NOEXIST);
}

static __always_inline int count_io(struct task_struct *task, struct seen *seen, __u32 each, bool is_write)
{
	struct ag_sum_key key = {};
	struct identity who = {};

	if (seen->ret < 0)
		return 0;
	if (ag_has_cast) {
		struct file **slot = slot_of(task, seen->fd);
		struct file *file = slot ? cast_file(slot) : NULL;

		if (!file)
			return 0;
		identify(file->f_inode, &who);
	} else {
		struct file *file = file_of(seen->fd);

		if (!file)
			return 0;
		identify_slowly(BPF_CORE_READ(file, f_inode), &who);
	}
	if (each)
		return send_io(task, seen, &who);
	key.ino = who.ino;
	key.dev = who.dev;
	key.start_ns = start_of(task);
	key.cgroup = seen->cgroup;
	key.pid = task->tgid;
	struct ag_sum *sum = bpf_map_lookup_elem(&sums, &key);
	if (!sum) {
		new_sum(&key, seen->fd);
		sum = bpf_map_lookup_elem(&sums, &key);
	}
	/* With no room for another sum the call is told by itself. */
	if (!sum)
		return send_io(task, seen, &who);
	if (is_write) {
		__sync_fetch_and_add(&sum->writes, 1);
		__sync_fetch_and_add(&sum->written_bytes, bytes_of(seen));
	} else {
		__sync_fetch_and_add(&sum->reads, 1);
		__sync_fetch_and_add(&sum->read_bytes, bytes_of(seen));
	}
	return 0;
}

/* The rarer calls share one copy of it. */
AG_GLOBAL int count_rarely(struct seen *seen, __u32 each, __u32 is_write)
{
	return seen ? count_io(bpf_get_current_task_btf(), seen, each, is_write) : 0;
}

/* sendfile, splice and copy_file_range read from one file and write to another. */
static __always_inline int count_transfer(struct seen *seen, __u32 each)
{
	seen->kind = AG_WRITE;
	count_rarely(seen, each, true);
	seen->kind = AG_READ;
	seen->fd = seen->a0;
	return count_rarely(seen, each, false);
}
