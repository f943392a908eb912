"""The sidecar's side: takes what the sensor has seen, decides it, stores it, and says that it has it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import AgentGuardError, AuditError, AuditLog, Context, Effect, KernelError, Request
from agentguard.kernel import PEP
from agentguard.sensor._frames import connect, peer_of, receive, send
from agentguard.sensor._health import refusal
from agentguard.sensor._stream import (
    Agent,
    Attach,
    Health,
    Refused,
    Reports,
    Standing,
    Taken,
    report_decoder,
    told_decoder,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentguard.core import Decider, Event, EventBus, EventStore, Principal
    from agentguard.sensor._stream import Ask, Report

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 5.0
# The sensor says every two seconds how it is.
_SILENCE_S = 15.0
# The same thing that an agent does again is one decision; after so long it is another.
_VERDICTS_S, MAX_VERDICTS = 3600.0, 50_000
# What is told later than this waited for us: decisions of its time may not be known any more.
_LATE_S = 10.0
_CUT = "a part of it was cut off, and an allow must not rest on the rest"
_log = logging.getLogger("agentguard.sensor")


class LinkState(msgspec.Struct, frozen=True):
    """How the sidecar stands with its sensor. `age_s` is how old `health` is; `problem` why there is no connection."""

    connected: bool
    problem: str
    sensor: str
    age_s: float
    connections: int
    reports: int
    decisions: dict[str, int]
    agents: list[Agent]
    health: Health | None


class SensorLink:
    """Follows the sensor at `path` in a thread of its own, from `start` to `close`, and comes back when it was away.

    Each thing that was seen is decided by `decider` as a request of the principal, with what it was as attribute
    `observed`; then it is in `store` and on `bus`, and the sensor may forget it. The sensor's own records go to
    `audit`. While log or store take nothing, nothing is taken from the sensor, which keeps it. Where a sensor
    `is_expected`, it is on record that there is none.
    """

    def __init__(
        self,
        path: Path,
        *,
        project: str,
        decider: Decider,
        audit: AuditLog,
        store: EventStore,
        bus: EventBus,
        principal_named: Callable[[str], Principal],
        is_expected: bool = False,
    ) -> None:
        self._path, self._project = path, project
        self._decider, self._audit, self._store, self._bus = decider, audit, store, bus
        self._principal_named, self._is_expected = principal_named, is_expected
        self._standing: Standing | None = None
        self._standing_at = 0.0
        self._connected = False
        self._problem = "not asked yet"
        self._connections = self._reports = self._kept = 0
        self._verdicts: dict[int, dict[str, str]] = {}
        self._verdicts_since = time.monotonic()
        self._decisions = {effect.value: 0 for effect in Effect}
        # What was decided and is not stored yet, up to which place of which buffer.
        self._pending: list[Event] = []
        self._buffer, self._decided = "", 0
        self._connection: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-sensor-link", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """End; what was taken is stored. Idempotent."""
        self._stopping.set()
        if (connection := self._connection) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(2)
        if self._thread.is_alive():
            self._thread.join(10)

    def state(self) -> LinkState:
        """Return how it stands."""
        standing = self._standing
        return LinkState(
            connected=self._connected,
            problem=self._problem,
            sensor=standing.sensor if standing else "",
            age_s=round(time.monotonic() - self._standing_at, 1) if standing else 0.0,
            connections=self._connections,
            reports=self._reports,
            decisions=dict(self._decisions),
            agents=standing.agents if standing else [],
            health=standing.health if standing else None,
        )

    def _run(self) -> None:
        pause = _FIRST_BACKOFF_S
        while not self._stopping.is_set():
            before, began = self._kept, time.monotonic()
            try:
                self._attend()
                self._problem = "the sensor is gone"
            except (AgentGuardError, OSError) as error:
                self._fail(error.message if isinstance(error, AgentGuardError) else str(error))
            except Exception:  # noqa: BLE001 - the thread must go on; what was not taken stays with the sensor
                self._problem = "the sidecar failed"
                _log.exception("following the sensor failed")
            self._part()
            went_well = self._kept > before or time.monotonic() - began > _MAX_BACKOFF_S
            pause = _FIRST_BACKOFF_S if went_well else min(pause * 2, _MAX_BACKOFF_S)
            self._stopping.wait(pause)

    def _fail(self, problem: str) -> None:
        is_news, self._problem = problem != self._problem, problem
        if not is_news or self._stopping.is_set():
            return
        is_first = self._connections == 0
        _log.log(
            logging.WARNING if self._is_expected else logging.DEBUG, "the sensor is not followed: %s", problem
        )
        if is_first and self._is_expected:
            # Who asked for agents to be watched must not believe that they are.
            with contextlib.suppress(AuditError):
                self._audit.append({"type": "sensor", "phase": "missing", "reason": problem})

    def _attend(self) -> None:
        """Follow until the connection ends.

        Raises:
            AgentGuardError: there is no sensor, it will not, or what it tells cannot be kept now.
        """
        with connect(self._path) as connection:
            self._connection = connection
            peer = peer_of(connection)
            if peer.uid not in {0, os.geteuid()}:
                raise KernelError(
                    f"the socket at `{self._path}` is user {peer.uid}'s, and the sensor is root's",
                    code="sensor_denied",
                    hint="see `sensor.socket`",
                )
            connection.settimeout(_SILENCE_S)
            send(connection, Attach(self._project))
            while not self._stopping.is_set() and (told := receive(connection, told_decoder)) is not None:
                if isinstance(told, Refused):
                    raise refusal(told)
                if isinstance(told, Standing):
                    self._meet(told)
                elif isinstance(told, Reports):
                    self._take(connection, told.items)

    def _meet(self, standing: Standing) -> None:
        buffer = standing.health.buffer
        if buffer is not None and buffer.id != self._buffer:
            self._buffer, self._decided = buffer.id, 0
        if not self._connected:
            health = standing.health
            self._audit.append(
                {
                    "type": "sensor", "phase": "attached", "sensor": standing.sensor, "tier": health.tier,
                    "self_test": {each.name: each.ok for each in health.checks}, "missing": health.missing,
                    "waiting": buffer.waiting if buffer else 0,
                }
            )  # fmt: skip
            self._connected, self._problem = True, ""
            self._connections += 1
        self._standing, self._standing_at = standing, time.monotonic()

    def _part(self) -> None:
        self._connection = None
        if not self._connected:
            return
        self._connected = False
        if self._stopping.is_set():
            return
        _log.warning("the sensor is away: what agents do that it watched is not seen, or told later")
        with contextlib.suppress(AuditError):
            self._audit.append({"type": "sensor", "phase": "away", "reason": self._problem})

    def _take(self, connection: socket.socket, items: Sequence[tuple[int, bytes]]) -> None:
        try:
            for place, body in items:
                # After a broken connection the sensor tells again what we may have decided already.
                if place > self._decided:
                    self._decide(report_decoder.decode(body))
                    self._decided = place
        except msgspec.MsgspecError:
            raise KernelError(
                "the sensor's reports cannot be read",
                code="sensor_protocol",
                hint="run one version of agentguard on both ends",
            ) from None
        finally:
            if self._decided >= items[0][0]:
                self._keep()
                send(connection, Taken(min(self._decided, items[-1][0])))

    def _decide(self, report: Report) -> None:
        """Decide and record one report.

        Raises:
            AuditError: the log takes nothing.
        """
        event = report.event
        if report.record is not None:
            self._audit.append(report.record)
        if event is not None and report.ask is not None:
            event = self._with_effect(event, report.ask)
        if event is not None:
            self._pending.append(event)
        self._reports += 1

    def _with_effect(self, event: Event, ask: Ask) -> Event:
        key = hash((event.session, event.principal, ask.action, ask.resource, repr(ask.params), ask.known))
        said = self._verdicts.get(key) or self._verdict(event, ask)
        self._verdicts[key] = said
        self._decisions[said["effect"]] += 1
        more: dict[str, Any] = {name: value for name, value in said.items() if value}
        if (datetime.now(UTC) - event.time).total_seconds() > _LATE_S:
            more["late"] = True
        return msgspec.structs.replace(event, payload={**event.payload, **more})

    def _verdict(self, event: Event, ask: Ask) -> dict[str, str]:
        """Return what the policy says; the decision is on record.

        Raises:
            AuditError: the log takes nothing.
        """
        if time.monotonic() - self._verdicts_since > _VERDICTS_S or len(self._verdicts) >= MAX_VERDICTS:
            # The policy may have changed meanwhile.
            self._verdicts.clear()
            self._verdicts_since = time.monotonic()
        if not ask.known:
            return {"effect": Effect.DENY.value, "reason": _CUT}
        attributes: dict[str, str | int | float | bool | None] = {"pep": PEP, "observed": True}
        decision = self._decider.decide(
            Request(
                self._principal_named(event.principal), ask.action, ask.resource, ask.params,
                Context(session=event.session, correlation_id=event.session, attributes=attributes),
                observed=True,
            )
        )  # fmt: skip
        if decision.stage == "audit":
            raise AuditError(decision.reason)
        return {"effect": decision.effect.value, "reason": decision.reason, "rule": decision.rule or ""}

    def _keep(self) -> None:
        """Store what was decided, then hand it on: whoever hears of it can rely on it.

        Raises:
            EventError: the store takes nothing.
        """
        if self._pending:
            self._store.append(self._pending)
            # The recorder finds it in the store already; others may do without.
            self._bus.publish(self._pending, droppable=True)
            self._pending = []
        self._kept += 1
