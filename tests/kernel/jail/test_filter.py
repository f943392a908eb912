"""The filter's programs, run in a small machine of our own: for both processors, whatever this one is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.kernel.jail._calls import NUMBERS, number_of
from agentguard.kernel.jail._filter import ALLOW, ERRNO, NOTIFY
from agentguard.kernel.jail._seccomp import REFUSED, SocketPolicy, program

ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NOT_THERE, REFUSAL = ERRNO | 38, NOTIFY
UNIX, INET, INET6, NETLINK, PACKET, VSOCK = 1, 2, 10, 16, 17, 40
STREAM, DGRAM, RAW, SEQPACKET, CLOEXEC = 1, 2, 3, 5, 0o2000000


def run(code: bytes, nr: int, arguments: tuple[int, ...] = (), arch: int = ARCHES["x86_64"]) -> int:
    """Return what the kernel would answer."""
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *(each & (1 << 64) - 1 for each in filled))
    at = word = 0
    for _ in range(len(code) // 8 + 1):
        operation, jump, otherwise, value = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        if operation == 0x20:
            word = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x54:
            word &= value
        elif operation == 0x06:
            return int(value)
        else:
            taken = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[operation]
            at += jump if taken else otherwise
    raise AssertionError(code)


def number(name: str, machine: str = "x86_64") -> int:
    found = number_of(name, machine)
    assert found is not None
    return found


@pytest.mark.parametrize("machine", ARCHES)
def test_each_call_that_no_agent_needs_is_refused_and_the_next_is_not(machine: str) -> None:
    code = program("none", notify=True, sealed=False, machine=machine)
    for name in REFUSED:
        nr = number_of(name, machine)
        if nr is not None:
            assert run(code, nr, arch=ARCHES[machine]) == REFUSAL, name
    known = {number_of(name, machine) for name in NUMBERS}
    for nr in range(470):
        if nr not in known:
            assert run(code, nr, arch=ARCHES[machine]) == ALLOW, nr


@pytest.mark.parametrize("machine", ARCHES)
def test_calls_of_another_processor_are_not_there(machine: str) -> None:
    code = program("none", notify=True, sealed=False, machine=machine)
    assert run(code, 0, arch=0x40000003) == NOT_THERE
    assert run(code, number("clone3", machine), arch=ARCHES[machine]) == NOT_THERE


def test_calls_of_x32_are_not_there() -> None:
    code = program("none", notify=True, sealed=False, machine="x86_64")
    assert run(code, 0x40000000 + number("ptrace")) == NOT_THERE
    assert run(code, 0x40000000) == NOT_THERE
    assert run(code, -1) == ALLOW


def test_without_a_supervisor_the_filter_answers_itself() -> None:
    code = program("none", notify=False, sealed=False, machine="x86_64")
    assert run(code, number("ptrace")) == ERRNO | 1


NOTHING: dict[SocketPolicy, bool] = {"none": False, "loopback": False, "guarded": False}
NETWORK: dict[SocketPolicy, bool] = {"none": False, "loopback": True, "guarded": True}
GUARDED: dict[SocketPolicy, bool] = {"none": False, "loopback": False, "guarded": True}


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (INET, STREAM, 0, NETWORK),
        (INET, STREAM | CLOEXEC, 6, NETWORK),
        (INET6, DGRAM, 17, NETWORK),
        (INET, STREAM, 262, NOTHING),
        (INET, RAW, 255, NOTHING),
        (INET, DGRAM, 1, NOTHING),
        (INET, SEQPACKET, 132, NOTHING),
        (NETLINK, RAW, 0, NETWORK),
        (NETLINK, RAW, 15, NOTHING),
        (UNIX, STREAM, 0, GUARDED),
        (UNIX, DGRAM, 0, GUARDED),
        (PACKET, RAW, 768, NOTHING),
        (PACKET, DGRAM, 0, NOTHING),
        (VSOCK, STREAM, 0, NOTHING),
        (38, SEQPACKET, 0, NOTHING),
        (0, STREAM, 0, NOTHING),
    ],
)
def test_only_the_sockets_of_the_list_are_made(
    family: int, kind: int, protocol: int, expected: dict[SocketPolicy, bool]
) -> None:
    for policy, allowed in expected.items():
        code = program(policy, notify=True, sealed=False, machine="x86_64")
        answer = run(code, number("socket"), (family, kind, protocol))
        assert answer == (ALLOW if allowed else REFUSAL), policy


def test_pair_of_sockets_cannot_send_elsewhere() -> None:
    code = program("none", notify=True, sealed=False, machine="x86_64")
    assert run(code, number("socketpair"), (UNIX, STREAM, 0)) == ALLOW
    assert run(code, number("socketpair"), (UNIX, DGRAM, 0)) == REFUSAL


@pytest.mark.parametrize(
    ("flags", "sealed", "answer"),
    [
        (0, False, REFUSAL),
        (1, False, REFUSAL),
        (8, False, ALLOW),
        (9, False, ALLOW),
        (0, True, ALLOW),
        (16, True, REFUSAL),
    ],
)
def test_file_in_memory_is_none_that_could_be_run(flags: int, sealed: bool, answer: int) -> None:  # noqa: FBT001 - a column
    code = program("none", notify=True, sealed=sealed, machine="x86_64")
    assert run(code, number("memfd_create"), (0, flags)) == answer


def test_new_processes_come_without_new_namespaces_and_nobody_types_for_the_user() -> None:
    code = program("none", notify=True, sealed=False, machine="x86_64")
    assert run(code, number("clone"), (0x01200011,)) == ALLOW
    assert run(code, number("clone"), (0x3D0F00,)) == ALLOW
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(code, number("clone"), (flag | 17,)) == REFUSAL
    assert run(code, number("ioctl"), (0, 0x5412)) == REFUSAL
    assert run(code, number("ioctl"), (0, 0xFFFFFFFF00005412)) == REFUSAL
    assert run(code, number("ioctl"), (0, 0x5401)) == ALLOW


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_filter_always_answers_one_of_three(nr: int, arguments: list[int]) -> None:
    code = program("loopback", notify=True, sealed=False, machine="x86_64")
    assert run(code, nr, tuple(arguments)) in {ALLOW, REFUSAL, NOT_THERE}
