"""System calls for which Python has no function."""

from __future__ import annotations

import ctypes
import os
import platform

from agentguard.core import KernelError

# name -> number on x86-64 and arm64; from 424 on they are the same everywhere. None: there is none.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "capset": (126, 91), "chroot": (161, 51),
    "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435), "close_range": (436, 436),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, None),
    "iopl": (172, None), "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104),
    "keyctl": (250, 219), "landlock_add_rule": (445, 445), "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446), "memfd_create": (319, 279), "modify_ldt": (154, None),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41), "process_madvise": (440, 440), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "reboot": (169, 142), "request_key": (249, 218), "seccomp": (317, 277), "setdomainname": (171, 162),
    "sethostname": (170, 161), "setns": (308, 268), "settimeofday": (164, 170), "socket": (41, 198),
    "socketpair": (53, 199), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
_MACHINES = {"x86_64": 0, "aarch64": 1}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Variadic: each argument is passed as a long, or the upper half of a register is what it was before.
_WORD = ctypes.c_long


def number_of(name: str, machine: str = "") -> int | None:
    """Return the number of a system call on this machine, or None where it has no such call.

    Raises:
        KernelError: the machine is neither x86-64 nor arm64 (`kernel_unsupported`).
    """
    column = _MACHINES.get(machine or platform.machine())
    if column is None:
        raise KernelError(
            f"no jail on `{platform.machine()}`",
            code="kernel_unsupported",
            hint="x86-64 and arm64 are supported",
        )
    return NUMBERS[name][column]


def call(name: str, *arguments: object) -> int:
    """Make a system call; texts and buffers are passed by reference.

    Raises:
        OSError: what the kernel answers.
    """
    number = number_of(name)
    assert number is not None, name
    words = [_WORD(each) if isinstance(each, int) else each for each in arguments]
    return _checked(int(_libc.syscall(_WORD(number), *words)), name)


def prctl(option: int, *arguments: int) -> int:
    """Call the one system call that has many options of its own.

    Raises:
        OSError: what the kernel answers.
    """
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _checked(int(_libc.prctl(option, *map(ctypes.c_ulong, padded))), "prctl")


def _checked(answer: int, name: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return answer
