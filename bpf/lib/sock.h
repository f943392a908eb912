/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The contexts of cgroup network programs. The verifier rewrites each access, so these are no CO-RE types: their
 * layout is the kernel's user interface (linux/bpf.h). */
#pragma once

enum {
	BPF_MAP_TYPE_LPM_TRIE = 11,
};
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_F_CURRENT_NETNS = -1 };
enum { BPF_SOCK_OPS_TCP_CONNECT_CB = 3 };
enum { SOCK_STREAM = 1, SOCK_DGRAM = 2 };
enum { AF_INET = 2, AF_INET6 = 10 };
enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17 };

struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port; /* host byte order */
	__be16 dst_port;
	__u16 : 16;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr;
			__be32 daddr;
			__be16 sport;
			__be16 dport;
		} ipv4;
		struct {
			__be32 saddr[4];
			__be32 daddr[4];
			__be16 sport;
			__be16 dport;
		} ipv6;
	};
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

struct bpf_sock_ops {
	__u32 op;
	union {
		__u32 args[4];
		__u32 reply;
		__u32 replylong[4];
	};
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
/* The kernel's own view of a bpf_sock_addr. */
struct bpf_sock_addr_kern {
	void *uaddr;
	__u32 uaddrlen;
};
/* What each socket begins with. */
struct sock_common___egress {
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
};
#pragma clang attribute pop

/* A field of a context, read where it stands: the verifier refuses a pointer into a context that the compiler would
 * make to read two branches' fields by one instruction. */
#define CTX(field) (*(volatile typeof(field) *)&(field))

/* Since 6.2. */
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym __weak;
