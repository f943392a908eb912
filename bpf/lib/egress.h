/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the network programs and Python agree on (kernel/egress/_layout.py), which a test compares with this. One
 * instance of these maps belongs to one agent: the programs run for nothing but its cgroup. */
#pragma once

#define AG_NET_VERSION 1
#define AG_UNIX_PATH 108

enum ag_net_effect {
	AG_NONE = 0, /* no rule speaks of it */
	AG_ALLOW = 1,
	AG_DENY = 2,
	AG_ASK = 3,
};
#define AG_EFFECT_SHIFT 30 /* a verdict: its effect, and below it the number of the rule, from 1 */
#define AG_RULE_MASK 0x3fffffff

enum ag_net_flag {
	AG_ENFORCE = 1,		/* else what would be denied is told and done */
	AG_PROXY = 2,		/* TCP that no address rule decides goes to the proxy, which looks at the name */
	AG_RESOLVER = 4,	/* port 53 goes to the resolver */
	AG_ABSTRACT_SCOPED = 8, /* Landlock keeps abstract sockets to the agent's own */
};

enum ag_net_kind {
	AG_NET_CONNECT = 1,
	AG_NET_SENDMSG = 2,
	AG_NET_SOCKET = 3,
	AG_NET_UNIX = 4,
};

enum ag_net_count {
	AG_NET_DENIED = 0,
	AG_NET_REDIRECTED = 1,
	AG_NET_LOST = 2, /* records for which there was no room */
	AG_NET_COUNTS = 4,
};

struct ag_net_config {
	__u32 version;
	__u32 flags;
	/* Where the proxy and the resolver listen on 127.0.0.1 and on ::1; 0 is nowhere, and then it is denied. */
	__u16 proxy4;
	__u16 proxy6;
	__u16 dns4;
	__u16 dns6;
	/* The priority that each socket of the agent gets, by which it is told from others; 0 is none. */
	__u32 mark;
	/* Of the rules: another one after each change, and none of which the lower half is 0. */
	__u32 generation;
};

#define AG_SEEN_BITS 12
#define AG_SEEN (1 << AG_SEEN_BITS)

struct ag_lpm4 {
	__u32 bits;
	__u32 address;
};

struct ag_lpm6 {
	__u32 bits;
	__u32 address[4];
};

/* What holds for a prefix: `ports` names its own table where single ports differ from `verdict`. */
struct ag_prefix {
	__u32 verdict;
	__u32 ports;
};

struct ag_port {
	__u32 table;
	__u32 port;
};

/* IPv4 as ::ffff:a.b.c.d. */
struct ag_end {
	__u32 address[4];
	__u32 port;
};

struct ag_flow {
	__u32 address[4];
	__u32 port;
	__u32 pid;
	__u32 verdict;
	__u32 family; /* of the socket: 4 or 6 */
};

struct ag_unix {
	__u32 length;
	char path[AG_UNIX_PATH];
};

/* Where a thread was led to, for whoever sees only the address that it was led to. */
struct ag_move {
	__u64 time_ns;
	__u32 pid;
	__u32 tid;
	__u32 address[4];
	__u32 port;
	__u32 protocol;
};

struct ag_net_record {
	__u64 time_ns; /* since boot */
	__u64 cgroup;  /* that of the process, which may be below the agent's */
	__u32 pid;
	__u32 tid;
	__u32 uid;
	__u32 verdict;
	__u16 kind;
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 port;
	__u16 length; /* of the path */
	__u32 enforced;
	__u32 address[4];
	char comm[16];
	char path[AG_UNIX_PATH];
	__u32 spare;
};

_Static_assert(sizeof(struct ag_net_record) == 192, "the records of denials");
