// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Where an agent may connect and send to. The programs belong to its cgroup and to all below it. What an address rule
 * allows goes there; other TCP goes to our proxy, and port 53 to our resolver, whatever address was asked for;
 * everything else is denied. */
#include "lib/types.h"
#include "lib/deny.h"
#include "lib/unix.h"

#define DNS_PORT 53
#define LOOPBACK4 __builtin_bswap32(0x7f000001)
#define MAPPED __builtin_bswap32(0xffff)

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ag_lpm4);
	__type(value, struct ag_prefix);
} allow4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ag_lpm6);
	__type(value, struct ag_prefix);
} allow6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ag_port);
	__type(value, __u32);
} ports SEC(".maps");

/* Socket cookie -> where it wanted to go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct ag_flow);
} wanted SEC(".maps");

/* The redirected connection's own end, which the proxy sees -> where it wanted to go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct ag_end);
	__type(value, struct ag_flow);
} flows SEC(".maps");

/* Ports that the agent has bound in a way in which others may bind them too: who answers there is not sure. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u8);
} shared SEC(".maps");

static __always_inline __u32 of_port(struct ag_prefix *prefix, __u32 port)
{
	if (!prefix)
		return 0;
	if (prefix->ports) {
		struct ag_port key = {.table = prefix->ports, .port = port};
		__u32 *verdict = bpf_map_lookup_elem(&ports, &key);
		if (verdict)
			return *verdict;
	}
	return prefix->verdict;
}

/* What was allowed of late is not looked for again: a walk down a large trie takes several times as long as all the
 * rest. Of IPv4 one word holds address, port and the generation of the rules, so that it is whole or not there. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AG_SEEN);
	__type(key, __u32);
	__type(value, __u64);
} seen4 SEC(".maps");

/* An address of IPv6 takes two words. Whoever fills an entry claims it first by `state`, which then says what is in it:
 * no other one fills it until the rules change, and none at all while somebody still does. */
struct seen6 {
	__u64 high;
	__u64 low;
	__u64 state; /* the generation, the port from bit 32 on, from bit 48 on whether it is being filled, or ready */
};
#define SEEN_FILLING 1ull
#define SEEN_READY 2ull

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AG_SEEN);
	__type(key, __u32);
	__type(value, struct seen6);
} seen6 SEC(".maps");

#define ALLOWED ((__u32)AG_ALLOW << AG_EFFECT_SHIFT)

static __always_inline __u32 decide4(struct ag_net_config *config, __u32 address, __u32 port)
{
	/* INVARIANT: the generation is read before the rules are. */
	__u64 word = (__u64)address << 32 | port << 16 | (*(volatile __u32 *)&config->generation & 0xffff);
	__u32 slot = (__u32)((address ^ port << 7) * 2654435761u) >> (32 - AG_SEEN_BITS);
	struct ag_lpm4 key = {.bits = 32, .address = address};
	volatile __u64 *seen = bpf_map_lookup_elem(&seen4, &slot);

	if (seen && *seen == word)
		return ALLOWED;
	__u32 verdict = of_port(bpf_map_lookup_elem(&allow4, &key), port);
	if (seen && verdict >> AG_EFFECT_SHIFT == AG_ALLOW)
		*seen = word;
	return verdict;
}

static __always_inline __u32 decide6(struct ag_net_config *config, const __u32 *address, __u32 port)
{
	__u32 generation = *(volatile __u32 *)&config->generation;
	__u64 high = (__u64)address[0] << 32 | address[1], low = (__u64)address[2] << 32 | address[3];
	__u64 ready = SEEN_READY << 48 | (__u64)port << 32 | generation, before = 0;
	__u64 mixed = (high ^ low * 0x9e3779b97f4a7c15ull ^ port) * 0xff51afd7ed558ccdull;
	__u32 slot = mixed >> (64 - AG_SEEN_BITS);
	struct seen6 *seen = bpf_map_lookup_elem(&seen6, &slot);
	struct ag_lpm6 key = {.bits = 128};

	if (seen) {
		/* INVARIANT: the address is read between two looks at the state; each is a barrier. */
		before = __sync_fetch_and_add(&seen->state, 0);
		if (before == ready && *(volatile __u64 *)&seen->high == high && *(volatile __u64 *)&seen->low == low &&
		    __sync_fetch_and_add(&seen->state, 0) == ready)
			return ALLOWED;
	}
	__builtin_memcpy(key.address, address, sizeof(key.address));
	__u32 verdict = of_port(bpf_map_lookup_elem(&allow6, &key), port);
	if (!seen || verdict >> AG_EFFECT_SHIFT != AG_ALLOW)
		return verdict;
	if (before >> 48 == SEEN_FILLING || (before >> 48 == SEEN_READY && (__u32)before == generation))
		return verdict;
	if (__sync_val_compare_and_swap(&seen->state, before, SEEN_FILLING << 48 | generation) == before) {
		*(volatile __u64 *)&seen->high = high;
		*(volatile __u64 *)&seen->low = low;
		__sync_lock_test_and_set(&seen->state, ready);
	}
	return verdict;
}

static __always_inline bool is_loopback(const __u32 *address)
{
	if (address[2] == MAPPED)
		return !address[0] && !address[1] && (address[3] & 0xff) == 127;
	return !address[0] && !address[1] && !address[2] && address[3] == __builtin_bswap32(1);
}

/* Tells whether a socket of the agent's own answers there: each has the mark that its creation put on it. */
static __always_inline bool is_own(struct bpf_sock_addr *ctx, __u32 mark, const struct denial *what)
{
	struct bpf_sock_tuple tuple = {};
	__u32 key = what->protocol << 16 | what->port, size;
	struct bpf_sock *own = ctx->sk, *found;

	if (!mark || bpf_map_lookup_elem(&shared, &key))
		return false;
	__u16 port = own ? __builtin_bswap16(own->src_port) : 0;
	if (what->address[2] == MAPPED) {
		tuple.ipv4.saddr = own && own->src_ip4 ? own->src_ip4 : what->address[3];
		tuple.ipv4.daddr = what->address[3];
		tuple.ipv4.sport = port;
		tuple.ipv4.dport = __builtin_bswap16(what->port);
		size = sizeof(tuple.ipv4);
	} else {
		/* Only ::1 is a loopback, so it is where this comes from as well. */
		__builtin_memcpy(tuple.ipv6.saddr, what->address, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, what->address, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.sport = port;
		tuple.ipv6.dport = __builtin_bswap16(what->port);
		size = sizeof(tuple.ipv6);
	}
	if (what->protocol == IPPROTO_TCP)
		found = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		found = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return false;
	bool ours = found->priority == mark;
	bpf_sk_release(found);
	return ours;
}

enum way { WAY_DENY, WAY_GO, WAY_PROXY, WAY_RESOLVER };

/* Decides from the verdict of the address rules. */
static __always_inline enum way choose(struct bpf_sock_addr *ctx, struct ag_net_config *config, struct denial *what)
{
	__u32 effect = what->verdict >> AG_EFFECT_SHIFT;

	if (effect == AG_ALLOW)
		return WAY_GO;
	if (effect == AG_DENY)
		return WAY_DENY;
	if (what->protocol != IPPROTO_TCP && what->protocol != IPPROTO_UDP)
		return WAY_DENY;
	if (is_loopback(what->address) && is_own(ctx, config->mark, what))
		return WAY_GO;
	if (what->port == DNS_PORT && config->flags & AG_RESOLVER)
		return WAY_RESOLVER;
	if (what->protocol == IPPROTO_TCP && config->flags & AG_PROXY)
		return WAY_PROXY;
	return WAY_DENY;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} net_moves SEC(".maps");

static __always_inline void tell_move(const struct denial *what)
{
	struct ag_move *move = bpf_ringbuf_reserve(&net_moves, sizeof(*move), 0);
	__u64 ids = bpf_get_current_pid_tgid();

	/* Where nobody reads them, there is no room for long: nothing depends on them but the words of an account. */
	if (!move)
		return;
	move->time_ns = bpf_ktime_get_boot_ns();
	move->pid = ids >> 32;
	move->tid = ids;
	__builtin_memcpy(move->address, what->address, sizeof(move->address));
	move->port = what->port;
	move->protocol = what->protocol;
	bpf_ringbuf_submit(move, BPF_RB_NO_WAKEUP);
}

static __always_inline int remember(struct bpf_sock_addr *ctx, const struct denial *what)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct ag_flow flow = {
		.port = what->port,
		.pid = bpf_get_current_pid_tgid() >> 32,
		.verdict = what->verdict,
		.family = what->family == AF_INET ? 4 : 6,
	};

	__builtin_memcpy(flow.address, what->address, sizeof(flow.address));
	net_count(AG_NET_REDIRECTED);
	tell_move(what);
	return bpf_map_update_elem(&wanted, &cookie, &flow, BPF_ANY);
}

static __always_inline void describe(struct bpf_sock_addr *ctx, struct denial *what, __u16 kind)
{
	what->kind = kind;
	what->family = ctx->family;
	what->type = ctx->type;
	what->protocol = ctx->protocol;
	what->port = __builtin_bswap16(ctx->user_port);
}

static __always_inline int on_four(struct bpf_sock_addr *ctx, __u16 kind)
{
	struct ag_net_config *config = net_settings();
	struct denial what = {};
	__u32 address = ctx->user_ip4;

	/* The kernel takes 0.0.0.0 for the loopback. */
	if (!address)
		address = LOOPBACK4;
	describe(ctx, &what, kind);
	what.address[2] = MAPPED;
	what.address[3] = address;
	if (!config)
		return deny(config, &what);
	what.verdict = decide4(config, address, what.port);
	enum way way = choose(ctx, config, &what);
	if (way == WAY_GO)
		return 1;
	__u16 port = way == WAY_RESOLVER ? config->dns4 : way == WAY_PROXY ? config->proxy4 : 0;
	if (!port || remember(ctx, &what))
		return deny(config, &what);
	ctx->user_ip4 = LOOPBACK4;
	ctx->user_port = __builtin_bswap16(port);
	return 1;
}

static __always_inline int on_six(struct bpf_sock_addr *ctx, __u16 kind)
{
	struct ag_net_config *config = net_settings();
	struct denial what = {};
	__u32 address[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	bool mapped = !address[0] && !address[1] && address[2] == MAPPED;
	bool any = !address[0] && !address[1] && !address[3] && (mapped || !address[2]);

	describe(ctx, &what, kind);
	if (any)
		address[3] = mapped ? LOOPBACK4 : __builtin_bswap32(1);
	__builtin_memcpy(what.address, address, sizeof(address));
	if (!config)
		return deny(config, &what);
	what.verdict = mapped ? decide4(config, address[3], what.port) : decide6(config, address, what.port);
	enum way way = choose(ctx, config, &what);
	if (way == WAY_GO) {
		/* Said in full, or the kernel would choose between ::1 and 127.0.0.1 by how the socket is bound. */
		if (any)
			ctx->user_ip6[3] = address[3];
		return 1;
	}
	__u16 port = 0;
	if (mapped)
		port = way == WAY_RESOLVER ? config->dns4 : way == WAY_PROXY ? config->proxy4 : 0;
	else
		port = way == WAY_RESOLVER ? config->dns6 : way == WAY_PROXY ? config->proxy6 : 0;
	if (!port || remember(ctx, &what))
		return deny(config, &what);
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = mapped ? MAPPED : 0;
	ctx->user_ip6[3] = mapped ? LOOPBACK4 : __builtin_bswap32(1);
	ctx->user_port = __builtin_bswap16(port);
	return 1;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	return on_four(ctx, AG_NET_CONNECT);
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	return on_six(ctx, AG_NET_CONNECT);
}

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_four(ctx, AG_NET_SENDMSG);
}

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_six(ctx, AG_NET_SENDMSG);
}

/* Shows the address that was asked for in place of ours. */
static __always_inline int show_four(struct bpf_sock_addr *ctx, bool resolver_only)
{
	struct ag_net_config *config = net_settings();
	__u16 port = __builtin_bswap16(ctx->user_port);

	if (!config || ctx->user_ip4 != LOOPBACK4 || !port)
		return 1;
	if (port != config->dns4 && (resolver_only || port != config->proxy4))
		return 1;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct ag_flow *flow = bpf_map_lookup_elem(&wanted, &cookie);
	if (flow && flow->address[2] == MAPPED) {
		ctx->user_ip4 = flow->address[3];
		ctx->user_port = __builtin_bswap16(flow->port);
	}
	return 1;
}

static __always_inline int show_six(struct bpf_sock_addr *ctx, bool resolver_only)
{
	struct ag_net_config *config = net_settings();
	__u16 port = __builtin_bswap16(ctx->user_port);

	if (!config || !port)
		return 1;
	bool mapped = ctx->user_ip6[2] == MAPPED;
	__u16 dns = mapped ? config->dns4 : config->dns6, proxy = mapped ? config->proxy4 : config->proxy6;
	if (port != dns && (resolver_only || port != proxy))
		return 1;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct ag_flow *flow = bpf_map_lookup_elem(&wanted, &cookie);
	if (flow) {
		ctx->user_ip6[0] = flow->address[0];
		ctx->user_ip6[1] = flow->address[1];
		ctx->user_ip6[2] = flow->address[2];
		ctx->user_ip6[3] = flow->address[3];
		ctx->user_port = __builtin_bswap16(flow->port);
	}
	return 1;
}

SEC("cgroup/getpeername4")
int on_getpeername4(struct bpf_sock_addr *ctx)
{
	return show_four(ctx, false);
}

SEC("cgroup/getpeername6")
int on_getpeername6(struct bpf_sock_addr *ctx)
{
	return show_six(ctx, false);
}

/* Some stub resolvers look at who answers. */
SEC("cgroup/recvmsg4")
int on_recvmsg4(struct bpf_sock_addr *ctx)
{
	return show_four(ctx, true);
}

SEC("cgroup/recvmsg6")
int on_recvmsg6(struct bpf_sock_addr *ctx)
{
	return show_six(ctx, true);
}

static __always_inline void put_address(struct ag_end *end, bool four, __u32 ip4, __u32 a, __u32 b, __u32 c, __u32 d)
{
	end->address[0] = four ? 0 : a;
	end->address[1] = four ? 0 : b;
	end->address[2] = four ? MAPPED : c;
	end->address[3] = four ? ip4 : d;
}

/* The connection has its own port now, and nothing was sent yet: from here on the proxy can tell it. */
SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	ctx->reply = -1;
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB)
		return 1;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct ag_flow *flow = bpf_map_lookup_elem(&wanted, &cookie);
	if (!flow)
		return 1;
	struct ag_end end = {.port = ctx->local_port};
	put_address(&end, ctx->family == AF_INET, CTX(ctx->local_ip4), CTX(ctx->local_ip6[0]),
		    CTX(ctx->local_ip6[1]), CTX(ctx->local_ip6[2]), CTX(ctx->local_ip6[3]));
	bpf_map_update_elem(&flows, &end, flow, BPF_ANY);
	return 1;
}

/* Plain TCP and UDP only: a second path of MPTCP is opened by the kernel itself, and no program is asked. */
SEC("cgroup/sock_create")
int on_sock_create(struct bpf_sock *ctx)
{
	struct ag_net_config *config = net_settings();
	bool tcp = ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP;
	bool udp = ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP;

	if (tcp || udp) {
		/* The agent may lower a priority, and gains nothing by it; to set this one takes CAP_NET_ADMIN. */
		if (config)
			ctx->priority = config->mark;
		return 1;
	}
	struct denial what = {
		.kind = AG_NET_SOCKET, .family = ctx->family, .type = ctx->type, .protocol = ctx->protocol
	};
	return deny(config, &what);
}

static __always_inline int note_bound(struct bpf_sock *ctx)
{
	__u32 key = ctx->protocol << 16 | ctx->src_port;
	__u8 one = 1;

	/* This field came later than the function that is needed here. */
	if (bpf_core_field_exists(((struct bpf_sock_addr_kern *)0)->uaddrlen)) {
		struct sock_common___egress *common = bpf_cast_to_kern_ctx(ctx);
		bool reuse = BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuse);
		bool reuseport = BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuseport);
		/* Two that listen for TCP at one place share the port, not only its number, by SO_REUSEPORT alone. */
		if (!reuseport && !(reuse && ctx->protocol == IPPROTO_UDP))
			return 1;
	}
	bpf_map_update_elem(&shared, &key, &one, BPF_ANY);
	return 1;
}

SEC("cgroup/post_bind4")
int on_bound4(struct bpf_sock *ctx)
{
	return note_bound(ctx);
}

SEC("cgroup/post_bind6")
int on_bound6(struct bpf_sock *ctx)
{
	return note_bound(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
