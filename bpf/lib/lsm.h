/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the LSM programs and Python agree on (kernel/_lsm.py), which a test compares with this. */
#pragma once

#define AG_LSM_LEVELS 8
#define AG_LSM_DEPTH 40 /* folders above a file that are looked at */

enum ag_access {
	AG_READ_ACCESS = 1,
	AG_WRITE_ACCESS = 2,
	AG_EXECUTE_ACCESS = 4,
};

enum ag_lsm_flag {
	AG_LSM_ENFORCE = 1,
	AG_LSM_NO_NETWORK = 2, /* no connection and no datagram to another host, by whatever socket */
};

enum ag_hook {
	AG_ON_OPEN = 1,
	AG_ON_EXEC = 2,
	AG_ON_LINK = 3,
	AG_ON_RENAME = 4,
	AG_ON_REMOVE = 5,
	AG_ON_CHANGE = 6,
	AG_ON_SOCKET = 7,
	AG_ON_CONNECT = 8,
	AG_ON_SEND = 9,
};

struct ag_lsm_guard {
	__u32 slot;
	__u32 flags;
};

/* One file or folder that is shut for the agent with this slot; of a folder all beneath it. */
struct ag_inode {
	__u64 ino;
	__u32 dev; /* as the kernel has it: major << 20 | minor */
	__u32 slot;
};

struct ag_shut {
	__u32 access; /* what is denied */
	__u32 rule;
};

struct ag_lsm_record {
	__u64 time_ns;
	__u64 cgroup;
	__u64 ino;
	__u32 dev;
	__u32 pid;
	__u32 rule;
	__u32 access;
	__u16 hook;
	__u16 enforced;
	__u32 spare;
	char comm[16];
};

_Static_assert(sizeof(struct ag_lsm_record) == 64, "the records of the LSM programs");
