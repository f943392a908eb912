/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What goes through the rings: agreed with Python (kernel/_layout.py), which a test compares with this. */
#pragma once

#define AG_VERSION 3

enum ag_kind {
	AG_OPEN = 1,
	AG_READ = 2,
	AG_WRITE = 3,
	AG_UNLINK = 4,
	AG_RENAME = 5,
	AG_LINK = 6,
	AG_SYMLINK = 7,
	AG_TRUNCATE = 8,
	AG_CHMOD = 9,
	AG_CHOWN = 10,
	AG_MKDIR = 11,
	AG_MKNOD = 12,
	AG_PATH = 13,
	AG_SENDFILE = 14,
	AG_SOCKET = 20,
	AG_CONNECT = 21,
	AG_BIND = 22,
	AG_LISTEN = 23,
	AG_ACCEPT = 24,
	AG_SENDTO = 25,
	AG_SENDMSG = 26,
	AG_SENDMMSG = 27,
	AG_DNS = 28,
	AG_EXEC = 30,
	AG_EXEC_FAILED = 31,
	AG_FORK = 32,
	AG_EXIT = 33,
	AG_CGROUP_MOVE = 34,
	AG_SIGNAL = 35,
	AG_PTRACE = 40,
	AG_MEMFD = 41,
	AG_BPF = 42,
	AG_URING_SETUP = 43,
	AG_URING_OP = 44,
	AG_MOUNT = 45,
	AG_NAMESPACE = 46,
	AG_MODULE = 47,
	AG_VM_ACCESS = 48,
	AG_FOREIGN_ABI = 49,
	AG_IDENTITY = 50,
	AG_SPECIAL = 51,
	AG_MAX_KIND = 64,
};

enum ag_flag {
	AG_TRUNCATED = 1,  /* the text is longer than what is here */
	AG_CLAIMED = 2,    /* the text was read from the process's memory, which it can change */
	AG_BASED = 4,      /* a relative path: base_dev and base_ino are the folder */
	AG_UNLINKED = 8,   /* the file has no name: a memfd, or deleted */
	AG_ESCAPE = 16,    /* a process leaves the guarded cgroup */
	AG_OUTGOING = 32,  /* DNS: a query */
	AG_FD = 64,        /* dev and ino are those of the file itself */
	AG_BLIND = 128,    /* the text could not be read */
	AG_NAMED = 256,	   /* the text is the path in the kernel's tree; base_ino is the number of its folder, or 0 */
	AG_IN_FOLDER = 512, /* the text is only the last name of it: one with AG_NAMED has told the folder */
};

enum ag_guard_flag {
	AG_EACH_IO = 1,	  /* one small record for each read and write, in place of sums */
	AG_EACH_OPEN = 2, /* a record for each open, also of a file that was opened like this before */
};

enum ag_drop {
	AG_DROP_VITAL = 0, /* exec, network, attempts ... */
	AG_DROP_FILE = 1,  /* opens and paths, which leave the last part of the ring to the others */
	AG_DROP_IO = 2,
	AG_ABSENT = 3,	   /* no drops: opens of what is not there, of which no record is made */
	AG_REPEATED = 4,   /* and opens that say nothing new */
	AG_DROPS = 5,
};

#define AG_DATA 256
#define AG_SHORT 48 /* a text that is not longer has zeros after it until there, if it is a name in a folder */
#define AG_MAX_PARTS 17 /* a program's name and 4 KiB of arguments */

/* The whole record of the small ring, and the head of those of the other. */
struct ag_head {
	__u64 time_ns; /* since boot */
	__u64 cgroup;  /* the guarded one */
	__u64 start_ns; /* when the process began, since boot */
	__u32 pid;
	__u32 tid;
	__u16 kind;
	__u16 flags;
	__u16 nr;
	__u8 part;
	__u8 parts;
	__s64 ret;
	__u64 a0;
	__u64 a1;
};

struct ag_record {
	struct ag_head head;
	__u64 ino;
	__u64 base_ino;
	__u32 dev;
	__u32 base_dev;
	__u32 ppid;
	__u32 uid;
	__u16 mode;
	__u16 len;
	__u32 family; /* of a socket; its protocol in the upper half */
	char comm[16];
	char data[AG_DATA];
};

struct ag_guard {
	__u32 flags;
	__u32 slot;
};

#define AG_FAST 2 /* so many guarded cgroups are looked for one by one, which is quicker than in a map */

struct ag_config {
	__u32 levels; /* bit n: some guarded cgroup is n levels below the root */
	__u32 file_limit; /* bytes waiting in the ring from which on files are dropped */
	__u32 fast; /* how many are in `ids`; 0 if there are more of them */
	__u32 flags[AG_FAST];
	__u32 level; /* the one level that is in `levels`; 0 if there are more */
	__u32 slot;  /* where its cgroups begin in the array of them */
	__u32 spare;
	__u64 ids[AG_FAST];
};

struct ag_configs {
	__u32 which;
	__u32 spare;
	struct ag_config each[2];
};

/* What a process has moved through a file. One line of the processor's cache; free while `start_ns` is 0. */
struct ag_sum {
	__u64 start_ns;
	__u64 ino;
	__u64 cgroup;
	__u32 who; /* its pid, and above it what kind of file it is */
	__u32 dev;
	__u64 reads;
	__u64 read_bytes;
	__u64 writes;
	__u64 written_bytes;
};

#define AG_PID_BITS 28

_Static_assert(sizeof(struct ag_head) == 64, "the small ring's records");
_Static_assert(sizeof(struct ag_record) == 376, "the other ring's records");
_Static_assert(sizeof(struct ag_sum) == 64, "the sums");
