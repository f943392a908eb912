"""What a decision let an agent do, in the terms in which the kernel tells what was done: files, hosts, programs."""

from __future__ import annotations

import posixpath
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentguard.events._deeds import Deed

_VERSION = re.compile(r"[-.0-9]+\Z")
# Who runs a command line runs a shell for it.
_SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "busybox", "env"))
# A tree this near to the root says too little about what is meant.
_MIN_PARTS = 2


class Claim(msgspec.Struct, frozen=True):
    """One decision: who asked for what, and between which moments (seconds since 1970) it may be done.

    `principals` are who asked and, where an execution ticket was issued, the executor it was issued to. `run` and
    `pid` are what the asking process said of itself; empty and zero where it said nothing. Paths are as they
    were asked for: absolute, or relative to a folder that only the tool knows; programs are names without a version.
    """

    audit_id: str
    principals: frozenset[str]
    session: str
    run: str
    pid: int
    action: str
    resource: str
    effect: str
    since: float
    until: float
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()
    programs: frozenset[str] = frozenset()

    @property
    def is_allowed(self) -> bool:
        """Whether the decision let it through."""
        return self.effect in {"allow", "transform"}

    def speaks_of(self, family: str) -> bool:
        """Tell whether it says anything about files, hosts or programs."""
        if family == "file":
            return bool(self.reads or self.writes)
        return bool(self.hosts if family == "host" else self.programs)

    def covers(self, deed: Deed) -> bool:
        """Tell whether what was done is what was asked for, or a part of it."""
        if deed.family == "file":
            paths = self.writes if deed.writes else self.reads | self.writes
            return any(_covers_path(each, deed) for each in paths) or self._runs(deed.parents)
        if deed.family == "host":
            if self.ports and deed.port and deed.port not in self.ports:
                return False
            return not self.hosts.isdisjoint(deed.hosts)
        return self._runs((deed.program, *deed.parents)) or (
            bool(self.programs) and _plain(deed.program) in _SHELLS
        )

    def _runs(self, programs: Iterable[str]) -> bool:
        return any(_plain(each) in self.programs for each in programs)


def claim_of(record: Mapping[str, Any], facts: Mapping[str, Any], *, window_s: float) -> Claim:
    """Return what a decision's record in the audit log claims; `facts` are those of its arguments.

    It holds for `window_s` seconds, or until its outcome is known.
    """
    context = record.get("context") or {}
    attributes = context.get("attributes") or {}
    since = seconds(record["timestamp"])
    accesses, paths = facts.get("path.access", ()), frozenset(facts.get("path.value", ()))
    principals = {str(record["principal"]), str((record.get("ticket") or {}).get("aud", ""))} - {""}
    pid = attributes.get("claimed_pid", 0)
    return Claim(
        audit_id=str(record.get("event_id", "")),
        principals=frozenset(principals),
        session=str(context.get("session", "")),
        run=str(attributes.get("claimed_run", "")),
        pid=pid if isinstance(pid, int) else 0,
        action=str(record["action"]),
        resource=str(record["resource"]),
        effect=str(record["effect"]),
        since=since,
        until=since + window_s,
        reads=frozenset(facts.get("shell.reads", ())) | (paths if "read" in accesses else frozenset()),
        writes=frozenset(facts.get("shell.writes", ())) | (paths if "write" in accesses else frozenset()),
        hosts=frozenset(_same_host(each) for each in facts.get("net.host", ())),
        ports=frozenset(facts.get("net.port", ())),
        programs=frozenset(_plain(each) for each in facts.get("shell.commands", ())),
    )


def seconds(timestamp: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def _same_host(host: str) -> str:
    return "localhost" if host in {"localhost", "::1"} or host.startswith("127.") else host


def _plain(program: str) -> str:
    """Return a program's name without folder and version: `python3` and `/usr/bin/python3.11` are one."""
    return _VERSION.sub("", posixpath.basename(program))


def _covers_path(claimed: str, deed: Deed) -> bool:
    path, claimed = deed.path, claimed.rstrip("/")
    parts = [each for each in claimed.split("/") if each not in {"", "."}]
    if not parts or parts[0] == "..":
        return False
    if claimed.startswith("/"):
        return (
            path == claimed
            or (len(parts) >= _MIN_PARTS and path.startswith(claimed + "/"))
            or (deed.writes and _is_draft(path, claimed))
        )
    relative = "/".join(parts)
    return (
        path.endswith("/" + relative)
        or f"/{relative}/" in path
        or (deed.writes and _is_draft(path, relative))
    )


def _is_draft(path: str, claimed: str) -> bool:
    """Tell whether `path` is a temporary file beside what is written, as those have it who replace files whole."""
    folder, _, name = path.rpartition("/")
    meant, _, claimed_name = claimed.rpartition("/")
    here = folder == meant if claimed.startswith("/") else folder.endswith(meant)
    return here and name != claimed_name and claimed_name in name
