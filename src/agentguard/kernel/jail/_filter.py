"""Classic BPF over `struct seccomp_data`: a few blocks, each of which decides about one system call."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16
ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
Instruction = tuple[int, int, int, int]


class Call(msgspec.Struct, frozen=True):
    """A system call with this number gets this answer, whatever its arguments are."""

    number: int
    answer: int


class Flags(msgspec.Struct, frozen=True):
    """It gets `answer` if its argument has one of `bits`, or, with `missing`, if it has none of them."""

    number: int
    argument: int
    bits: int
    answer: int
    missing: bool = False


class Values(msgspec.Struct, frozen=True):
    """It gets `answer` if its argument, as 32 bits, is one of `values`."""

    number: int
    argument: int
    values: tuple[int, ...]
    answer: int


class Kind(msgspec.Struct, frozen=True):
    """Sockets of a family, of these types, with these protocols."""

    family: int
    types: tuple[int, ...]
    protocols: tuple[int, ...]


class Sockets(msgspec.Struct, frozen=True):
    """`socket` or `socketpair` gets `answer` unless it asks for one of `kinds`."""

    number: int
    kinds: tuple[Kind, ...]
    answer: int


Block = Call | Flags | Values | Sockets


def assemble(blocks: Iterable[Block], *, arch: int, foreign: int, wide: int | None) -> bytes:
    """Return the program. Another `arch`, and numbers from `wide` on, get the answer `foreign`; the rest is allowed."""
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, foreign),
        (_LOAD, 0, 0, _NR),
    ]
    if wide is not None:
        # 0xFFFFFFFF is how a tracer says that the call is to be left out.
        code += [
            (_JUMP_EQUAL, 2, 0, 0xFFFFFFFF),
            (_JUMP_GREATER_EQUAL, 0, 1, wide),
            (_RETURN, 0, 0, foreign),
        ]
    for block in blocks:
        body = _body(block)
        assert len(body) < 256  # noqa: PLR2004 - what a jump reaches
        code += [(_JUMP_EQUAL, 0, len(body), block.number), *body]
    code.append((_RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def _body(block: Block) -> list[Instruction]:
    """Return instructions each path through which ends in an answer."""
    if isinstance(block, Call):
        return [(_RETURN, 0, 0, block.answer)]
    if isinstance(block, Sockets):
        return _sockets(block)
    # The kernel takes these arguments as 32 bits; the lower half comes first on both machines.
    load = (_LOAD, 0, 0, _ARGS + 8 * block.argument)
    allowed, refused = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, block.answer)
    if isinstance(block, Flags):
        first, second = (allowed, refused) if block.missing else (refused, allowed)
        return [load, (_JUMP_ANY_BIT, 0, 1, block.bits), first, second]
    tests: list[Instruction] = []
    for value in block.values:
        tests += [(_JUMP_EQUAL, 0, 1, value), refused]
    return [load, *tests, allowed]


def _sockets(block: Sockets) -> list[Instruction]:
    allowed, refused = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, block.answer)
    code: list[Instruction] = [(_LOAD, 0, 0, _ARGS)]
    for kind in block.kinds:
        # Beside the type stand SOCK_CLOEXEC and SOCK_NONBLOCK.
        body: list[Instruction] = [(_LOAD, 0, 0, _ARGS + 8), (_AND, 0, 0, 0xF)]
        last = len(kind.types) - 1
        for index, each in enumerate(kind.types):
            # The right type jumps over the other types, and over the refusal.
            body.append((_JUMP_EQUAL, last - index + 1, 0, each))
        body += [refused, (_LOAD, 0, 0, _ARGS + 16)]
        for protocol in kind.protocols:
            body += [(_JUMP_EQUAL, 0, 1, protocol), allowed]
        body.append(refused)
        code += [(_JUMP_EQUAL, 0, len(body), kind.family), *body]
    return [*code, refused]
