"""What a kernel policy comes to on this machine, now: grants, masks and marks, each file system looked at once."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel._rules import KernelPolicy, PathAccess, PathRule
from agentguard.kernel.jail._landlock import RIGHTS, Grant, Inode, carve, device_rights, inode_of
from agentguard.kernel.jail._namespaces import Mask
from agentguard.kernel.jail._seccomp import SocketPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OWN_RULE = "agentguard.own"
_MAX_MASKS = 512
_MAX_LOOKED_AT, _MAX_ENTRIES = 1_000, 100
_MAX_LINK_SEARCH = 400_000


class Plan(msgspec.Struct, frozen=True):
    """What the jail does. `notes` say what of the policy is held more strictly than written, or not at all."""

    grants: tuple[Grant, ...]
    masks: tuple[Mask, ...]
    marks: tuple[str, ...]
    sockets: SocketPolicy
    notes: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """A rule with the path that its own resolves to on this machine."""

    path: str
    rule: PathRule

    @property
    def permits(self) -> bool:
        """Whether it gives access."""
        return self.rule.effect == "allow"


def resolve(policy: KernelPolicy) -> list[Found]:
    """Return the policy's rules about files, symbolic links followed, the deepest path first."""
    found = [Found(os.path.realpath(each.path), each) for each in policy.paths]
    # A rule about a link is about the link's own place as well.
    found += [Found(each.path, each) for each in policy.paths if os.path.realpath(each.path) != each.path]
    return sorted(found, key=lambda each: (-len(each.path), each.permits))


def decide(found: Sequence[Found], path: str, access: PathAccess) -> PathRule | None:
    """Return the rule that decides about a path: the deepest one, of two the one that forbids. None: no rule allows."""
    for each in found:
        if access in each.rule.access and is_within(path, each.path):
            return each.rule
    return None


def is_within(path: str, tree: str) -> bool:
    """Tell whether `path` is `tree` or beneath it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def make_plan(policy: KernelPolicy, *, can_mask: bool, sockets: SocketPolicy) -> Plan:
    """Return what `policy` comes to here; `can_mask` where there is a mount namespace.

    Raises:
        KernelError: it cannot be held on this machine (`policy_unenforceable`).
    """
    found = resolve(policy)
    shut = [each for each in found if not each.permits and os.path.lexists(each.path)]
    inodes = _inodes(found, shut)
    builder = _Builder(found, shut, frozenset(inodes), can_mask=can_mask)
    try:
        for each in found:
            if each.permits:
                builder.allow(each)
    except OSError as error:
        raise KernelError(
            f"`{error.filename}` cannot be carved out of what is allowed: {(error.strerror or '').lower()}",
            code="policy_unenforceable",
            hint="allow a smaller folder",
        ) from None
    linked = {inode for inode, count in inodes.items() if count > 1}
    builder.shut_links(linked)
    marks = _marks(found, shut)
    masks = tuple(sorted(set(builder.masks), key=lambda mask: mask.path))
    if len(masks) > _MAX_MASKS:
        raise KernelError(
            f"{len(masks)} files would have to be hidden within what may be changed",
            code="policy_unenforceable",
            hint="allow a smaller folder with `--rw`",
        )
    return Plan(
        tuple(dict.fromkeys(builder.grants)),
        masks,
        tuple(marks),
        sockets,
        tuple(dict.fromkeys(builder.notes)),
    )


class _Builder:
    """Collects what the rules come to."""

    def __init__(
        self, found: list[Found], shut: list[Found], inodes: frozenset[Inode], *, can_mask: bool
    ) -> None:
        self.grants: list[Grant] = []
        self.masks: list[Mask] = []
        self.notes: list[str] = []
        self._shut, self._inodes, self._can_mask = shut, inodes, can_mask
        self._permits = [each for each in found if each.permits]

    def allow(self, given: Found) -> None:
        """Grant what a rule gives, without what others shut beneath it.

        Raises:
            OSError: a folder cannot be looked through.
        """
        path, accesses = given.path, given.rule.access
        if not os.path.lexists(path):
            return
        whole = self._masked(path) if "write" in accesses and self._can_mask else frozenset[str]()
        for access in accesses:
            beneath = [each.path for each in self._shut_for(path, access) if each.path not in whole]
            if path in beneath:
                continue
            if beneath and access == "write":
                self.notes.append(
                    f"nothing new can be made in `{path}` beside what is shut there: this system lets no mounts be made"
                )
            rights = RIGHTS[access] | (device_rights() if _is_device(path) else 0)
            self.grants += carve(path, rights, frozenset(beneath), self._inodes)

    def _shut_for(self, path: str, access: PathAccess) -> Iterator[Found]:
        return (each for each in self._shut if access in each.rule.access and is_within(each.path, path))

    def _masked(self, path: str) -> frozenset[str]:
        """Mask what is shut beneath a path, where nothing deeper is allowed again, and return those paths."""
        done: set[str] = set()
        for each in self._shut:
            if each.path == path or not is_within(each.path, path) or self._opened_again(each):
                continue
            readable = "read" not in each.rule.access
            self.masks.append(Mask(each.path, readable))
            done.add(each.path)
        return frozenset(done)

    def _opened_again(self, shut: Found) -> bool:
        return any(is_within(each.path, shut.path) and each.path != shut.path for each in self._permits)

    def shut_links(self, linked: set[Inode]) -> None:
        """Shut other names that shut files have within what is allowed: rules of Landlock are about inodes.

        It is looked for only where a shut file has other names at all.
        """
        if not linked:
            return
        # Nobody but root puts a link into what is only read there.
        trees = [
            each.path
            for each in self._permits
            if ("write" in each.rule.access or each.rule.rule.startswith("--"))
            and not is_within(each.path, "/dev")
        ]
        for path in _links(trees, linked):
            if any(is_within(path, each.path) for each in self._shut if "read" in each.rule.access):
                continue
            if self._can_mask:
                self.masks.append(Mask(path, readable=False))
            else:
                self.grants = list(_without(self.grants, path, self._inodes))
            self.notes.append(f"`{path}` is another name of a file that is shut, and is shut with it")


def _marks(found: Iterable[Found], shut: Iterable[Found]) -> list[str]:
    """Return what is to be asked about at each open: denied files, denied folders and what is in them.

    AgentGuard itself opens its own all the time. Of a folder in which nothing is allowed from above, its own entries are
    enough: what is deeper has no name but beneath it.
    """
    permits = [each.path for each in found if each.permits]
    marks: dict[str, None] = {}
    for each in shut:
        if each.rule.rule == OWN_RULE or not {"read", "execute"} & set(each.rule.access):
            continue
        is_given = any(is_within(each.path, tree) for tree in permits)
        most = _MAX_LOOKED_AT if is_given else _MAX_ENTRIES
        for path in _beneath(each.path, most, deep=is_given):
            marks[path] = None
    return list(marks)


def _without(grants: Iterable[Grant], path: str, inodes: frozenset[Inode]) -> Iterator[Grant]:
    for each in grants:
        if is_within(path, each.path):
            yield from carve(each.path, each.rights, frozenset((path,)), inodes)
        else:
            yield each


def _inodes(found: Iterable[Found], shut: Iterable[Found]) -> dict[Inode, int]:
    """Return what is shut by inode, with how many names each has."""
    permits = [each.path for each in found if each.permits]
    inodes: dict[Inode, int] = {}
    for each in shut:
        if "read" not in each.rule.access:
            continue
        is_given = any(is_within(each.path, tree) for tree in permits)
        for path in _beneath(each.path, _MAX_LOOKED_AT if is_given else _MAX_ENTRIES):
            try:
                status = os.lstat(path)
            except OSError:
                continue
            names = status.st_nlink if stat.S_ISREG(status.st_mode) else 1
            inodes[status.st_dev, status.st_ino] = names
    return inodes


def _beneath(path: str, most: int, *, deep: bool = True) -> Iterator[str]:
    """Yield a path and up to `most` of what is beneath it."""
    yield path
    count = 0
    if not Path(path).is_dir() or Path(path).is_symlink():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            count += 1
            if count > most:
                return
            yield f"{folder}/{name}"
        if not deep:
            return


def _links(trees: Iterable[str], linked: set[Inode]) -> Iterator[str]:
    devices = {device for device, _ in linked}
    looked_at = 0
    for tree in dict.fromkeys(trees):
        for folder, folders, files in os.walk(tree):
            try:
                if os.lstat(folder).st_dev not in devices:
                    folders.clear()
                    continue
            except OSError:
                continue
            looked_at += len(files)
            if looked_at > _MAX_LINK_SEARCH:
                raise KernelError(
                    "a file that is shut has other names, and what is allowed is too large to look for them",
                    code="policy_unenforceable",
                    hint="allow smaller folders, or remove the other hard links of the files that are shut",
                )
            for name in files:
                if inode_of(f"{folder}/{name}") in linked:
                    yield f"{folder}/{name}"


def _is_device(path: str) -> bool:
    return is_within(path, "/dev")
