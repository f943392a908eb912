/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files: opens and changes as events, reads and writes as sums for each process and file. */
#pragma once
#include "calls.h"
#include "names.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring_io SEC(".maps");

/* A table of our own: a place in a hash of the kernel's costs three times as much to find and five times as much to
 * take. User space has it mapped, reads it as it is, and frees what it has read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct ag_sum);
} sums SEC(".maps");

/* The number of places, a power of two, less one; the loader says it. */
const volatile __u32 ag_sums_mask SEC(".rodata.sums") = 65535;

#define AG_PROBES 8 /* so many places are looked at, and then there is no room */

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

/* Returns the number of the folder that a file stands in; 0 where that cannot be. */
static __always_inline __u64 folder_of(struct place *place)
{
	/* What is mounted has its name elsewhere, and some files stand nowhere. */
	if (!ag_has_cast || place->dentry == place->parent || place->is_root)
		return 0;
	return number_of_folder(place->parent, place->mount);
}

/* The path as a whole, in the record of the open itself where it fits, or sent before. Returns the length of what is in
 * the scratch, or 0. */
static __always_inline __u32 name_whole(__u64 cgroup, struct identity *who, struct place *place)
{
	int length = climb(place->dentry, place->mount);

	if (length > 0 && length <= AG_DATA)
		return length;
	/* The root has no name, and is told so; what else has none stands nowhere. */
	if (length > AG_DATA || (length == 0 && place->is_root))
		send_pieces(cgroup, who, length);
	return 0;
}

static __always_inline void put_whole_name(struct ag_record *record, __u32 length, __u64 folder)
{
	struct scratch *scratch = own_scratch();

	if (!scratch)
		return;
	bpf_probe_read_kernel(record->data, AG_DATA, &scratch->text[(AG_NAMES - length) & (AG_NAMES - 1)]);
	record->len = length;
	record->base_ino = folder;
	record->head.flags |= AG_NAMED;
}

/* Only its own lines of the record are touched: most of what a record costs is that it is in no cache. */
static __always_inline void put_name_in(struct ag_record *record, struct place *place, __u64 folder)
{
	__u32 size = place->hash_len >> 32;

	__builtin_memset(record->data, 0, AG_SHORT);
	record->base_ino = folder;
	record->len = size;
	record->head.flags |= AG_IN_FOLDER;
	barrier_var(size); /* or the compiler drops the bound as known */
	if (bpf_probe_read_kernel(record->data, size & (AG_DATA - 1), (void *)place->name))
		record->head.flags |= AG_BLIND;
}

static __always_inline int open_new(struct task_struct *task, struct seen *seen, bool each)
{
	struct identity who = {};
	struct place place = {};
	__u64 folder = 0;
	__u32 length = 0;

	if (!find_file(task, seen->ret, &who, &place))
		return -1;
	/* What the file was opened with, whatever the process says that it asked for. Creating and truncating are not
	 * kept there. */
	seen->a0 = (seen->a0 & 01300) | who.flags;
	__u64 name = hash_of_place(&place, who.ino);
	__u64 how = name * ag_odd[6] + seen->cgroup * ag_odd[0] + (__u64)who.dev * ag_odd[1] +
		    (seen->a0 & 01303) * ag_odd[7];
	how = (how ^ how >> 32) * ag_odd[5];
	struct marks *marks = marks_of(&told, AG_MARKS_BITS, name);
	struct marks *of_folder = NULL;
	if (!marks)
		return -1;
	if (!each && has_mark(marks, how)) {
		count(AG_REPEATED);
		return 0;
	}
	bool has_folder = false;
	/* Where each open is told, a file with one name goes by what was told of it. */
	if (has_name(&who) && (!each || who.nlink > 1 || !has_mark(marks, name))) {
		folder = folder_of(&place);
		of_folder = folder ? marks_of(&folders, AG_FOLDERS_BITS, folder) : NULL;
		has_folder = of_folder && has_mark(of_folder, folder);
		if (!has_folder)
			length = name_whole(seen->cgroup, &who, &place);
	}
	struct ag_record *record = begin_for(task, seen);
	if (!record)
		return 0;
	put_file(record, &who);
	if (has_folder)
		put_name_in(record, &place, folder);
	else if (length)
		put_whole_name(record, length, folder);
	submit(record);
	if (of_folder && length)
		put_mark(of_folder, folder);
	if (!has_mark(marks, name))
		put_mark(marks, name);
	if (!each)
		put_mark(marks, how);
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
	submit(record);
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
	submit(record);
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
	submit(record);
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
	bpf_ringbuf_submit(head, waking(false));
	return 0;
}

static __always_inline bool is_sum_of(struct ag_sum *sum, struct ag_sum *key)
{
	return sum->ino == key->ino && sum->start_ns == key->start_ns && sum->who == key->who && sum->dev == key->dev &&
	       sum->cgroup == key->cgroup;
}

/* Returns the place of a process and file. One that nobody has is taken: that it is taken stands there before what for,
 * so two at once may take two places for the same, of which whoever reads makes one. */
static __always_inline struct ag_sum *place_of(struct ag_sum *key, bool *is_new)
{
	__u64 hash = key->start_ns * ag_odd[0] + key->ino * ag_odd[1] + key->cgroup * ag_odd[2] +
		     ((__u64)key->dev << 32 | key->who) * ag_odd[3];
	__u32 first = (hash ^ hash >> 29) * ag_odd[4] >> 32;

	for (__u32 probe = 0; probe < AG_PROBES; probe++) {
		__u32 index = (first + probe) & ag_sums_mask;
		struct ag_sum *sum = bpf_map_lookup_elem(&sums, &index);

		if (!sum)
			return NULL;
		if (is_sum_of(sum, key))
			return sum;
		if (sum->start_ns == 0 && __sync_val_compare_and_swap(&sum->start_ns, 0, key->start_ns) == 0) {
			sum->ino = key->ino;
			sum->dev = key->dev;
			sum->who = key->who;
			sum->cgroup = key->cgroup;
			*is_new = true;
			return sum;
		}
	}
	return NULL;
}

static __always_inline int count_io(struct task_struct *task, struct seen *seen, __u32 each, bool is_write)
{
	struct ag_sum key;
	struct identity who = {};
	bool is_new = false;

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
	key.who = task->tgid | (__u32)who.mode >> 12 << AG_PID_BITS;
	struct ag_sum *sum = place_of(&key, &is_new);
	/* It may have been open before anybody looked. */
	if (is_new || !sum)
		name_file(task, seen->cgroup, seen->fd, &who);
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
