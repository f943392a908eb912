"""The compiled BPF objects that ship in the package, checked against their manifest."""

from __future__ import annotations

import hashlib
import platform
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import IntegrityError, KernelError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

# As `bpf/*.bpf.c`; the first is what the others build on.
NAMES = ("syscalls", "process", "uring", "dns")
# Those that enforce; each is loaded by whoever attaches it.
ENFORCING = ("net", "lsm")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object of the manifest."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was built from which sources, by which compiler."""

    compiler: str
    flags: tuple[str, ...]
    sources: str
    objects: dict[str, Entry]


def folder() -> Traversable:
    """Return where the objects are."""
    return resources.files("agentguard.kernel") / "objects"


def read_manifest() -> Manifest:
    """Return the manifest.

    Raises:
        IntegrityError: it is not there or not as it was written (`bpf_object_changed`).
    """
    try:
        return msgspec.json.decode((folder() / "manifest.json").read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        raise _changed("manifest.json") from None


def read_object(name: str, machine: str | None = None) -> bytes:
    """Return one object for this machine, or for another.

    Raises:
        KernelError: there is none for this machine (`kernel_unsupported`).
        IntegrityError: its bytes are not those of the manifest (`bpf_object_changed`).
    """
    machine = machine or platform.machine()
    entry = read_manifest().objects.get(path := f"{machine}/{name}.bpf.o")
    if entry is None:
        raise KernelError(
            f"there are no BPF programs for `{machine}`",
            code="kernel_unsupported",
            hint="x86_64 and aarch64 are supported",
        )
    try:
        content = (folder() / path).read_bytes()
    except OSError:
        raise _changed(path) from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise _changed(path)
    return content


def _changed(path: str) -> IntegrityError:
    return IntegrityError(
        f"the BPF object `{path}` is not the one that was shipped",
        code="bpf_object_changed",
        hint="install the package again",
    )
