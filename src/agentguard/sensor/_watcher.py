"""Watches agents that nobody launched: finds their cgroups, follows what they do, puts it into the buffer."""

from __future__ import annotations

import contextlib
import itertools
import logging
import operator
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import Event, EventKind, KernelError
from agentguard.kernel import Cgroup, Handover, find_mount
from agentguard.sensor._account import Account
from agentguard.sensor._discovery import look
from agentguard.sensor._folders import FolderNews
from agentguard.sensor._stream import Report, encode_report, key_of

if TYPE_CHECKING:
    from agentguard.kernel import Observer, Seen
    from agentguard.sensor._discovery import Found, Rules
    from agentguard.sensor._pods import Pod, PodDirectory
    from agentguard.sensor._spool import Spool
    from agentguard.sensor._stream import Agent

MAX_AGENTS = 512
MAX_DEPTH = 8
_LOOK_EVERY_S = 2.0
# Looking may take this share of the time, however many cgroups come and go.
_IDLE_SHARE = 4
_COLLECT_EVERY_S = 2.0
_SYNC_EVERY_S = 1.0
# What was under way when a cgroup went has arrived by then.
_AFTERWARDS_S = 2.0
_log = logging.getLogger("agentguard.sensor")


class Watcher:
    """Two threads: one looks for agents, one takes what `put` gives and writes what is new to `spool`.

    `root_level` is how deep the mounted cgroup hierarchy begins; `sensor` names the sensor in records.
    """

    def __init__(
        self, observer: Observer, spool: Spool, rules: Rules, *, root_level: int, sensor: str
    ) -> None:
        self.errors = 0
        self.pods: PodDirectory | None = None
        self._observer, self._spool, self._rules = observer, spool, rules
        self._root_level, self._sensor = root_level, sensor
        self._mount = find_mount()
        self._accounts: dict[int, Account] = {}
        self._refused: set[str] = set()
        self._has_new_rules = False
        self._inbox = Handover()
        self._told_skipped = 0
        self._pod_problem = ""
        self._pending: list[tuple[str, bytes, bool]] = []
        self._news = FolderNews()
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._finder = threading.Thread(target=self._find, name="agentguard-finder", daemon=True)
        self._writer = threading.Thread(target=self._write, name="agentguard-agents", daemon=True)

    def start(self) -> None:
        """Begin; who is there already is watched when this returns."""
        if self._rules:
            self._look()
        self._writer.start()
        self._finder.start()
        if self.pods is not None:
            self.pods.start()

    def set_rules(self, rules: Rules) -> None:
        """Watch by other rules: who is of no principal that they name, or of another one now, is let go."""
        self._rules, self._has_new_rules = rules, True
        self.look_again()

    def look_again(self) -> None:
        """Look for agents now."""
        self._news.wake()

    def agents(self) -> list[Agent]:
        """Return who is watched."""
        return [
            msgspec.structs.replace(each.agent, dropped=self._spool.dropped_of[each.key])
            for each in list(self._accounts.values())
            if not each.gone_at
        ]

    def _share_out(self) -> None:
        self._spool.set_agents(each.key for each in list(self._accounts.values()))

    @property
    def skipped(self) -> int:
        """How many opens of files were left out, since too much waited in this process."""
        return self._inbox.skipped + self._observer.handover.skipped

    def put(self, batch: list[Seen]) -> None:
        """Take what was seen, of agents and others; for one thread."""
        ours = [each for each in batch if each.cgroup in self._accounts]
        if ours:
            self._inbox.put(ours)

    def tell(self, phase: str, *, alert: str = "", **facts: Any) -> None:
        """Have a record go to the audit log, and with `alert` an event of this action to the store as well."""
        now = datetime.now(UTC)
        record = {
            "type": "sensor",
            "phase": phase,
            "sensor": self._sensor,
            "happened": now.isoformat(),
            **facts,
        }
        event = None
        if alert:
            event = Event(
                f"{self._sensor}-{time.time_ns():x}", EventKind.ALERT, now, payload={"action": alert, **facts}
            )
        self._spool.append([(encode_report(Report(event, None, record)), True)])

    def tell_dropped(self, kind: str, count: int) -> None:
        """Say that records found no room, and where."""
        self.tell("dropped", alert="events.dropped", kind=kind, count=count)

    def stop(self) -> None:
        """Watch nobody any more; everything that was seen until now is in the buffer when this returns. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._news.wake()
        if self._finder.is_alive():
            self._finder.join(10)
        for each in list(self._accounts.values()):
            self._observer.unwatch(each.cgroup)

    def drain(self) -> None:
        """Write what `put` has taken, and end; nothing is put after this. Idempotent."""
        self._drained.set()
        if self._writer.is_alive():
            self._writer.join(10)
        if self.pods is not None:
            self.pods.stop()
        for each in self._accounts.values():
            each.cgroup.let_go()
        self._accounts.clear()
        self._news.close()

    def _find(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(_LOOK_EVERY_S)
            began = time.monotonic()
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the thread must go on: agents that come later are to be found
                self.errors += 1
                _log.exception("looking for agents failed")
            self._stopping.wait((time.monotonic() - began) * _IDLE_SHARE)

    def _look(self) -> None:
        has_new_rules, self._has_new_rules = self._has_new_rules, False
        if has_new_rules:
            self._refused.clear()
        found = {
            each.path: each
            for each in look(
                self._mount,
                self._rules,
                most_depth=MAX_DEPTH - self._root_level,
                find_pod=self._find_pod,
                on_folder=self._news.add,
            )
        }
        known = {each.agent.cgroup: each for each in list(self._accounts.values()) if not each.gone_at}
        for path, account in known.items():
            # Who has lost its label is watched on; what counts is whether its cgroup is there.
            is_meant = not has_new_rules or self._is_meant(account, found.get(path))
            if not is_meant or not _is_there(account, found.get(path), self._mount / path.lstrip("/")):
                self._retire(account)
                known = {name: each for name, each in known.items() if each is not account}
        self._refused &= found.keys()
        for path, each in found.items():
            if path not in known and path not in self._refused and not self._stopping.is_set():
                self._adopt(each)
        if self.pods is not None and self.pods.problem != self._pod_problem:
            self._pod_problem = self.pods.problem
            if self._pod_problem:
                self.tell("degraded", alert="sensor.degraded", reason=self._pod_problem)

    def _is_meant(self, account: Account, found: Found | None) -> bool:
        """Tell whether the rules still want this agent watched as who it is."""
        principal = account.agent.principal
        return principal in self._rules.principals if found is None else found.principal == principal

    def _find_pod(self, uid: str, container: str) -> Pod | None:
        return None if self.pods is None else self.pods.find(uid=uid, container=container)

    def _adopt(self, found: Found) -> None:
        try:
            cgroup = Cgroup(found.folder)
        except OSError:
            return  # it is gone already
        account = Account(found, cgroup, self._take)
        # Who was another principal's until now.
        former = self._accounts.get(cgroup.id)
        try:
            if len(self._accounts) >= MAX_AGENTS:
                raise KernelError(f"more than {MAX_AGENTS} agents", code="sensor_full")  # noqa: TRY301 - one place says so
            self._observer.loaded.add_level(self._root_level + found.depth)
            self._accounts[cgroup.id] = account
            missing = set(self._observer.missing)
            self._observer.watch(cgroup)
        except KernelError as error:
            self._accounts.pop(cgroup.id, None)
            cgroup.let_go()
            if error.code == "cgroup_gone":
                return
            self._refused.add(found.path)
            _log.error("`%s` is not watched: %s", found.path, error.message)
            self.tell(
                "refused",
                alert="sensor.refused",
                principal=found.principal,
                cgroup=found.path,
                reason=error.message,
            )
            return
        for name in set(self._observer.missing) - missing:
            self.tell("degraded", alert="sensor.degraded", reason=f"{name}: {self._observer.missing[name]}")
        if former is not None:
            former.cgroup.let_go()
        self._share_out()
        agent = account.agent
        _log.info("watching %s in %s", agent.principal, agent.cgroup)
        # What these did before is not known.
        self.tell(
            "watching", principal=agent.principal, session=agent.session, cgroup=agent.cgroup,
            processes=len(cgroup.pids()), **agent.labels,
        )  # fmt: skip

    def _retire(self, account: Account) -> None:
        self._observer.unwatch(account.cgroup)
        account.gone_at = time.monotonic()
        agent = account.agent
        self.tell("gone", principal=agent.principal, session=agent.session, cgroup=agent.cgroup)

    def _take(self, report: Report, is_vital: bool) -> None:  # noqa: FBT001 - as `Account` calls it
        event = report.event
        key = key_of(event.principal, event.session or "") if event is not None else ""
        self._pending.append((key, encode_report(report), is_vital))

    def _hand_over(self) -> None:
        """Put what is pending into the buffer, in its order; what follows on one another of one agent at once."""
        for key, group in itertools.groupby(self._pending, key=operator.itemgetter(0)):
            self._spool.append([(body, is_vital) for _, body, is_vital in group], agent=key)
        self._pending = []

    def _write(self) -> None:
        next_sync, next_collection = 0.0, time.monotonic() + _COLLECT_EVERY_S
        while True:
            # INVARIANT: asked before the inbox is looked at, or what comes in between is left there.
            is_drained = self._drained.is_set()
            batch = self._inbox.take(0.1)
            with self._counted("what was seen could not be told"):
                for seen in batch:
                    account = self._accounts.get(seen.cgroup)
                    if account is not None:
                        account.note(seen)
            now = time.monotonic()
            is_last = not batch and is_drained
            if is_last or now > next_collection:
                next_collection = now + _COLLECT_EVERY_S
                with self._counted("what was moved could not be told"):
                    self._collect(now)
            self._hand_over()
            if is_last or now > next_sync:
                next_sync = now + _SYNC_EVERY_S
                self._tell_skipped()
                self._spool.sync()
            if is_last:
                return

    def _collect(self, now: float) -> None:
        for cgroup_id, each in list(self._accounts.items()):
            each.collect(self._observer)
            is_over = each.gone_at and now - each.gone_at > _AFTERWARDS_S
            if is_over and self._accounts.get(cgroup_id) is each:
                del self._accounts[cgroup_id]
                self._observer.forget(each.cgroup)
                each.cgroup.let_go()
                self._share_out()

    def _tell_skipped(self) -> None:
        if skipped := self.skipped - self._told_skipped:
            self._told_skipped += skipped
            self.tell_dropped("file", skipped)

    @contextlib.contextmanager
    def _counted(self, what: str) -> Any:
        try:
            yield
        except Exception:  # noqa: BLE001 - the thread must go on: what fails is counted, and shown as an error
            self.errors += 1
            _log.exception(what)


def _is_there(account: Account, found: Found | None, folder: Any) -> bool:
    """Tell whether the cgroup of an account is still the one in its place."""
    try:
        return (found.folder if found else folder).stat().st_ino == account.cgroup.id
    except OSError:
        return False
