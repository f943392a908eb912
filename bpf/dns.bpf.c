// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* DNS over UDP port 53, of the guarded cgroups that this is attached to: the questions, and which name an
 * address has. It looks at packets, so it does not matter by which call they were read. */
#include "lib/types.h"
#include "lib/maps.h"
#include "lib/guard.h"
#include "lib/emit.h"

#define UDP 17
#define DNS_PORT 53
#define DNS_PARTS 8 /* 2 KiB */

static __always_inline bool packet_guard(struct __sk_buff *skb, __u64 *id)
{
	struct ag_config *known = settings();
	__u32 levels = known ? known->levels : 0;

#pragma unroll
	for (int level = 1; level <= AG_MAX_LEVEL; level++) {
		if (!(levels & (1u << level)))
			continue;
		*id = bpf_skb_ancestor_cgroup_id(skb, level);
		if (bpf_map_lookup_elem(&guarded, id))
			return true;
	}
	return false;
}

/* Returns where the UDP header begins, or 0. */
static __always_inline __u32 udp_offset(struct __sk_buff *skb)
{
	__u8 first = 0, protocol = 0;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return 0;
	if (first >> 4 == 4) {
		bpf_skb_load_bytes(skb, 9, &protocol, 1);
		return protocol == UDP ? (first & 15) * 4 : 0;
	}
	if (first >> 4 == 6) {
		bpf_skb_load_bytes(skb, 6, &protocol, 1);
		return protocol == UDP ? 40 : 0;
	}
	return 0;
}

static __always_inline int look(struct __sk_buff *skb, bool outgoing)
{
	__be16 port = 0;
	__u64 cgroup;
	__u32 udp = udp_offset(skb);

	if (!udp || bpf_skb_load_bytes(skb, udp + (outgoing ? 2 : 0), &port, 2))
		return 1;
	if (port != __builtin_bswap16(DNS_PORT) || !packet_guard(skb, &cgroup))
		return 1;
	__u32 from = udp + 8;
	if (skb->len <= from)
		return 1;
	__u32 length = skb->len - from;
	bool cut = length > DNS_PARTS * AG_DATA;
	if (cut)
		length = DNS_PARTS * AG_DATA;
	__u8 parts = (length + AG_DATA - 1) / AG_DATA;
	for (__u32 part = 0; part < DNS_PARTS && part < parts; part++) {
		struct ag_record *record = bpf_ringbuf_reserve(&ring_sec, sizeof(*record), 0);
		if (!record) {
			count(AG_DROP_VITAL);
			return 1;
		}
		/* No process: this may run on behalf of whichever happens to be on the processor. */
		__builtin_memset(record, 0, sizeof(*record));
		record->head.time_ns = bpf_ktime_get_boot_ns();
		record->head.cgroup = cgroup;
		record->head.kind = AG_DNS;
		record->head.flags = (outgoing ? AG_OUTGOING : 0) | (cut ? AG_TRUNCATED : 0);
		record->head.part = part;
		record->head.parts = parts;
		__u32 size = length - part * AG_DATA;
		if (size > AG_DATA)
			size = AG_DATA;
		if (size > 0 && size <= AG_DATA) {
			record->len = size;
			if (bpf_skb_load_bytes(skb, from + part * AG_DATA, record->data, size))
				record->head.flags |= AG_BLIND;
		}
		submit(record);
	}
	return 1;
}

SEC("cgroup_skb/ingress")
int on_dns_answer(struct __sk_buff *skb)
{
	return look(skb, false);
}

SEC("cgroup_skb/egress")
int on_dns_query(struct __sk_buff *skb)
{
	return look(skb, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
