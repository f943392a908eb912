// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* io_uring: what is asked through a ring makes no system call. */
#include "lib/types.h"
#include "lib/names.h"
#include <bpf/bpf_tracing.h>

#define OP_CONNECT 16
#define OP_OPENAT 18
#define OP_OPENAT2 28

struct uring_key {
	__u64 start_ns;
	__u64 opcode;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct uring_key);
	__type(value, __u8);
} uring_seen SEC(".maps");

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(on_uring, struct io_kiocb *request)
{
	struct uring_key key = {};
	struct guarded_by by;
	__u8 one = 1;

	if (!find_guard(&by))
		return 0;
	__u64 cgroup = by.id;
	__u8 opcode = request->opcode;
	bool names = opcode == OP_OPENAT || opcode == OP_OPENAT2 || opcode == OP_CONNECT;
	if (!names) {
		/* What names nothing is told once for each process and operation. */
		key.start_ns = start_of(bpf_get_current_task_btf());
		key.opcode = opcode;
		if (bpf_map_update_elem(&uring_seen, &key, &one, BPF_NOEXIST))
			return 0;
	}
	struct identity base = {};
	if (opcode == OP_OPENAT || opcode == OP_OPENAT2)
		name_folder(cgroup, BPF_CORE_READ((struct io_open *)request, dfd), &base);
	struct ag_record *record = reserve(cgroup, AG_URING_OP);
	if (!record)
		return 0;
	record->head.a0 = opcode;
	if (opcode == OP_OPENAT || opcode == OP_OPENAT2) {
		const char *name = BPF_CORE_READ((struct io_open *)request, filename, name);
		note_text(record, bpf_probe_read_kernel_str(record->data, AG_DATA, name), AG_CLAIMED | AG_BASED);
		record->base_ino = base.ino;
		record->base_dev = base.dev;
		record->head.a1 = BPF_CORE_READ((struct io_open *)request, how.flags);
	} else if (opcode == OP_CONNECT) {
		struct io_connect *connect = (void *)request;
		int size = BPF_CORE_READ(connect, addr_len);
		if (size > 0 && size <= 128 &&
		    !bpf_probe_read_user(record->data, size & 255, BPF_CORE_READ(connect, addr)))
			record->len = size;
		record->head.flags |= AG_CLAIMED;
	}
	submit(record);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
