// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Files, programs and sockets that are shut for an agent, asked of the kernel where it decides: by device and inode,
 * so that it does not matter by which path, link, ring or descriptor they are come at. */
#include "lib/types.h"
#include "lib/lsm.h"
#include <bpf/bpf_tracing.h>

#define EPERM 1
#define MAY_READ 1
#define MAY_WRITE 2
#define MAY_EXECUTE 0x20
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define SOCK_RAW 3

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct file___lsm {
	unsigned int f_mode;
};
struct sock_cgroup_data {
	struct cgroup *cgroup;
};
struct sock___lsm {
	struct sock_cgroup_data sk_cgrp_data;
};
struct sockaddr___lsm {
	unsigned short sa_family;
};
#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct ag_lsm_guard);
} lsm_guarded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ag_inode);
	__type(value, struct ag_shut);
} shut_inodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} lsm_ring SEC(".maps");

struct who {
	__u64 cgroup;
	__u32 slot;
	__u32 flags;
};

static __always_inline bool is_guarded(struct who *who)
{
	for (int level = 1; level <= AG_LSM_LEVELS; level++) {
		who->cgroup = bpf_get_current_ancestor_cgroup_id(level);
		if (!who->cgroup)
			return false;
		struct ag_lsm_guard *guard = bpf_map_lookup_elem(&lsm_guarded, &who->cgroup);
		if (guard) {
			who->slot = guard->slot;
			who->flags = guard->flags;
			return true;
		}
	}
	return false;
}

static __always_inline int refuse(struct who *who, __u16 hook, struct ag_inode *inode, __u32 rule, __u32 access)
{
	struct ag_lsm_record *record = bpf_ringbuf_reserve(&lsm_ring, sizeof(*record), 0);

	if (record) {
		__builtin_memset(record, 0, sizeof(*record));
		record->time_ns = bpf_ktime_get_boot_ns();
		record->cgroup = who->cgroup;
		record->pid = bpf_get_current_pid_tgid() >> 32;
		record->hook = hook;
		record->rule = rule;
		record->access = access;
		record->enforced = who->flags & AG_LSM_ENFORCE;
		if (inode) {
			record->ino = inode->ino;
			record->dev = inode->dev;
		}
		bpf_get_current_comm(record->comm, sizeof(record->comm));
		bpf_ringbuf_submit(record, 0);
	}
	return who->flags & AG_LSM_ENFORCE ? -EPERM : 0;
}

static __always_inline struct ag_shut *find_shut(struct inode *inode, __u32 slot, struct ag_inode *key)
{
	key->ino = BPF_CORE_READ(inode, i_ino);
	key->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	key->slot = slot;
	return bpf_map_lookup_elem(&shut_inodes, key);
}

struct walk {
	struct dentry *dentry;
	struct ag_inode key;
	__u32 slot;
	__u32 access;
	__u32 rule;
	bool found;
};

static long look_at(__u32 depth, struct walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);

	if (inode) {
		struct ag_shut *shut = find_shut(inode, walk->slot, &walk->key);
		if (shut && shut->access & walk->access) {
			walk->rule = shut->rule;
			walk->found = true;
			return 1;
		}
	}
	walk->dentry = BPF_CORE_READ(dentry, d_parent);
	return !walk->dentry || walk->dentry == dentry;
}

/* Looks at the file, then at the folders above it in its file system. The file first, since a hard link lies elsewhere. */
static __always_inline int check(struct who *who, __u16 hook, struct dentry *dentry, __u32 access)
{
	struct walk walk = {.dentry = dentry, .slot = who->slot, .access = access};

	bpf_loop(AG_LSM_DEPTH, look_at, &walk, 0);
	return walk.found ? refuse(who, hook, &walk.key, walk.rule, access) : 0;
}

SEC("lsm/file_open")
int BPF_PROG(on_file_open, struct file *file, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	__u32 mode = BPF_CORE_READ((struct file___lsm *)file, f_mode);
	__u32 access = 0;
	if (mode & MAY_EXECUTE)
		access = AG_EXECUTE_ACCESS;
	else if (mode & MAY_READ)
		access = AG_READ_ACCESS;
	if (mode & MAY_WRITE)
		access |= AG_WRITE_ACCESS;
	return check(&who, AG_ON_OPEN, BPF_CORE_READ(file, f_path.dentry), access);
}

SEC("lsm/bprm_check_security")
int BPF_PROG(on_exec, struct linux_binprm *binprm, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	struct file *file = BPF_CORE_READ(binprm, file);
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	/* In memory alone, or deleted: nobody can look at it any more. */
	if (!BPF_CORE_READ(inode, i_nlink)) {
		struct ag_inode key = {.ino = BPF_CORE_READ(inode, i_ino), .dev = BPF_CORE_READ(inode, i_sb, s_dev)};
		return refuse(&who, AG_ON_EXEC, &key, 0, AG_EXECUTE_ACCESS);
	}
	return check(&who, AG_ON_EXEC, dentry, AG_EXECUTE_ACCESS);
}

/* A new name for a file that is shut would be one in a folder that is not. */
SEC("lsm/inode_link")
int BPF_PROG(on_link, struct dentry *old, struct inode *folder, struct dentry *made, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check(&who, AG_ON_LINK, old, AG_READ_ACCESS | AG_WRITE_ACCESS | AG_EXECUTE_ACCESS);
}

SEC("lsm/inode_rename")
int BPF_PROG(on_rename, struct inode *from, struct dentry *old, struct inode *to, struct dentry *made, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	int said = check(&who, AG_ON_RENAME, old, AG_READ_ACCESS | AG_WRITE_ACCESS | AG_EXECUTE_ACCESS);
	return said ? said : check(&who, AG_ON_RENAME, made, AG_WRITE_ACCESS);
}

SEC("lsm/inode_unlink")
int BPF_PROG(on_unlink, struct inode *folder, struct dentry *dentry, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check(&who, AG_ON_REMOVE, dentry, AG_WRITE_ACCESS);
}

/* truncate(2) and chmod(2) open nothing. */
SEC("lsm/path_truncate")
int BPF_PROG(on_truncate, struct path *path, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check(&who, AG_ON_CHANGE, BPF_CORE_READ(path, dentry), AG_WRITE_ACCESS);
}

SEC("lsm/path_chmod")
int BPF_PROG(on_chmod, struct path *path, __u16 mode, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check(&who, AG_ON_CHANGE, BPF_CORE_READ(path, dentry), AG_WRITE_ACCESS);
}

SEC("lsm/socket_create")
int BPF_PROG(on_socket, int family, int type, int protocol, int kernel, int before)
{
	struct who who;

	if (before || kernel || !is_guarded(&who))
		return before;
	bool known = family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
	bool raw = (family == AF_INET || family == AF_INET6) && (type & 15) == SOCK_RAW;
	return known && !raw ? 0 : refuse(&who, AG_ON_SOCKET, NULL, 0, 0);
}

static __always_inline bool is_of(struct cgroup *cgroup, __u64 id)
{
	int depth = BPF_CORE_READ(cgroup, level);

	for (int level = 1; level <= AG_LSM_LEVELS && level <= depth; level++) {
		struct cgroup *above = cgroup;
		if (bpf_core_field_exists(cgroup->ancestors))
			bpf_probe_read_kernel(&above, sizeof(above),
					      (void *)cgroup + bpf_core_field_offset(struct cgroup, ancestors) +
						      level * sizeof(above));
		if (BPF_CORE_READ(above, kn, id) == id)
			return true;
	}
	return false;
}

/* One that was made outside, and handed over or left open, is held to nothing that belongs to the agent's cgroup. */
static __always_inline int check_socket(struct who *who, __u16 hook, struct socket *socket)
{
	struct sock *sk = BPF_CORE_READ(socket, sk);
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family != AF_INET && family != AF_INET6)
		return 0;
	if (!(who->flags & AG_LSM_NO_NETWORK) &&
	    is_of(BPF_CORE_READ((struct sock___lsm *)sk, sk_cgrp_data.cgroup), who->cgroup))
		return 0;
	return refuse(who, hook, NULL, 0, 0);
}

SEC("lsm/socket_connect")
int BPF_PROG(on_connect, struct socket *socket, struct sockaddr___lsm *address, int length, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check_socket(&who, AG_ON_CONNECT, socket);
}

SEC("lsm/socket_sendmsg")
int BPF_PROG(on_send, struct socket *socket, void *message, int size, int before)
{
	struct who who;

	if (before || !is_guarded(&who))
		return before;
	return check_socket(&who, AG_ON_SEND, socket);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
