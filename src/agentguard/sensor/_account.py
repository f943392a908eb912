"""The account of one agent that nobody launched: each new thing that it does becomes a report."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import EventKind, Principal
from agentguard.kernel import Judge, Kind, Tally, clock_offset_ns, event_of
from agentguard.sensor._stream import Agent, Ask, Report, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel import Cgroup, Observer, ProcessTree, Seen, Verdict, Wish
    from agentguard.sensor._discovery import Found

MAX_KNOWN = 20_000
MAX_LISTED = 5_000
_SWEEP_EVERY = 30  # collections
# What an agent does again is told again after so long: then it may be something that nobody asked for any more. Files
# are many, and of those that are opened again the kernel tells nothing anyway.
_AGAIN_NS, _FILE_AGAIN_NS = 250_000_000, 3_600_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TICKS_NS = 10_000_000  # of /proc/PID/stat; USER_HZ is 100 on every machine that we run on
_START_FIELD = 19  # of what stands after the name in /proc/PID/stat, counted from 0


def session_of(cgroup_id: int) -> str:
    """Return the name of an agent's session: the same for a cgroup until it is gone, whoever watches it."""
    boot = _BOOT_ID.read_text(encoding="utf-8").strip() if _BOOT_ID.exists() else ""
    return hashlib.sha256(f"{boot}:{cgroup_id}".encode()).hexdigest()[:16]


class Account:
    """What one agent does, told to `tell` with whether it is vital. For one thread."""

    def __init__(self, found: Found, cgroup: Cgroup, tell: Callable[[Report, bool], None]) -> None:
        self.cgroup = cgroup
        self.agent = Agent(
            found.principal, session_of(cgroup.id), found.path, datetime.now(UTC), dict(found.labels)
        )
        self.key = key_of(self.agent.principal, self.agent.session)
        self.gone_at = 0.0
        judge = Judge(None, principal=Principal(found.principal), run=self.agent.session)
        self._teller = _Teller(self.agent, tell)
        self._tally = Tally(judge, self._teller)
        self._collected: set[tuple[int, int]] = set()
        self._collections = 0

    def note(self, seen: Seen) -> None:
        """Take in one thing that was seen."""
        if seen.kind != Kind.DNS:
            process = self._tally.tree.of(seen)
            if not process.program:
                # It ran before it was watched, so nothing told which program it is.
                process.program = _program_of(seen.pid, seen.start_ns) or "?"
        self._tally.note(seen)
        if self._tally.size > MAX_LISTED:
            self._tally.forget()

    def collect(self, observer: Observer) -> None:
        """Look what moved through sockets, and make room in the kernel for those of others."""
        ended = set(self._tally.tree.take_ended())
        fresh = ended - self._collected
        self._collected = ended
        if fresh:
            self._tally.note_traffic(observer.traffic(self.cgroup, fresh))
        if self._tally.is_waiting:
            self._tally.note_traffic(observer.traffic(self.cgroup))
        self._collections += 1
        if self._collections % _SWEEP_EVERY == 0:
            # Of very many that ended at once the tree has forgotten some.
            observer.forget(self.cgroup, unless=lambda pid: Path(f"/proc/{pid}").exists())
        self._teller.set_clock()


class _Teller:
    """Makes reports, each different thing once in a while."""

    def __init__(self, agent: Agent, tell: Callable[[Report, bool], None]) -> None:
        self._agent, self._tell = agent, tell
        # By hash: what an agent writes into its arguments may be long.
        self._known: dict[int, int] = {}
        self.set_clock()

    def set_clock(self) -> None:
        self._offset_ns = clock_offset_ns()

    def note(self, seen: Seen, tree: ProcessTree, wish: Wish, _: Verdict | None) -> None:
        key = hash((wish.action, wish.resource, repr(wish.params), tree.of(seen).program))
        told = self._known.pop(key, None)
        again_ns = _FILE_AGAIN_NS if wish.action.startswith("file.") else _AGAIN_NS
        if told is not None and seen.time_ns < told + again_ns:
            self._known[key] = told
            return
        if len(self._known) >= MAX_KNOWN:
            # The oldest half goes; a dictionary keeps the order of insertion.
            for old in list(self._known)[: MAX_KNOWN // 2]:
                del self._known[old]
        self._known[key] = seen.time_ns
        self._say(seen, tree, Ask(wish.action, wish.resource, wish.params, wish.known))

    def note_attempt(self, seen: Seen, tree: ProcessTree, wish: Wish, _: Verdict | None) -> None:
        self._say(seen, tree, Ask(wish.action, wish.resource, wish.params, wish.known))

    def _say(self, seen: Seen, tree: ProcessTree, ask: Ask | None) -> None:
        agent = self._agent
        event = event_of(seen, tree, principal=agent.principal, run=agent.session, offset_ns=self._offset_ns)
        more: dict[str, object] = {"cgroup": agent.cgroup, **agent.labels}
        suffix = ""
        if ask is not None:
            # One thing that was seen can be two actions, as a rename is.
            suffix = f"-{ask.action}"
            more |= {"action": ask.action, "resource": ask.resource}
        event = msgspec.structs.replace(
            event, event_id=event.event_id + suffix, payload={**more, **event.payload}
        )
        self._tell(Report(event, ask), event.kind is not EventKind.FILE)


def _program_of(pid: int, start_ns: int) -> str:
    """Return the program of a process that runs, if it is still the one that began then."""
    folder = Path(f"/proc/{pid}")
    try:
        name, _, rest = (folder / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        if abs(int(rest.split()[_START_FIELD]) * _TICKS_NS - start_ns) > 2 * _TICKS_NS:
            return ""
        first = (folder / "cmdline").read_bytes().partition(b"\0")[0].decode("utf-8", "backslashreplace")
    except (OSError, ValueError, IndexError):
        return ""
    # Which file it is only its owner may ask; what it was started as is what it says of itself.
    return first if first.startswith("/") else name
