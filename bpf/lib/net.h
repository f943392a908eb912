/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Sockets: whom a process reaches, from the kernel's own socket where it is connected. */
#pragma once
#include "file.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AG_ADDRESS 128 /* of a sockaddr_storage */

/* As user space has it, so that Python reads one form. */
struct address {
	__u16 family;
	__be16 port;
	union {
		__be32 v4;
		struct {
			__u32 flow;
			__u8 v6[16];
		};
	};
};

struct peer_key {
	__u64 start_ns;
	__u8 bytes[28];
	__u32 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer_key);
	__type(value, __u8);
} peers SEC(".maps");

static __always_inline struct sock *sock_of(struct file *file)
{
	if ((BPF_CORE_READ(file, f_inode, i_mode) & 0170000) != 0140000)
		return NULL;
	struct socket *socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

/* Puts whom the socket is connected to in `to`; 0 if it is connected to nobody. */
static __always_inline int peer_of(struct sock *sk, struct address *to)
{
	to->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	to->port = BPF_CORE_READ(sk, __sk_common.skc_dport);
	if (!to->port)
		return 0;
	if (to->family == AF_INET) {
		to->v4 = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		return 8;
	}
	if (to->family == AF_INET6) {
		BPF_CORE_READ_INTO(&to->v6, sk, __sk_common.skc_v6_daddr);
		return 24;
	}
	return 0;
}

/* One datagram more to a peer that the process has reached before is no news. */
static __always_inline bool is_known_peer(const char *address, __u32 protocol)
{
	struct peer_key key = {};
	__u8 one = 1;

	key.start_ns = start_of(bpf_get_current_task_btf());
	key.protocol = protocol;
	__builtin_memcpy(key.bytes, address, sizeof(key.bytes));
	return bpf_map_update_elem(&peers, &key, &one, BPF_NOEXIST) != 0;
}

AG_GLOBAL int send_peer(struct seen *seen, int fd, __u64 claimed, __u32 claimed_size)
{
	struct file *file = file_of(fd);
	struct identity who = {};
	struct address to = {};
	__u32 size = 0, protocol = 0, family = 0;

	if (!seen)
		return 0;
	if (file) {
		identify_slowly(BPF_CORE_READ(file, f_inode), &who);
		struct sock *sk = sock_of(file);
		if (sk) {
			protocol = BPF_CORE_READ(sk, sk_protocol);
			family = BPF_CORE_READ(sk, __sk_common.skc_family);
			if (seen->kind == AG_CONNECT || seen->kind == AG_ACCEPT)
				size = peer_of(sk, &to);
		}
	}
	struct ag_record *record = begin(seen);
	if (!record)
		return 0;
	if (file)
		put_file(record, &who);
	record->family = family | protocol << 16;
	if (size) {
		__builtin_memcpy(record->data, &to, sizeof(to));
		record->len = size;
	} else if (claimed && claimed_size && claimed_size <= AG_ADDRESS) {
		record->head.flags |= AG_CLAIMED;
		barrier_var(claimed_size); /* or the compiler drops the bound as known */
		if (bpf_probe_read_user(record->data, claimed_size & (2 * AG_ADDRESS - 1), (void *)claimed))
			record->head.flags |= AG_BLIND;
		else
			record->len = claimed_size;
	}
	submit(record);
	return 0;
}

/* A datagram with an address of its own: told the first time that the process sends there. */
AG_GLOBAL int on_datagram(struct seen *seen, __u64 address, __u32 size)
{
	char bytes[28] = {};
	__u16 family = 0;

	if (!seen || !address || size < 2)
		return 0;
	struct file *file = file_of(seen->fd);
	struct sock *sk = file ? sock_of(file) : NULL;
	if (!sk)
		return 0;
	bpf_probe_read_user(&family, sizeof(family), (void *)address);
	if (family == AF_INET)
		bpf_probe_read_user(bytes, 8, (void *)address);
	else
		bpf_probe_read_user(bytes, 28, (void *)address);
	if (is_known_peer(bytes, BPF_CORE_READ(sk, sk_protocol)))
		return 0;
	return send_peer(seen, seen->fd, address, size);
}

static __always_inline int on_net(struct seen *seen, __u64 *args, __u32 each)
{
	struct user_msghdr message = {};

	switch (seen->kind) {
	case AG_SENDTO:
		count_rarely(seen, each, true);
		return on_datagram(seen, args[5], args[6]);
	case AG_SENDMSG:
	case AG_SENDMMSG:
		/* Of several messages in one call only the first one's address is looked at. */
		bpf_probe_read_user(&message, sizeof(message), (void *)args[2]);
		count_rarely(seen, each, true);
		seen->kind = AG_SENDTO;
		return on_datagram(seen, (__u64)message.msg_name, message.msg_namelen);
	case AG_SOCKET:
		return send_peer(seen, seen->ret >= 0 ? seen->ret : -1, 0, 0);
	case AG_ACCEPT:
		return seen->ret >= 0 ? send_peer(seen, seen->ret, 0, 0) : 0;
	case AG_CONNECT:
	case AG_BIND:
		return send_peer(seen, seen->fd, args[2], args[3]);
	}
	return send_peer(seen, seen->fd, 0, 0);
}
