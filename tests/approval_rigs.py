"""Engines for the suites about approvals, and the processes in which they are killed.

A rig opens an engine on what stands in a folder, as often as asked, with a `KillSwitch` that ends the process at
one of its steps. To add an engine, add a rig.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from agentguard.approvals import EmbeddedEngine, Rules
from agentguard.audit import SegmentLog
from agentguard.backends import (
    MemoryApprovalStore,
    PostgresApprovalStore,
    RedisApprovalStore,
    SqliteApprovalStore,
    TemporalEngine,
    TemporalServer,
    TemporalWorker,
)
from agentguard.core import ApprovalError, AuditError, CastVote, Consume, Dispatch, Finish
from approval_scene import ANNA, BEN, BOTH, HERE, PEOPLE, draft
from approval_services import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from agentguard.core import Approval, ApprovalEngine, ApprovalStore, AuditLog, Clock


class KillSwitch:
    """Kills at its `at`-th step, 0 never: this process, or the server `victim` and its children."""

    def __init__(self, at: int = 0, victim: int = 0) -> None:
        self._at = at
        self._victim = victim
        self._lock = threading.Lock()
        self.steps = 0

    def step(self) -> None:
        with self._lock:
            self.steps += 1
            is_now = self.steps == self._at
        if not is_now:
            return
        for pid in (self._victim, *children(self._victim)) if self._victim else (os.getpid(),):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def is_spent(self) -> bool:
        """Whether it has killed."""
        return 0 < self._at <= self.steps

    def around(self, call: Callable[[], Any]) -> Any:
        """Make a call with a step before it and one after it."""
        self.step()
        result = call()
        self.step()
        return result


class Rig(Protocol):
    """One kind of engine; `service` is the fixture of the server that it needs, empty for none."""

    is_durable: bool
    service: str

    def open(
        self, folder: Path, *, audit: AuditLog, switch: KillSwitch | None = None, clock: Clock | None = None
    ) -> ApprovalEngine:
        """Return an engine on what stands in `folder`, which keeps time."""


class EmbeddedRig:
    """The embedded engine on a store."""

    def __init__(
        self, make_store: Callable[[Path], ApprovalStore], *, is_durable: bool = True, service: str = ""
    ) -> None:
        self._make_store = make_store
        self.is_durable = is_durable
        self.service = service

    def open(
        self, folder: Path, *, audit: AuditLog, switch: KillSwitch | None = None, clock: Clock | None = None
    ) -> ApprovalEngine:
        store: Any = self._make_store(folder)
        if switch is not None:
            store, audit = KillingStore(store, switch), KillingLog(audit, switch)
        return EmbeddedEngine(
            store, audit=audit, rules=Rules(), find_person=PEOPLE.get, clock=clock, keeps_time=True
        )


class TemporalRig:
    """The engine on Temporal, with a worker of its own in this process. Its workflows go by the server's clock."""

    is_durable = True
    service = "temporal_server"

    def open(
        self, folder: Path, *, audit: AuditLog, switch: KillSwitch | None = None, clock: Clock | None = None
    ) -> ApprovalEngine:
        assert clock is None
        path = folder / "approvals.sqlite"
        kept: Any = SqliteApprovalStore(path)
        worked_on: Any = SqliteApprovalStore(path)
        if switch is not None:
            kept, worked_on = KillingStore(kept, switch), KillingStore(worked_on, switch)
            audit = KillingLog(audit, switch)
        server = TemporalServer(
            os.environ["AGENTGUARD_TEST_TEMPORAL"], "agentguard", "approvals", project=str(folder)
        )
        rules = Rules(outcome_within_s=1.0)
        worker = TemporalWorker(worked_on, server=server, audit=audit, rules=rules)
        return _Worked(
            TemporalEngine(kept, server=server, audit=audit, rules=rules, find_person=PEOPLE.get),
            worker,
            worked_on,
        )


class _Worked:
    """An engine whose worker ends with it."""

    def __init__(self, engine: ApprovalEngine, worker: TemporalWorker, store: ApprovalStore) -> None:
        self._engine = engine
        self._worker = worker
        self._store = store
        self._working = threading.Thread(target=self._work)
        self._working.start()

    def _work(self) -> None:
        # A server that is killed before its worker begins has none.
        with contextlib.suppress(ApprovalError):
            self._worker.run()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        self._worker.stop()
        self._working.join()
        self._engine.close()
        self._store.close()


STORES: dict[str, tuple[Callable[[Path], ApprovalStore], str]] = {
    "sqlite": (lambda folder: SqliteApprovalStore(folder / "approvals.sqlite"), ""),
    "postgres": (
        lambda folder: PostgresApprovalStore(os.environ["AGENTGUARD_TEST_POSTGRES"], project=str(folder)),
        "postgres_server",
    ),
    "redis": (
        lambda folder: RedisApprovalStore(os.environ["AGENTGUARD_TEST_REDIS"], project=str(folder)),
        "redis_server",
    ),
}
RIGS: dict[str, Rig] = {
    "memory": EmbeddedRig(lambda _: MemoryApprovalStore(), is_durable=False),
    **{name: EmbeddedRig(make, service=service) for name, (make, service) in STORES.items()},
    "temporal": TemporalRig(),
}


# Exit codes of who was told that it cannot go on, and of who went on though its server was killed.
STOPPED, WENT_ON = 3, 4
DURABLE = [name for name, rig in RIGS.items() if rig.is_durable]


def parameters(names: Iterable[str] = RIGS) -> list[Any]:
    """Return rigs as parameters of a test; those with servers are marked so."""
    import pytest

    return [pytest.param(name, marks=[pytest.mark.services] if RIGS[name].service else []) for name in names]


class KillingStore:
    """A store with a step before and after each change."""

    def __init__(self, store: Any, switch: KillSwitch) -> None:
        self._store = store
        self._switch = switch

    def add(self, approval: Approval) -> Any:
        return self._switch.around(lambda: self._store.add(approval))

    def swap(self, approval: Approval, *, revision: int) -> Any:
        return self._switch.around(lambda: self._store.swap(approval, revision=revision))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class KillingLog:
    """A log with a step before and after each record."""

    def __init__(self, log: AuditLog, switch: KillSwitch) -> None:
        self._log = log
        self._switch = switch

    def append(self, record: Mapping[str, Any]) -> Any:
        return self._switch.around(lambda: self._log.append(record))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def open_log(folder: Path) -> SegmentLog:
    """Return the audit log of a crash run."""
    return SegmentLog(folder / "audit")


def play(rig: Rig, folder: Path, switch: KillSwitch) -> None:
    """Ask, vote twice, use, act, report: each written down in `journal` once it was answered."""
    log = open_log(folder)
    engine = rig.open(folder, audit=log, switch=switch)
    note = _Journal(folder / "journal").note
    asked = engine.open(draft(route=BOTH))
    note("opened")
    for person in (ANNA, BEN):
        engine.apply(asked.id, CastVote(person=person, origin=HERE, approves=True))
        note(person.name)
    engine.apply(asked.id, Consume(binding=asked.binding, policy_version="sha256:policy"))
    note("consumed")
    engine.apply(asked.id, Dispatch(audit_id="decision-1"))
    note("dispatched")
    switch.step()
    _Journal(folder / "effects").note("the action ran")
    switch.step()
    engine.apply(asked.id, Finish(by="deploy-agent", status="succeeded"))
    note("finished")
    engine.close()
    log.close()
    note(f"steps {switch.steps}")


class _Journal:
    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, line: str) -> None:
        with self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


class Stage:
    """A process that has everything loaded and forks one that plays and is killed, each time it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def play(self, rig: str, folder: Path, at: int, victim: int = 0) -> int:
        """Return the exit code of a run that is killed at a step, or its server; -9 is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([rig, str(folder), at, victim]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(timeout=20)


def _commands() -> Iterator[tuple[str, Path, KillSwitch]]:
    for line in sys.stdin:
        rig, folder, at, victim = json.loads(line)
        yield rig, Path(folder), KillSwitch(at, victim)


def _serve() -> None:
    for rig, folder, switch in _commands():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                play(RIGS[rig], folder, switch)
                code = WENT_ON if switch.is_spent else 0
            except (ApprovalError, AuditError):
                code = STOPPED
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
