/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files by what the kernel has opened, not by what the process says: inode and device from its table of files,
 * and the path from the kernel's own tree of names, sent once for each name (AG_PATH). */
#pragma once
#include "emit.h"

/* The verifier looks at a global function once, and at another one at each call. */
#define AG_GLOBAL __attribute__((noinline))

#define AG_DEPTH 48
#define AG_NAMES 4096 /* bytes of a path */

struct scratch {
	__u32 length;
	__u32 spare;
	char text[AG_NAMES + AG_DATA];
};

struct name_key {
	__u64 dentry, parent, hash_len, ino;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct name_key);
	__type(value, __u8);
} named SEC(".maps");

struct identity {
	__u64 ino;
	__u32 dev;
	__u32 nlink;
	__u16 mode;
};

static __always_inline void identify(struct inode *inode, struct identity *who)
{
	who->ino = BPF_CORE_READ(inode, i_ino);
	who->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	who->mode = BPF_CORE_READ(inode, i_mode);
	who->nlink = 1;
}

static __always_inline void put_file(struct ag_record *record, struct identity *who)
{
	record->head.flags |= AG_FD;
	record->ino = who->ino;
	record->dev = who->dev;
	record->mode = who->mode;
	if (who->nlink == 0)
		record->head.flags |= AG_UNLINKED;
}

static __always_inline struct file *file_of(int fd)
{
	struct fdtable *table = bpf_get_current_task_btf()->files->fdt;
	struct file *file = NULL;

	if (fd < 0 || (__u32)fd >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd);
	return file;
}

/* Writes the names from the file up to the root into the scratch, each with its null; returns their length. The
 * state is in the map, since the verifier would otherwise follow each way through the loop anew. */
AG_GLOBAL int climb(__u64 from, __u64 vfs)
{
	struct dentry *dentry = (void *)from;
	struct mount *mount = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	__u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (!scratch)
		return -1;
	scratch->length = 0;
	for (int depth = 0; depth < AG_DEPTH; depth++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		struct dentry *root = BPF_CORE_READ(mount, mnt.mnt_root);
		__u32 length = scratch->length;

		if (length >= AG_NAMES)
			return -1;
		if (dentry == root) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				return length;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		if (parent == dentry)
			return length;
		long size = bpf_probe_read_kernel_str(&scratch->text[length & (AG_NAMES - 1)], AG_DATA,
						      BPF_CORE_READ(dentry, d_name.name));
		if (size <= 0)
			return -1;
		scratch->length = length + size;
		dentry = parent;
	}
	return -1;
}

/* Sends the path of a file unless it was sent before. */
AG_GLOBAL int send_path(__u64 cgroup, __u64 where, struct identity *who)
{
	struct path *path = (void *)where;
	struct name_key key = {};
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	__u32 zero = 0;
	__u8 one = 1;

	if (!who)
		return 0;
	key.dentry = (__u64)dentry;
	key.parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	key.hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	key.ino = who->ino;
	if (bpf_map_lookup_elem(&named, &key))
		return 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);
	if (!scratch)
		return 0;
	int length = climb((__u64)dentry, (__u64)BPF_CORE_READ(path, mnt));
	if (length < 0 || length > AG_NAMES)
		return 0;
	__u32 parts = ((__u32)length + AG_DATA - 1) / AG_DATA;
	if (parts == 0)
		parts = 1;
	for (__u32 part = 0; part < AG_NAMES / AG_DATA && part < parts; part++) {
		struct ag_record *record = reserve(cgroup, AG_PATH);
		if (!record)
			return 0;
		__u32 left = (__u32)length - part * AG_DATA;
		record->head.part = part;
		record->head.parts = parts;
		record->head.flags = AG_FD;
		record->ino = who->ino;
		record->dev = who->dev;
		record->mode = who->mode;
		record->len = left < AG_DATA ? left : AG_DATA;
		bpf_probe_read_kernel(record->data, AG_DATA, &scratch->text[(part * AG_DATA) & (AG_NAMES - 1)]);
		bpf_ringbuf_submit(record, 0);
	}
	bpf_map_update_elem(&named, &key, &one, BPF_ANY);
	return 0;
}

/* Returns the folder that a relative path starts from, and sends its path. */
AG_GLOBAL int base_of(__u64 cgroup, int dirfd, struct identity *who)
{
	struct path *path;

	if (!who)
		return 0;
	who->ino = 0;
	who->dev = 0;
	if (dirfd == -100) { /* AT_FDCWD */
		/* As a number, since a global function takes no pointer of the kernel's. */
		struct fs_struct *fs = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), fs);
		path = (void *)fs + bpf_core_field_offset(struct fs_struct, pwd);
	} else {
		struct file *file = file_of(dirfd);
		if (!file)
			return 0;
		path = (void *)file + bpf_core_field_offset(struct file, f_path);
	}
	identify(BPF_CORE_READ(path, dentry, d_inode), who);
	return send_path(cgroup, (__u64)path, who);
}

/* Identifies an open file, and sends its path if it is one that has a path. */
AG_GLOBAL int name_file(__u64 cgroup, __u64 opened, struct identity *who)
{
	struct file *file = (void *)opened;

	if (!who)
		return 0;
	identify(BPF_CORE_READ(file, f_inode), who);
	who->nlink = BPF_CORE_READ(file, f_inode, i_nlink);
	__u16 type = who->mode & 0170000;
	/* Pipes and sockets have no name. */
	if (type == 0010000 || type == 0140000)
		return 0;
	struct path *path = (void *)file + bpf_core_field_offset(struct file, f_path);
	return send_path(cgroup, (__u64)path, who);
}
