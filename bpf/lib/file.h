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

/* Opens that say nothing new: the same name of the same file, opened in the same way, in the same cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AG_MARKS);
	__type(key, __u32);
	__type(value, struct marks);
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

/* Puts the path into the record of the open itself, where it fits; it is sent before otherwise. Returns the length of
 * what is in the scratch, or 0. */
static __always_inline __u32 name_open(__u64 cgroup, struct identity *who, struct place *place, __u64 hash)
{
	if (!has_name(who) || is_marked(&named, hash))
		return 0;
	int length = climb(place->dentry, place->mount);
	if (length <= 0 || length > AG_NAMES)
		return 0;
	/* A file with several names needs the room for the one that was used. */
	if (length <= AG_DATA && has_one_name(who))
		return length;
	if (send_pieces(cgroup, who, length))
		put_mark(&named, hash);
	return 0;
}

static __always_inline void put_name(struct ag_record *record, __u32 length)
{
	struct scratch *scratch = own_scratch();

	if (!scratch)
		return;
	bpf_probe_read_kernel(record->data, AG_DATA, &scratch->text[(AG_NAMES - length) & (AG_NAMES - 1)]);
	record->len = length;
	record->head.flags |= AG_NAMED;
}

static __always_inline int open_new(struct task_struct *task, struct seen *seen, bool each)
{
	struct identity who = {};
	struct place place = {};

	if (!find_file(task, seen->ret, &who, &place))
		return -1;
	/* What the file was opened with, whatever the process says that it asked for. Creating and truncating are not
	 * kept there. */
	seen->a0 = (seen->a0 & 01300) | who.flags;
	__u64 name = hash_of_place(&place, who.ino);
	__u64 how = name * ag_odd[6] + seen->cgroup * ag_odd[0] + (__u64)who.dev * ag_odd[1] +
		    (seen->a0 & 01303) * ag_odd[7];
	how = (how ^ how >> 32) * ag_odd[5];
	if (!each && is_marked(&opened_before, how)) {
		count(AG_REPEATED);
		return 0;
	}
	__u32 length = name_open(seen->cgroup, &who, &place, name);
	struct ag_record *record = begin_for(task, seen);
	if (!record)
		return 0;
	put_file(record, &who);
	if (length) {
		put_name(record, length);
		put_mark(&named, name);
	}
	if (!each)
		put_mark(&opened_before, how);
	if (!has_one_name(&who)) {
		struct identity base = {};
		put_path(record, seen, &base);
	}
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* An open that failed, or of a descriptor that another thread has closed already. */
AG_GLOBAL int open_in_vain(struct seen *seen)
{
	struct identity base = {};

	if (!seen)
		return 0;
	if (seen->path && !is_absolute(seen->path))
		name_folder(seen->cgroup, seen->dir, &base);
	struct ag_record *record = begin(seen);
	if (!record)
		return 0;
	put_path(record, seen, &base);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* There was nothing to open: each program looks for files in a dozen places. */
static __always_inline bool is_absent(__s64 ret)
{
	return ret == -2 || ret == -20; /* ENOENT, ENOTDIR */
}

static __always_inline int on_open(struct task_struct *task, struct seen *seen, __u64 how, bool each)
{
	if (is_absent(seen->ret) && !each) {
		count(AG_ABSENT);
		return 0;
	}
	if (seen->nr == OPENAT2_NR)
		bpf_probe_read_user(&seen->a0, sizeof(seen->a0), (void *)how);
	else if (seen->nr == CREAT_NR)
		seen->a0 = 01101; /* O_CREAT | O_WRONLY | O_TRUNC */
	if (seen->ret >= 0 && open_new(task, seen, each) == 0)
		return 0;
	return open_in_vain(seen);
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
		count(AG_DROP_IO);
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

/* Begins a sum with its first call; 0 if it could. */
static __always_inline long new_sum(struct ag_sum_key *key, __u16 mode, __u64 bytes, bool is_write)
{
	struct ag_sum sum = {};

	sum.mode = mode;
	if (is_write) {
		sum.writes = 1;
		sum.written_bytes = bytes;
	} else {
		sum.reads = 1;
		sum.read_bytes = bytes;
	}
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
	/* What goes through a pipe stays in the run, or is counted where it leaves. */
	if ((who.mode & 0170000) == 0010000)
		return 0;
	key.ino = who.ino;
	key.dev = who.dev;
	key.start_ns = start_of(task);
	key.cgroup = seen->cgroup;
	key.pid = task->tgid;
	struct ag_sum *sum = bpf_map_lookup_elem(&sums, &key);
	if (!sum) {
		/* It may have been open before anybody looked. */
		name_file(task, seen->cgroup, seen->fd, &who);
		if (new_sum(&key, who.mode, bytes_of(seen), is_write) == 0)
			return 0;
		/* Another thread was quicker, or there is no room. */
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
