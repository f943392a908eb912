/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which unix sockets an agent may connect and send to. Kernels before 6.7 have no such hook. libbpf 1.1 does not know
 * these sections' names, so the loader says what they are, or leaves them out. */
#pragma once
#include "deny.h"

#define AF_UNIX 1
#define FAMILY_SIZE 2

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ag_unix);
	__type(value, __u32);
} unix_allow SEC(".maps");

static __always_inline int on_unix(struct bpf_sock_addr *ctx, __u16 kind)
{
	struct ag_net_config *config = net_settings();
	struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
	struct denial what = {.kind = AG_NET_UNIX, .family = AF_UNIX, .type = ctx->type};
	struct ag_unix key = {};
	void *name = BPF_CORE_READ(kern, uaddr);
	__u32 size = BPF_CORE_READ(kern, uaddrlen);

	/* This is the kernel's copy: the process cannot change it any more. */
	if (size > FAMILY_SIZE && size <= FAMILY_SIZE + AG_UNIX_PATH) {
		size -= FAMILY_SIZE;
		if (bpf_probe_read_kernel(key.path, size & 127, name + FAMILY_SIZE))
			size = 0;
	} else {
		size = 0;
	}
	if (size && key.path[0]) {
		/* A path ends at its first zero, or where the address ends; what follows means nothing. One that fills all
		 * the room is on no list. */
		char path[AG_UNIX_PATH] = {};
		long length = bpf_probe_read_kernel_str(path, sizeof(path), key.path);
		size = length > 0 && length < AG_UNIX_PATH ? length - 1 : 0;
		__builtin_memcpy(key.path, path, sizeof(key.path));
	}
	key.length = size;
	__u32 *verdict = bpf_map_lookup_elem(&unix_allow, &key);
	if (verdict && *verdict >> AG_EFFECT_SHIFT == AG_ALLOW)
		return 1;
	if (config && config->flags & AG_ABSTRACT_SCOPED && size && !key.path[0])
		return 1;
	bool enforced = !config || config->flags & AG_ENFORCE;
	what.verdict = verdict ? *verdict : 0;
	net_count(AG_NET_DENIED);
	struct ag_net_record *record = net_reserve(&what, enforced);
	if (record) {
		record->length = size;
		__builtin_memcpy(record->path, key.path, sizeof(record->path));
		bpf_ringbuf_submit(record, 0);
	}
	return !enforced;
}

SEC("ag/connect_unix")
int on_connect_unix(struct bpf_sock_addr *ctx)
{
	return on_unix(ctx, AG_NET_CONNECT);
}

SEC("ag/sendmsg_unix")
int on_sendmsg_unix(struct bpf_sock_addr *ctx)
{
	return on_unix(ctx, AG_NET_SENDMSG);
}
