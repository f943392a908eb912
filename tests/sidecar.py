"""A sidecar on a real socket, with in-memory services behind it."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentguard.audit import LogState, Rejections
from agentguard.backends import MemoryEventStore
from agentguard.config import ServerSettings
from agentguard.core import (
    Action,
    AuditError,
    Decision,
    Effect,
    IdentityError,
    Observation,
    OpenedSession,
    Outcome,
    Principal,
    PrincipalKind,
    RegistryError,
    Regrade,
    Request,
    RequestError,
    Risk,
    SessionOpening,
    Vouched,
)
from agentguard.identity import LoginCodes, People, StateFolder, VerifiedToken
from agentguard.policy import describe, parse_policies
from agentguard.server import PeopleDoor, Services, build_server, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agentguard.core import ApprovalEngine, EventStore
    from agentguard.gateway import Gateway
    from agentguard.notify import SlackClicks, State, VoteLinks
    from agentguard.sensor import LinkState
    from agentguard.server import Server

ADMIN = "agadm_correct-horse"
AGENT = "agent-token"
# Hostile text stands in it too: who writes rules may have copied them from anywhere.
POLICIES = r"""
version: 1
rules:
  - {id: table, effect: allow, actions: [restart-deployment], resources: ["staging/**"], reason: "<b>free</b>\u202e"}
  - {id: shipped.sql-drop, effect: deny, tier: mandatory, severity: critical, when: {facts: {sql.kinds: [drop]}}}
  - id: no-planted-recipients
    effect: deny
    actions: [mail.send]
    when: {provenance: {to: {integrity: untrusted}}}
sequences:
  - {id: no-send, effect: deny, after: {actions: [file.read]}, then: {actions: [mail.send]}, within: 10m}
limits:
  - {id: few-restarts, effect: deny, of: {actions: [restart-deployment]}, count: 5, per: 1h, scope: agent}
breaker: {denials: 20, within: 5m, pause: 10m}
cumulative_risk: {window: 1h, approval_from: 60, deny_from: 120}
"""
REQUEST_ID = "0123456789abcdef0123456789abcdef"


@dataclass
class MemoryLog:
    """The port's contract over a list."""

    records: list[dict[str, Any]] = field(default_factory=list)
    healthy: bool = True
    closed: int = 0

    def append(self, record: Mapping[str, Any]) -> str:
        if not self.healthy:
            raise AuditError("the disk is full")
        seq = len(self.records) + 1
        event_id = f"event-{seq}"
        stamp = datetime.now(UTC).isoformat()
        self.records.append(
            {"prev": self.state.hash, "seq": seq, "event_id": event_id, "timestamp": stamp, **record}
        )
        return event_id

    def read(self, *, after: int = 0, limit: int | None = None) -> Iterable[Mapping[str, Any]]:
        return list(self.records[after : None if limit is None else after + limit])

    def close(self) -> None:
        self.closed += 1

    @property
    def state(self) -> LogState:
        last = json.dumps(self.records[-1]) if self.records else ""
        digest = hashlib.sha256(last.encode()).hexdigest()
        seq = len(self.records)
        why = "" if self.healthy else "the disk is full"
        return LogState(seq, digest, seq, seq, "000001.jsonl", "os", healthy=self.healthy, why_not=why)


@dataclass
class TableDecider:
    """Decides by the resource: `staging/...` is allowed, `prod/...` asks, `boom` breaks the port's contract."""

    log: MemoryLog
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    closed: int = 0
    requests: list[Request] = field(default_factory=list)
    observed: list[Observation] = field(default_factory=list)

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        del trace
        self.requests.append(request)
        if request.resource == "boom":
            raise RuntimeError("a secret detail")
        if request.resource == "slow/thing":
            self.entered.set()
            self.gate.wait(10)
        effects = {"staging": Effect.ALLOW, "prod": Effect.REQUIRE_APPROVAL, "scale": Effect.TRANSFORM}
        effect = effects.get(request.resource.partition("/")[0], Effect.DENY)
        record = {
            "kind": "decision",
            "principal": request.principal.id,
            "action": request.action,
            "resource": request.resource,
            "params": request.params,
            "effect": effect.value,
            "reason": f"{effect.value} by the table",
            "rule": "table",
            "latency_us": 3.5,
            "correlation_id": request.context.correlation_id,
            "context": {"task": request.context.task, "ticket": request.context.ticket},
            "risk": {"action": 2, "resource": 4, "score": 8, "effect": "allow"},
        }
        return Decision(
            effect,
            f"{effect.value} by the table",
            request.principal.id,
            request.action,
            request.resource,
            request.params,
            stage="policy",
            audit_id=self.log.append(record),
        )

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        return [self.decide(request) for request in requests]

    def observe(self, observation: Observation) -> None:
        self.observed.append(observation)
        self.log.append(
            {"kind": "observed", "principal": observation.principal.id, "action": observation.action}
        )

    def record_outcome(self, outcome: Outcome) -> None:
        self.log.append({"kind": "outcome", "audit_id": outcome.audit_id, "status": outcome.status})

    def close(self) -> None:
        self.closed += 1


@dataclass
class TableSessions:
    """Opens sessions for whoever asks, except `taken`, and remembers with what."""

    opened: list[SessionOpening] = field(default_factory=list)

    def open_session(self, opening: SessionOpening) -> OpenedSession:
        if opening.session == "taken":
            raise RequestError("there is a session of this name already", code="session_taken")
        if not opening.tools:
            raise RegistryError("there are no tools")
        self.opened.append(opening)
        name = opening.session or "s-9"
        return OpenedSession(name, opening.principal.id, {"send_email": "send-email"}, "sha256:1", "sha256:2")


@dataclass
class TableLabels:
    """Allows changes of labels in session `s-1`, knows no other, and remembers what it is told."""

    decider: TableDecider
    regrades: list[Regrade] = field(default_factory=list)
    vouched: list[Vouched] = field(default_factory=list)

    def regrade(self, regrade: Regrade) -> Decision:
        if regrade.session != "s-1":
            raise RequestError("no such session", code="session_unknown")
        self.regrades.append(regrade)
        kind = "prod" if regrade.by.kind is PrincipalKind.AGENT else "staging"
        return self.decider.decide(Request(regrade.by, regrade.kind, f"{kind}/flow"))

    def vouch(self, words: Vouched) -> None:
        if not self.decider.log.healthy:
            raise AuditError("the disk is full")
        self.vouched.append(words)


TOKENS = {
    "anna-token": VerifiedToken(Principal("anna", PrincipalKind.HUMAN), False, "jti-3", 0.0, 2e9),
    "batch-token": VerifiedToken(Principal("batch", PrincipalKind.SERVICE), False, "jti-4", 0.0, 2e9),
    "agent-token": VerifiedToken(Principal("deploy-agent"), False, "jti-1", 0.0, 2e9),
    "pep-token": VerifiedToken(Principal("gateway", on_behalf_of=("boss",)), True, "jti-2", 0.0, 2e9),
}


KNOWN = {
    "known-agent": Principal("known-agent"),
    "berta": Principal("berta", PrincipalKind.HUMAN),
}


def verify_token(token: str) -> VerifiedToken:
    if token == "expired":
        raise IdentityError("the token has expired", code="token_expired")
    try:
        return TOKENS[token]
    except KeyError:
        raise IdentityError("the token's signature is wrong", code="token_signature") from None


class Rejected(Rejections):
    """The log's own rejections, and what they were told."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.seen: list[tuple[str, str, bytes]] = []

    def record(self, peer: str, kind: str, body: bytes) -> None:
        self.seen.append((peer, kind, body))


_STATE = tempfile.TemporaryDirectory()


def nobody() -> People:
    """Return an empty list of people."""
    return People(StateFolder.open("nobody", {"XDG_STATE_HOME": _STATE.name}))


@dataclass
class World:
    """Everything behind one sidecar, and the way to it."""

    log: MemoryLog = field(default_factory=MemoryLog)
    codes: LoginCodes = field(default_factory=LoginCodes)
    problems: list[str] = field(default_factory=list)
    settings: ServerSettings = field(default_factory=lambda: ServerSettings(port=0))
    blocking: bool = False
    policy_problem: str | None = None
    port: int = 0
    events: EventStore = field(default_factory=MemoryEventStore)
    gateway: Gateway | None = None
    links: VoteLinks | None = None
    clicks: SlackClicks | None = None
    notices: Callable[[], Mapping[tuple[str, State], int]] | None = None
    people: PeopleDoor = field(default_factory=lambda: PeopleDoor(nobody()))
    approvals: ApprovalEngine | None = None
    server: Server | None = None
    sensor: Callable[[], LinkState] | None = None

    def __post_init__(self) -> None:
        self.decider = TableDecider(self.log)
        self.labels = TableLabels(self.decider)
        self.sessions = TableSessions()
        self.rejected = Rejected(self.log)

    def rejected_kinds(self) -> list[str]:
        """Return the kinds of what was rejected."""
        return [kind for _, kind, _ in self.rejected.seen]

    def services(self) -> Services:
        return Services(
            decider=self.decider,
            labels=self.labels,
            sessions=self.sessions,
            audit=self.log,
            rejections=self.rejected,
            verify_token=verify_token,
            admin_matches=lambda token: token == ADMIN,
            login_codes=self.codes,
            principal_named=KNOWN.get,
            describe_policies=lambda: describe(parse_policies(POLICIES), problem=self.policy_problem),
            describe_actions=lambda: [Action("restart-deployment", 1, "Restart", Risk.MEDIUM)],
            ready=lambda: list(self.problems),
            version="0.1.0",
            settings=self.settings,
            blocking=self.blocking,
            events=self.events,
            gateway=self.gateway,
            people=self.people,
            approvals=self.approvals,
            sensor=self.sensor,
            links=self.links,
            clicks=self.clicks,
            notices=self.notices,
        )

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            own = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, own)
            answer = connection.getresponse()
            return Reply(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    def check(self, resource: str = "staging/api", *, token: str | None = AGENT, **more: Any) -> Reply:
        call = {"request_id": REQUEST_ID, "action": "restart-deployment", "resource": resource, **more}
        return self.ask("POST", "/v1/check", call, token)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error"]["code"])


@contextmanager
def running(world: World) -> Iterator[World]:
    """Run the world's sidecar in a thread."""
    listener = listen("127.0.0.1", 0)
    world.port = listener.getsockname()[1]
    started = threading.Event()
    server = build_server(world.services(), listener, lambda _: started.set())
    world.server = server
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(10)
        yield world
    finally:
        world.decider.gate.set()
        server.should_exit = True
        thread.join(20)
        server.app.close()
        assert not thread.is_alive()


def raw(port: int, data: bytes, *, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """Send bytes as they are and return what comes back before the peer closes, or until `until` holds."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
            if until(received):
                break
        return received


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
