/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files by what the kernel has opened, not by what the process says: inode and device from its table of files,
 * and the path from the kernel's own tree of names, sent once for each name (AG_PATH). */
#pragma once
#include "emit.h"

#define AG_DEPTH 48
#define AG_NAMES 4096 /* bytes of a path */

struct scratch {
	__u32 length;
	__u32 spare;
	char text[AG_NAMES + AG_DATA];
};

struct name_key {
	__u64 dentry, parent, hash_len, ino, mount;
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
	__u32 flags; /* of the open file */
	__u64 name;  /* the hash of its name, and the folder that has it */
	__u64 folder;
	__u16 mode;
};

/* Whether this kernel has bpf_rdonly_cast; the loader says so before it loads. */
const volatile __u32 ag_has_cast SEC(".rodata.cast") = 1;

static __always_inline void put_file(struct ag_record *record, struct identity *who)
{
	record->head.flags |= AG_FD;
	record->ino = who->ino;
	record->dev = who->dev;
	record->mode = who->mode;
	if (who->nlink == 0)
		record->head.flags |= AG_UNLINKED;
}

static __always_inline void identify(struct inode *inode, struct identity *who)
{
	who->ino = inode->i_ino;
	who->dev = inode->i_sb->s_dev;
	who->mode = inode->i_mode;
	who->nlink = inode->i_nlink;
}

/* The same of an address that is but a number to the verifier. */
static __always_inline void identify_slowly(struct inode *inode, struct identity *who)
{
	who->ino = BPF_CORE_READ(inode, i_ino);
	who->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	who->mode = BPF_CORE_READ(inode, i_mode);
	who->nlink = BPF_CORE_READ(inode, i_nlink);
}

static __always_inline struct file **slot_of(struct task_struct *task, int fd)
{
	struct fdtable *table = task->files->fdt;

	if (fd < 0 || (__u32)fd >= table->max_fds)
		return NULL;
	return table->fd + fd;
}

/* The file behind a descriptor as a number, for BPF_CORE_READ. */
static __always_inline struct file *file_of(int fd)
{
	struct file **slot = slot_of(bpf_get_current_task_btf(), fd);
	struct file *file = NULL;

	if (slot)
		bpf_probe_read_kernel(&file, sizeof(file), slot);
	return file;
}

/* The same as a pointer that can be followed; NULL where there is none. */
static __always_inline struct file *cast_file(struct file **slot)
{
	struct kiocb *entry = bpf_rdonly_cast((void *)slot - bpf_core_field_offset(struct kiocb, ki_filp),
					      bpf_core_type_id_kernel(struct kiocb));
	return entry->ki_filp;
}

static __always_inline bool is_named(struct dentry *dentry, struct vfsmount *mount, struct identity *who)
{
	struct name_key key = {};

	key.dentry = (__u64)dentry;
	key.parent = (__u64)dentry->d_parent;
	key.hash_len = dentry->d_name.hash_len;
	key.ino = who->ino;
	key.mount = (__u64)mount;
	return bpf_map_lookup_elem(&named, &key) != NULL;
}

static __always_inline bool has_name(struct identity *who)
{
	__u16 type = who->mode & 0170000;

	/* Pipes and sockets have none. */
	return type != 0010000 && type != 0140000;
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

/* Sends one piece of what `climb` has written. A function of its own, as the verifier would follow each turn of a
 * loop with it inside. */
AG_GLOBAL int send_piece(__u64 cgroup, struct identity *who, __u32 part, __u32 length)
{
	__u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (!scratch || !who || part >= AG_NAMES / AG_DATA)
		return 0;
	struct ag_record *record = reserve(cgroup, AG_PATH);
	if (!record)
		return 0;
	__u32 left = length - part * AG_DATA;
	record->head.part = part;
	record->head.parts = length ? (length + AG_DATA - 1) / AG_DATA : 1;
	record->head.flags = AG_FD;
	record->ino = who->ino;
	record->dev = who->dev;
	record->mode = who->mode;
	record->len = left < AG_DATA ? left : AG_DATA;
	bpf_probe_read_kernel(record->data, AG_DATA, &scratch->text[(part * AG_DATA) & (AG_NAMES - 1)]);
	bpf_ringbuf_submit(record, 0);
	return 1;
}

/* Sends the path of a file unless it was sent before. */
AG_GLOBAL int send_path(__u64 cgroup, __u64 where)
{
	struct path *path = (void *)where;
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	struct name_key key = {};
	struct identity who = {};
	__u8 one = 1;

	identify_slowly(BPF_CORE_READ(dentry, d_inode), &who);
	key.dentry = (__u64)dentry;
	key.parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	key.hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	key.ino = who.ino;
	key.mount = (__u64)BPF_CORE_READ(path, mnt);
	if (bpf_map_lookup_elem(&named, &key))
		return 0;
	int length = climb((__u64)dentry, (__u64)BPF_CORE_READ(path, mnt));
	if (length < 0 || length > AG_NAMES)
		return 0;
	for (__u32 part = 0; part < AG_NAMES / AG_DATA; part++) {
		if (part && part * AG_DATA >= (__u32)length)
			break;
		if (!send_piece(cgroup, &who, part, length))
			return 0;
	}
	bpf_map_update_elem(&named, &key, &one, BPF_ANY);
	return 0;
}

/* Sends the path of the file behind a descriptor; a global function takes no pointer of the kernel's. */
AG_GLOBAL int send_path_of(__u64 cgroup, int fd)
{
	struct file *file = file_of(fd);

	if (file)
		send_path(cgroup, (__u64)file + bpf_core_field_offset(struct file, f_path));
	return 0;
}

AG_GLOBAL int send_path_of_folder(__u64 cgroup)
{
	struct fs_struct *fs = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), fs);

	return send_path(cgroup, (__u64)fs + bpf_core_field_offset(struct fs_struct, pwd));
}

/* Identifies an open file; false where nothing is open. */
static __always_inline bool find_file(struct task_struct *task, int fd, struct identity *who)
{
	if (ag_has_cast) {
		struct file **slot = slot_of(task, fd);
		struct file *file = slot ? cast_file(slot) : NULL;

		if (!file)
			return false;
		struct dentry *dentry = file->f_path.dentry;
		identify(file->f_inode, who);
		who->flags = file->f_flags;
		who->name = dentry->d_name.hash_len;
		who->folder = (__u64)dentry->d_parent;
		return true;
	}
	struct file *file = file_of(fd);

	if (!file)
		return false;
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	identify_slowly(BPF_CORE_READ(file, f_inode), who);
	who->flags = BPF_CORE_READ(file, f_flags);
	who->name = BPF_CORE_READ(dentry, d_name.hash_len);
	who->folder = (__u64)BPF_CORE_READ(dentry, d_parent);
	return true;
}

/* Identifies an open file, and sends its path if it is one that has a path; false where nothing is open. */
static __always_inline bool name_file(struct task_struct *task, __u64 cgroup, int fd, struct identity *who)
{
	bool known = false;

	if (ag_has_cast) {
		struct file **slot = slot_of(task, fd);
		struct file *file = slot ? cast_file(slot) : NULL;

		if (!file)
			return false;
		identify(file->f_inode, who);
		known = !has_name(who) || is_named(file->f_path.dentry, file->f_path.mnt, who);
	} else {
		struct file *file = file_of(fd);

		if (!file)
			return false;
		identify_slowly(BPF_CORE_READ(file, f_inode), who);
		known = !has_name(who);
	}
	if (!known)
		send_path_of(cgroup, fd);
	return true;
}

/* Returns the folder that a relative path starts from, and sends its path. */
static __always_inline void name_folder(__u64 cgroup, int dirfd, struct identity *who)
{
	if (dirfd != -100) { /* AT_FDCWD */
		name_file(bpf_get_current_task_btf(), cgroup, dirfd, who);
		return;
	}
	struct fs_struct *fs = bpf_get_current_task_btf()->fs;
	struct dentry *dentry = fs->pwd.dentry;

	identify(dentry->d_inode, who);
	if (!is_named(dentry, fs->pwd.mnt, who))
		send_path_of_folder(cgroup);
}
