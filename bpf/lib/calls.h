/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The system calls that are looked at, for each architecture: what they do, and which argument is what. */
#pragma once
#include "record.h"

/* Arguments count from 1; 0 means that there is none. */
struct call {
	__u8 kind;
	__u8 path, dir;	  /* a path, and the descriptor of the folder that it starts from */
	__u8 path2, dir2; /* the other path of a rename or a link */
	__u8 fd;
	__u8 keep0, keep1; /* what goes into a0 and a1 */
};

#define CALL(nr, what, ...) [nr] = { .kind = AG_##what, ##__VA_ARGS__ }

/* Of no interest, in the 32-bit ABI neither: then it does not matter whose call it is, and nothing is looked up. */
#define AG_QUIET AG_MAX_KIND

#if defined(__TARGET_ARCH_x86)
#define AG_CALLS 512
static const volatile struct call calls[AG_CALLS] = {
	CALL(0, READ, .fd = 1), CALL(17, READ, .fd = 1), CALL(19, READ, .fd = 1), CALL(295, READ, .fd = 1),
	CALL(327, READ, .fd = 1),
	CALL(1, WRITE, .fd = 1), CALL(18, WRITE, .fd = 1), CALL(20, WRITE, .fd = 1), CALL(296, WRITE, .fd = 1),
	CALL(328, WRITE, .fd = 1),
	CALL(40, SENDFILE, .fd = 1, .keep0 = 2), CALL(326, SENDFILE, .fd = 3, .keep0 = 1),
	CALL(275, SENDFILE, .fd = 3, .keep0 = 1),
	CALL(2, OPEN, .path = 1, .keep0 = 2, .keep1 = 3), CALL(85, OPEN, .path = 1, .keep1 = 2),
	CALL(257, OPEN, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4), CALL(437, OPEN, .path = 2, .dir = 1),
	CALL(304, OPEN, .keep0 = 3), CALL(428, OPEN, .path = 2, .dir = 1, .keep0 = 3),
	CALL(87, UNLINK, .path = 1), CALL(84, UNLINK, .path = 1),
	CALL(263, UNLINK, .path = 2, .dir = 1, .keep0 = 3),
	CALL(82, RENAME, .path = 1, .path2 = 2),
	CALL(264, RENAME, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3),
	CALL(316, RENAME, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3, .keep0 = 5),
	CALL(86, LINK, .path = 1, .path2 = 2),
	CALL(265, LINK, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3, .keep0 = 5),
	CALL(88, SYMLINK, .path = 1, .path2 = 2), CALL(266, SYMLINK, .path = 1, .path2 = 3, .dir2 = 2),
	CALL(76, TRUNCATE, .path = 1, .keep0 = 2), CALL(77, TRUNCATE, .fd = 1, .keep0 = 2),
	CALL(90, CHMOD, .path = 1, .keep0 = 2), CALL(91, CHMOD, .fd = 1, .keep0 = 2),
	CALL(268, CHMOD, .path = 2, .dir = 1, .keep0 = 3), CALL(452, CHMOD, .path = 2, .dir = 1, .keep0 = 3),
	CALL(92, CHOWN, .path = 1, .keep0 = 2, .keep1 = 3), CALL(94, CHOWN, .path = 1, .keep0 = 2, .keep1 = 3),
	CALL(93, CHOWN, .fd = 1, .keep0 = 2, .keep1 = 3),
	CALL(260, CHOWN, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4),
	CALL(83, MKDIR, .path = 1, .keep0 = 2), CALL(258, MKDIR, .path = 2, .dir = 1, .keep0 = 3),
	CALL(133, MKNOD, .path = 1, .keep0 = 2, .keep1 = 3),
	CALL(259, MKNOD, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4),
	CALL(41, SOCKET, .keep0 = 1, .keep1 = 2), CALL(42, CONNECT, .fd = 1), CALL(49, BIND, .fd = 1),
	CALL(50, LISTEN, .fd = 1), CALL(43, ACCEPT), CALL(288, ACCEPT), CALL(44, SENDTO, .fd = 1),
	CALL(46, SENDMSG, .fd = 1), CALL(307, SENDMMSG, .fd = 1), CALL(45, READ, .fd = 1),
	CALL(47, READ, .fd = 1), CALL(299, READ, .fd = 1),
	CALL(59, EXEC_FAILED, .path = 1), CALL(322, EXEC_FAILED, .path = 2, .dir = 1),
	CALL(62, SIGNAL, .keep0 = 1, .keep1 = 2), CALL(200, SIGNAL, .keep0 = 1, .keep1 = 2),
	CALL(234, SIGNAL, .keep0 = 1, .keep1 = 3), CALL(424, SIGNAL, .keep1 = 2),
	CALL(101, PTRACE, .keep0 = 1, .keep1 = 2), CALL(319, MEMFD, .path = 1, .keep0 = 2),
	CALL(321, BPF, .keep0 = 1), CALL(425, URING_SETUP, .keep0 = 1), CALL(427, URING_SETUP, .keep0 = 2),
	CALL(165, MOUNT, .path = 2, .keep0 = 4), CALL(166, MOUNT, .path = 1, .keep0 = 2),
	CALL(155, MOUNT, .path = 1), CALL(161, MOUNT, .path = 1), CALL(429, MOUNT, .path = 4, .dir = 3),
	CALL(430, MOUNT, .path = 1), CALL(432, MOUNT), CALL(442, MOUNT, .path = 2, .dir = 1),
	CALL(272, NAMESPACE, .keep0 = 1), CALL(308, NAMESPACE, .keep0 = 2),
	CALL(175, MODULE), CALL(313, MODULE), CALL(176, MODULE, .path = 1), CALL(246, MODULE), CALL(320, MODULE),
	CALL(310, VM_ACCESS, .keep0 = 1), CALL(311, VM_ACCESS, .keep0 = 1), CALL(438, VM_ACCESS, .keep0 = 1),
	CALL(105, IDENTITY, .keep0 = 1), CALL(106, IDENTITY, .keep0 = 1), CALL(113, IDENTITY, .keep0 = 2),
	CALL(117, IDENTITY, .keep0 = 2), CALL(119, IDENTITY, .keep0 = 2), CALL(126, IDENTITY),
	CALL(323, SPECIAL), CALL(298, SPECIAL), CALL(169, SPECIAL, .keep0 = 1), CALL(172, SPECIAL),
	CALL(167, SPECIAL, .path = 1), CALL(250, SPECIAL, .keep0 = 1),
	/* poll, brk, fcntl, futex, newfstatat and their like; in the 32-bit ABI chdir, time, getuid, access. */
	CALL(6, QUIET), CALL(7, QUIET), CALL(12, QUIET), CALL(13, QUIET), CALL(24, QUIET), CALL(25, QUIET),
	CALL(27, QUIET), CALL(28, QUIET), CALL(32, QUIET), CALL(33, QUIET), CALL(34, QUIET), CALL(35, QUIET),
	CALL(36, QUIET), CALL(48, QUIET), CALL(54, QUIET), CALL(55, QUIET), CALL(72, QUIET), CALL(73, QUIET),
	CALL(78, QUIET), CALL(79, QUIET), CALL(80, QUIET), CALL(89, QUIET), CALL(96, QUIET), CALL(97, QUIET),
	CALL(98, QUIET), CALL(99, QUIET), CALL(104, QUIET), CALL(107, QUIET), CALL(108, QUIET), CALL(131, QUIET),
	CALL(137, QUIET), CALL(158, QUIET), CALL(186, QUIET), CALL(191, QUIET), CALL(202, QUIET),
	CALL(218, QUIET), CALL(228, QUIET), CALL(229, QUIET), CALL(230, QUIET), CALL(232, QUIET), CALL(233, QUIET),
	CALL(262, QUIET), CALL(267, QUIET), CALL(269, QUIET), CALL(273, QUIET), CALL(281, QUIET), CALL(290, QUIET),
	CALL(291, QUIET), CALL(293, QUIET), CALL(318, QUIET), CALL(332, QUIET),
	CALL(435, QUIET), CALL(436, QUIET), CALL(439, QUIET), CALL(441, QUIET),
};
#define SYSCALL_NR(regs) ((long)(regs)->orig_ax)
#define OPENAT2_NR 437
#define CREAT_NR 85
#define RMDIR_NR 84
#define RECVMMSG_NR 299
#define SENDMMSG_NR 307
#elif defined(__TARGET_ARCH_arm64)
#define AG_CALLS 512
static const volatile struct call calls[AG_CALLS] = {
	CALL(63, READ, .fd = 1), CALL(67, READ, .fd = 1), CALL(65, READ, .fd = 1), CALL(69, READ, .fd = 1),
	CALL(286, READ, .fd = 1),
	CALL(64, WRITE, .fd = 1), CALL(68, WRITE, .fd = 1), CALL(66, WRITE, .fd = 1), CALL(70, WRITE, .fd = 1),
	CALL(287, WRITE, .fd = 1),
	CALL(71, SENDFILE, .fd = 1, .keep0 = 2), CALL(285, SENDFILE, .fd = 3, .keep0 = 1),
	CALL(76, SENDFILE, .fd = 3, .keep0 = 1),
	CALL(56, OPEN, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4), CALL(437, OPEN, .path = 2, .dir = 1),
	CALL(265, OPEN, .keep0 = 3), CALL(428, OPEN, .path = 2, .dir = 1, .keep0 = 3),
	CALL(35, UNLINK, .path = 2, .dir = 1, .keep0 = 3),
	CALL(38, RENAME, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3),
	CALL(276, RENAME, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3, .keep0 = 5),
	CALL(37, LINK, .path = 2, .dir = 1, .path2 = 4, .dir2 = 3, .keep0 = 5),
	CALL(36, SYMLINK, .path = 1, .path2 = 3, .dir2 = 2),
	CALL(45, TRUNCATE, .path = 1, .keep0 = 2), CALL(46, TRUNCATE, .fd = 1, .keep0 = 2),
	CALL(52, CHMOD, .fd = 1, .keep0 = 2), CALL(53, CHMOD, .path = 2, .dir = 1, .keep0 = 3),
	CALL(452, CHMOD, .path = 2, .dir = 1, .keep0 = 3),
	CALL(54, CHOWN, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4),
	CALL(55, CHOWN, .fd = 1, .keep0 = 2, .keep1 = 3),
	CALL(34, MKDIR, .path = 2, .dir = 1, .keep0 = 3),
	CALL(33, MKNOD, .path = 2, .dir = 1, .keep0 = 3, .keep1 = 4),
	CALL(198, SOCKET, .keep0 = 1, .keep1 = 2), CALL(203, CONNECT, .fd = 1), CALL(200, BIND, .fd = 1),
	CALL(201, LISTEN, .fd = 1), CALL(202, ACCEPT), CALL(242, ACCEPT), CALL(206, SENDTO, .fd = 1),
	CALL(211, SENDMSG, .fd = 1), CALL(269, SENDMMSG, .fd = 1), CALL(207, READ, .fd = 1),
	CALL(212, READ, .fd = 1), CALL(243, READ, .fd = 1),
	CALL(221, EXEC_FAILED, .path = 1), CALL(281, EXEC_FAILED, .path = 2, .dir = 1),
	CALL(129, SIGNAL, .keep0 = 1, .keep1 = 2), CALL(130, SIGNAL, .keep0 = 1, .keep1 = 2),
	CALL(131, SIGNAL, .keep0 = 1, .keep1 = 3), CALL(424, SIGNAL, .keep1 = 2),
	CALL(117, PTRACE, .keep0 = 1, .keep1 = 2), CALL(279, MEMFD, .path = 1, .keep0 = 2),
	CALL(280, BPF, .keep0 = 1), CALL(425, URING_SETUP, .keep0 = 1), CALL(427, URING_SETUP, .keep0 = 2),
	CALL(40, MOUNT, .path = 2, .keep0 = 4), CALL(39, MOUNT, .path = 1, .keep0 = 2),
	CALL(41, MOUNT, .path = 1), CALL(51, MOUNT, .path = 1), CALL(429, MOUNT, .path = 4, .dir = 3),
	CALL(430, MOUNT, .path = 1), CALL(432, MOUNT), CALL(442, MOUNT, .path = 2, .dir = 1),
	CALL(97, NAMESPACE, .keep0 = 1), CALL(268, NAMESPACE, .keep0 = 2),
	CALL(105, MODULE), CALL(273, MODULE), CALL(106, MODULE, .path = 1), CALL(104, MODULE), CALL(294, MODULE),
	CALL(270, VM_ACCESS, .keep0 = 1), CALL(271, VM_ACCESS, .keep0 = 1), CALL(438, VM_ACCESS, .keep0 = 1),
	CALL(146, IDENTITY, .keep0 = 1), CALL(144, IDENTITY, .keep0 = 1), CALL(145, IDENTITY, .keep0 = 2),
	CALL(147, IDENTITY, .keep0 = 2), CALL(149, IDENTITY, .keep0 = 2), CALL(91, IDENTITY),
	CALL(282, SPECIAL), CALL(241, SPECIAL), CALL(142, SPECIAL, .keep0 = 1), CALL(224, SPECIAL, .path = 1),
	CALL(219, SPECIAL, .keep0 = 1),
};
#define SYSCALL_NR(regs) ((long)(regs)->syscallno)
#define OPENAT2_NR 437
#define CREAT_NR 0xffff /* there is none */
#define RMDIR_NR 0xffff
#define RECVMMSG_NR 243
#define SENDMMSG_NR 269
#endif
