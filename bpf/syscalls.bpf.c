// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* System calls, when they return: then the result is known, and the kernel has opened what was asked for. One
 * program for all, since each program at this place costs every process of the machine. */
#include "lib/types.h"
#include "lib/calls.h"
#include "lib/names.h"
#include "lib/file.h"
#include "lib/net.h"
#include <bpf/bpf_tracing.h>

const volatile __u32 ag_version SEC(".rodata.version") = AG_VERSION;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} foreigners SEC(".maps");

static __always_inline bool is_foreign(struct task_struct *task, long nr)
{
#if defined(__TARGET_ARCH_x86)
	/* TS_COMPAT: int 0x80 or a 32-bit program; bit 30: the x32 calls. */
	return (task->thread_info.status & 2) || (nr > 0 && (nr & 0x40000000));
#else
	return task->thread_info.flags & (1ul << 22); /* TIF_32BIT */
#endif
}

/* Calls of another ABI have other numbers: that a process makes them is said, once, and not what they do. */
static __noinline int note_foreign(__u64 cgroup, long nr)
{
	__u64 start = start_of(bpf_get_current_task_btf());
	__u8 one = 1;

	if (bpf_map_update_elem(&foreigners, &start, &one, BPF_NOEXIST))
		return 0;
	struct ag_record *record = reserve(cgroup, AG_FOREIGN_ABI);
	if (record) {
		record->head.nr = nr;
		submit(record);
	}
	return 0;
}

static __always_inline void copy_args(struct pt_regs *regs, __u64 *args)
{
	args[0] = 0;
#if defined(__TARGET_ARCH_x86)
	args[1] = regs->di;
	args[2] = regs->si;
	args[3] = regs->dx;
	args[4] = regs->r10;
	args[5] = regs->r8;
	args[6] = regs->r9;
#else
	args[1] = regs->orig_x0;
	args[2] = regs->regs[1];
	args[3] = regs->regs[2];
	args[4] = regs->regs[3];
	args[5] = regs->regs[4];
	args[6] = regs->regs[5];
#endif
	args[7] = 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	long nr = SYSCALL_NR(regs);
	struct guarded_by by;
	struct seen seen;
	__u64 args[8];
	__u8 kind = nr >= 0 && nr < AG_CALLS ? calls[nr].kind : 0;

	/* Each process of the machine pays for this at each call, so what is cheap comes first. */
	if (kind == AG_QUIET)
		return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	bool foreign = is_foreign(task, nr);
	if (!kind && !foreign)
		return 0;
	if (!find_guard_of(task, &by))
		return 0;
	if (foreign)
		return note_foreign(by.id, nr);
	if (nr < 0 || nr >= AG_CALLS)
		return 0;
	const volatile struct call *call = &calls[nr];
	__u32 each = by.flags & AG_EACH_IO;
	copy_args(regs, args);
	seen.cgroup = by.id;
	seen.nr = nr;
	seen.kind = kind;
	seen.ret = ret;
	seen.fd = args[call->fd & 7];
	if (kind == AG_READ || kind == AG_WRITE)
		return count_io(task, &seen, each, kind == AG_WRITE);
	seen.a0 = args[call->keep0 & 7];
	seen.a1 = args[call->keep1 & 7];
	seen.path = args[call->path & 7];
	seen.dir = call->dir ? (int)args[call->dir & 7] : -100;
	if (kind == AG_OPEN)
		return on_open(task, &seen, args[3], by.flags & AG_EACH_OPEN);
	if (kind == AG_SENDFILE)
		return count_transfer(&seen, each);
	if (kind >= AG_SOCKET && kind <= AG_SENDMMSG)
		return on_net(&seen, args, each);
	if (kind == AG_EXEC_FAILED && (ret >= 0 || is_absent(ret)))
		return 0; /* a shell tries each folder of PATH */
	if (kind == AG_SIGNAL && (__u32)seen.a1 == 0)
		return 0; /* asks whether the process is there */
	if (seen.path == 0 && call->fd)
		return on_descriptor(&seen);
	if (nr == RMDIR_NR)
		seen.a0 = 0x200; /* AT_REMOVEDIR */
	on_path(&seen, 0, call->path2 ? 2 : 1);
	if (call->path2) {
		seen.path = args[call->path2 & 7];
		seen.dir = call->dir2 ? (int)args[call->dir2 & 7] : -100;
		on_path(&seen, 1, 2);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
