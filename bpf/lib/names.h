/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files by what the kernel has opened, not by what the process says: inode and device from its table of files,
 * and the path from the kernel's own tree of names, sent once for each name (AG_PATH). */
#pragma once
#include "emit.h"

#define AG_DEPTH 48
#define AG_NAMES 4096 /* bytes of a path */

/* Where a file stands in the kernel's tree, as numbers: the verifier lets nobody calculate with pointers, so they go
 * through a map. */
struct place {
	__u64 dentry, parent, hash_len, mount, name;
	bool is_root; /* of what is mounted */
};

struct scratch {
	struct place place;
	__u32 length;
	__u32 spare;
	char text[AG_NAMES + AG_DATA];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* What was told before, as hashes, eight in each line of the processor's cache: what is pushed out is told again. An
 * array, as the verifier looks into it without a helper, and nothing has to be made room for. That user space may map it
 * has it begin with a line. */
#define AG_MARKS_BITS 15
#define AG_MARKS (1 << AG_MARKS_BITS)
#define AG_WAYS 8
struct marks {
	__u64 way[AG_WAYS];
};

/* Of a file: that it was named, and how it was opened. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, AG_MARKS);
	__type(key, __u32);
	__type(value, struct marks);
} told SEC(".maps");

/* Of folders, by their numbers. Whoever reads knows more of them than there is room for here. */
#define AG_FOLDERS_BITS 11
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << AG_FOLDERS_BITS);
	__type(key, __u32);
	__type(value, struct marks);
} folders SEC(".maps");

/* Odd, and drawn anew at each load: nobody can choose files whose hashes collide. */
const volatile __u64 ag_odd[8] SEC(".rodata.odd") = { 1, 1, 1, 1, 1, 1, 1, 1 };

static __always_inline struct marks *marks_of(void *map, __u32 bits, __u64 hash)
{
	__u32 index = hash >> (64 - bits);

	return bpf_map_lookup_elem(map, &index);
}

static __always_inline bool has_mark(struct marks *marks, __u64 hash)
{
#pragma unroll
	for (int way = 0; way < AG_WAYS; way++)
		if (marks->way[way] == hash)
			return true;
	return false;
}

/* The oldest one goes. */
static __always_inline void put_mark(struct marks *marks, __u64 hash)
{
#pragma unroll
	for (int way = AG_WAYS - 1; way > 0; way--)
		marks->way[way] = marks->way[way - 1];
	marks->way[0] = hash;
}

static __always_inline bool is_told(__u64 hash)
{
	struct marks *marks = marks_of(&told, AG_MARKS_BITS, hash);

	return marks && has_mark(marks, hash);
}

static __always_inline void note_told(__u64 hash)
{
	struct marks *marks = marks_of(&told, AG_MARKS_BITS, hash);

	if (marks && !has_mark(marks, hash))
		put_mark(marks, hash);
}

static __always_inline struct scratch *own_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

struct identity {
	__u64 ino;
	__u32 dev;
	__u32 nlink;
	__u32 flags; /* of the open file */
	__u16 mode;
};

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

static __always_inline __u64 hash_of_place(struct place *place, __u64 ino)
{
	__u64 hash = place->dentry * ag_odd[0] + place->parent * ag_odd[1] + place->hash_len * ag_odd[2] +
		     place->mount * ag_odd[3] + ino * ag_odd[4];

	return (hash ^ hash >> 32) * ag_odd[5];
}

/* Puts where the file stands into the scratch, as numbers. */
static __always_inline struct scratch *note_place(struct dentry *dentry, struct vfsmount *mount)
{
	struct scratch *scratch = own_scratch();

	if (!scratch)
		return NULL;
	volatile struct place *place = &scratch->place;
	place->dentry = (__u64)dentry;
	place->parent = (__u64)dentry->d_parent;
	place->hash_len = dentry->d_name.hash_len;
	place->mount = (__u64)mount;
	place->name = (__u64)dentry->d_name.name;
	place->is_root = dentry == mount->mnt_root;
	return scratch;
}

/* Reads it back: what comes out of a map is a number. */
static __always_inline void read_place(struct scratch *scratch, struct place *place)
{
	volatile struct place *noted = &scratch->place;

	place->dentry = noted->dentry;
	place->parent = noted->parent;
	place->hash_len = noted->hash_len;
	place->mount = noted->mount;
	place->name = noted->name;
	place->is_root = noted->is_root;
}

static __always_inline bool is_named(struct dentry *dentry, struct vfsmount *mount, struct identity *who)
{
	struct scratch *scratch = note_place(dentry, mount);
	struct place place;

	if (!scratch)
		return false;
	read_place(scratch, &place);
	return is_told(hash_of_place(&place, who->ino));
}

static __always_inline bool has_name(struct identity *who)
{
	__u16 type = who->mode & 0170000;

	/* Pipes and sockets have none. */
	return type != 0010000 && type != 0140000;
}

/* Puts a slash and a name before what is there; false where it does not fit. */
static __always_inline bool add_name(struct scratch *scratch, const unsigned char *name, __u64 hash_len)
{
	__u32 size = hash_len >> 32;
	__u32 length = scratch->length + size + 1;

	if (!size || size >= AG_DATA || length > AG_NAMES)
		return false;
	__u32 from = (AG_NAMES - length) & (AG_NAMES - 1);
	scratch->text[from] = '/';
	scratch->length = length;
	barrier_var(size); /* or the compiler drops the bound as known */
	return !bpf_probe_read_kernel(&scratch->text[from + 1], size & (AG_DATA - 1), name);
}

/* Writes the path into the scratch, name by name from its end, and returns its length; nothing for the root. The
 * state is in the map, since the verifier would otherwise follow each way through the loop anew. */
AG_GLOBAL int climb_slowly(__u64 from, __u64 vfs)
{
	struct dentry *dentry = (void *)from;
	struct mount *mount = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	struct scratch *scratch = own_scratch();

	if (!scratch)
		return -1;
	scratch->length = 0;
	for (int depth = 0; depth < AG_DEPTH; depth++) {
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		struct dentry *root = BPF_CORE_READ(mount, mnt.mnt_root);

		if (dentry == root) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				return scratch->length;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = above;
			continue;
		}
		if (parent == dentry)
			return scratch->length;
		if (!add_name(scratch, BPF_CORE_READ(dentry, d_name.name), BPF_CORE_READ(dentry, d_name.hash_len)))
			return -1;
		dentry = parent;
	}
	return -1;
}

/* The same with one helper for each name in place of four. */
AG_GLOBAL int climb_quickly(__u64 from, __u64 vfs)
{
	struct dentry *dentry = bpf_rdonly_cast((void *)from, bpf_core_type_id_kernel(struct dentry));
	struct vfsmount *mount = bpf_rdonly_cast((void *)vfs, bpf_core_type_id_kernel(struct vfsmount));
	struct scratch *scratch = own_scratch();

	if (!scratch)
		return -1;
	scratch->length = 0;
	for (int depth = 0; depth < AG_DEPTH; depth++) {
		struct dentry *parent = dentry->d_parent;

		if (dentry == mount->mnt_root) {
			struct mount *here = bpf_rdonly_cast((void *)mount - bpf_core_field_offset(struct mount, mnt),
							     bpf_core_type_id_kernel(struct mount));
			struct mount *above = here->mnt_parent;

			if (above == here)
				return scratch->length;
			dentry = here->mnt_mountpoint;
			mount = bpf_rdonly_cast((void *)above + bpf_core_field_offset(struct mount, mnt),
						bpf_core_type_id_kernel(struct vfsmount));
			continue;
		}
		if (parent == dentry)
			return scratch->length;
		if (!add_name(scratch, dentry->d_name.name, dentry->d_name.hash_len))
			return -1;
		dentry = parent;
	}
	return -1;
}

static __always_inline int climb(__u64 from, __u64 vfs)
{
	return ag_has_cast ? climb_quickly(from, vfs) : climb_slowly(from, vfs);
}

/* Returns a number for where a folder stands, from the names and inodes of all that it stands in: a folder that is
 * renamed, or that stands in one that is, has another one. 0 where it stands nowhere, or too deep. */
AG_GLOBAL __u64 number_of_folder(__u64 from, __u64 vfs)
{
	struct dentry *dentry = bpf_rdonly_cast((void *)from, bpf_core_type_id_kernel(struct dentry));
	struct vfsmount *mount = bpf_rdonly_cast((void *)vfs, bpf_core_type_id_kernel(struct vfsmount));
	__u64 number = ag_odd[6];

	for (int depth = 0; depth < AG_DEPTH; depth++) {
		struct dentry *parent = dentry->d_parent;

		number = (number ^ dentry->d_inode->i_ino) * ag_odd[0];
		if (dentry == mount->mnt_root) {
			struct mount *here = bpf_rdonly_cast((void *)mount - bpf_core_field_offset(struct mount, mnt),
							     bpf_core_type_id_kernel(struct mount));
			struct mount *above = here->mnt_parent;

			if (above == here)
				return (number ^ number >> 32) * ag_odd[5];
			dentry = here->mnt_mountpoint;
			mount = bpf_rdonly_cast((void *)above + bpf_core_field_offset(struct mount, mnt),
						bpf_core_type_id_kernel(struct vfsmount));
			continue;
		}
		if (parent == dentry)
			return 0;
		number = (number ^ dentry->d_name.hash_len ^ number >> 29) * ag_odd[1];
		dentry = parent;
	}
	return 0;
}

/* Sends one piece of what `climb` has written. A function of its own, as the verifier would follow each turn of a
 * loop with it inside. */
AG_GLOBAL int send_piece(__u64 cgroup, struct identity *who, __u32 part, __u32 length)
{
	struct scratch *scratch = own_scratch();

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
	bpf_probe_read_kernel(record->data, AG_DATA,
			      &scratch->text[(AG_NAMES - length + part * AG_DATA) & (AG_NAMES - 1)]);
	submit(record);
	return 1;
}

AG_GLOBAL int send_pieces(__u64 cgroup, struct identity *who, __u32 length)
{
	if (!who || length > AG_NAMES)
		return 0;
	for (__u32 part = 0; part < AG_NAMES / AG_DATA; part++) {
		if (part && part * AG_DATA >= length)
			break;
		if (!send_piece(cgroup, who, part, length))
			return 0;
	}
	return 1;
}

/* Sends the path of a file unless it was sent before. */
AG_GLOBAL int send_path(__u64 cgroup, __u64 where)
{
	struct path *path = (void *)where;
	struct dentry *dentry = BPF_CORE_READ(path, dentry);
	struct place place = {};
	struct identity who = {};

	identify_slowly(BPF_CORE_READ(dentry, d_inode), &who);
	place.dentry = (__u64)dentry;
	place.parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	place.hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	place.mount = (__u64)BPF_CORE_READ(path, mnt);
	__u64 hash = hash_of_place(&place, who.ino);
	if (is_told(hash))
		return 0;
	int length = climb(place.dentry, place.mount);
	if (length >= 0 && send_pieces(cgroup, &who, length))
		note_told(hash);
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

/* Identifies an open file and where it stands; false where nothing is open. */
static __always_inline bool find_file(struct task_struct *task, int fd, struct identity *who, struct place *place)
{
	if (ag_has_cast) {
		struct file **slot = slot_of(task, fd);
		struct file *file = slot ? cast_file(slot) : NULL;

		if (!file)
			return false;
		identify(file->f_inode, who);
		who->flags = file->f_flags;
		struct scratch *scratch = note_place(file->f_path.dentry, file->f_path.mnt);
		if (!scratch)
			return false;
		read_place(scratch, place);
		return true;
	}
	struct file *file = file_of(fd);

	if (!file)
		return false;
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	identify_slowly(BPF_CORE_READ(file, f_inode), who);
	who->flags = BPF_CORE_READ(file, f_flags);
	place->dentry = (__u64)dentry;
	place->parent = (__u64)BPF_CORE_READ(dentry, d_parent);
	place->hash_len = BPF_CORE_READ(dentry, d_name.hash_len);
	place->mount = (__u64)BPF_CORE_READ(file, f_path.mnt);
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
