"""The account of a run: what an agent's processes touched, each with what the policy says of it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agentguard.core import Effect
from agentguard.facts import path_class
from agentguard.kernel._attempts import describe_attempt
from agentguard.kernel._layout import Kind
from agentguard.kernel._requests import connect_wish, wishes_of
from agentguard.kernel._tree import ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentguard.kernel._judge import Judge, Verdict
    from agentguard.kernel._requests import Wish
    from agentguard.kernel._seen import Address, Seen, Traffic

MAX_FILES = 100_000
MAX_OTHERS = 10_000
_STRICTNESS = (Effect.ALLOW, Effect.TRANSFORM, Effect.REQUIRE_APPROVAL, Effect.DENY)
_CONNECTS = frozenset((Kind.CONNECT, Kind.SENDTO))
_ACCESS = {
    "file.read": "read", "file.write": "write", "file.delete": "delete", "file.list": "list",
}  # fmt: skip


_LISTED = frozenset(("process.exec", *_ACCESS))


class Use(msgspec.Struct):
    """What was done with one thing, and the strictest effect that the policy has for it."""

    effect: Effect | None = None
    reason: str = ""
    rule: str = ""
    program: str = ""

    def take(self, verdict: Verdict | None) -> None:
        """Keep the stricter of two verdicts; there is none where nobody judges."""
        if verdict is None:
            return
        if self.effect is None or _STRICTNESS.index(verdict.effect) > _STRICTNESS.index(self.effect):
            self.effect, self.reason, self.rule = verdict.effect, verdict.reason, verdict.rule


class FileUse(Use, kw_only=True):
    """One file; `klass` is its class (`path.class`), `program` who touched it first."""

    path: str
    klass: str
    access: list[str] = []
    read_bytes: int = 0
    written_bytes: int = 0


class ProgramUse(Use, kw_only=True):
    """One program, and the arguments of its first run."""

    path: str
    runs: int = 0
    argv: tuple[str, ...] = ()


class HostUse(Use, kw_only=True):
    """One peer, by name where a DNS answer told it; a datagram socket counts once something was sent."""

    host: str
    port: int
    protocol: str
    addresses: list[str] = []
    connections: int = 0
    failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0


class NameUse(Use, kw_only=True):
    """One name that was asked for."""

    name: str
    asked: int = 0
    addresses: list[str] = []


class AttemptUse(Use, kw_only=True):
    """What ordinary agents have no need of: tracing, mounts, namespaces, BPF, modules, escapes ..."""

    what: str
    detail: str
    count: int = 0
    refused: int = 0


class Listener(Protocol):
    """Is told of each thing while it is added up."""

    def note(self, seen: Seen, tree: ProcessTree, wish: Wish, verdict: Verdict | None) -> None:
        """Take in a thing that was done, with what the policy says of it."""

    def note_attempt(self, seen: Seen, tree: ProcessTree, wish: Wish, verdict: Verdict | None) -> None:
        """Take in an attempt at what ordinary agents have no need of, each time."""


class Tally:
    """Adds up one run, and has `publisher` tell of it; `on_seen` is told of each thing. For one thread."""

    def __init__(
        self,
        judge: Judge,
        publisher: Listener | None = None,
        *,
        on_seen: Callable[[Seen], None] | None = None,
        translate: Callable[[Seen], Iterable[Seen]] | None = None,
    ) -> None:
        self._translate = translate
        self._publisher, self._on_seen = publisher, on_seen
        self.tree = ProcessTree()
        self.files: dict[str, FileUse] = {}
        self.programs: dict[str, ProgramUse] = {}
        self.hosts: dict[tuple[str, int, str], HostUse] = {}
        self.names: dict[str, NameUse] = {}
        self.attempts: dict[tuple[str, str], AttemptUse] = {}
        self.left_out = 0
        self.events = 0
        self._judge = judge
        self._name_of_address: dict[str, str] = {}
        self._sockets: dict[int, Seen] = {}
        self._waiting: dict[int, Seen] = {}

    def note(self, seen: Seen) -> None:
        """Take in one thing that was seen; where connections are led elsewhere, what was wanted stands in its place."""
        for each in self._translate(seen) if self._translate is not None else (seen,):
            self._note(each)

    def _note(self, seen: Seen) -> None:
        self.events += 1
        if seen.kind == Kind.DNS:
            # A packet belongs to no process.
            self._note_name(seen)
            return
        process = self.tree.note(seen)
        if self._on_seen is not None:
            self._on_seen(seen)
        if seen.kind == Kind.SIGNAL and self.tree.has_pid(seen.a0):
            return
        what = describe_attempt(seen)
        if what is not None:
            self._note_attempt(what, seen, process.program)
        elif seen.kind in _CONNECTS:
            self._note_peer(seen)
        else:
            for wish in wishes_of(seen, self._name):
                self._use(wish, seen).take(self._verdict(wish, seen))

    @property
    def is_waiting(self) -> bool:
        """Whether a datagram socket was connected through which nothing is known to have been sent yet."""
        return bool(self._waiting)

    @property
    def size(self) -> int:
        """How many entries the account has."""
        return sum(map(len, self._tables()))

    def forget(self) -> None:
        """Drop the account, and keep what later records refer to: for whoever only listens, for as long as he likes."""
        for table in self._tables():
            table.clear()
        self._sockets = {ino: seen for ino, seen in self._sockets.items() if ino in self._waiting}
        if len(self._name_of_address) >= MAX_OTHERS * 5:
            self._name_of_address.clear()

    def _tables(self) -> tuple[dict[Any, Any], ...]:
        return (self.files, self.programs, self.hosts, self.names, self.attempts, self._judge.wishes)

    def _verdict(self, wish: Wish, seen: Seen) -> Verdict | None:
        verdict = self._judge.verdict(wish)
        if self._publisher is not None:
            self._publisher.note(seen, self.tree, wish, verdict)
        return verdict

    def _name(self, address: str) -> str:
        return self._name_of_address.get(address, "")

    def _use(self, wish: Wish, seen: Seen) -> Use:
        program = self.tree.of(seen).program
        if wish.action == "process.exec":
            path = wish.resource.removeprefix("process:")
            found: ProgramUse = self._entry(
                self.programs, path, lambda: ProgramUse(path=path, argv=seen.argv, program=program)
            )
            found.runs += 1
            return found
        if wish.action in _ACCESS:
            use = self._file(wish.params["path"], program)
            if (access := _ACCESS[wish.action]) not in use.access:
                use.access.append(access)
            return use
        signal = self._attempt("signal", wish.resource, program)
        signal.count += 1
        return signal

    def _file(self, path: str, program: str) -> FileUse:
        use: FileUse = self._entry(
            self.files, path, lambda: FileUse(path=path, klass=path_class(path), program=program), MAX_FILES
        )
        return use

    def _entry(self, table: dict[Any, Any], key: Any, make: Callable[[], Any], most: int = MAX_OTHERS) -> Any:
        found = table.get(key)
        if found is None:
            found = make()
            if len(table) < most:
                table[key] = found
            else:
                # Judged all the same, only not listed.
                self.left_out += 1
        return found

    def _note_name(self, seen: Seen) -> None:
        message = seen.dns
        if message is None or not message.name:
            return
        found = self._entry(self.names, message.name, lambda: NameUse(name=message.name))
        found.asked += not message.is_answer
        for wish in wishes_of(seen, self._name):
            found.take(self._verdict(wish, seen))
        for address in message.addresses:
            if len(self._name_of_address) < MAX_OTHERS * 10:
                self._name_of_address[address] = message.name
            if address not in found.addresses and len(found.addresses) < 64:  # noqa: PLR2004 - enough to look at
                found.addresses.append(address)

    def _note_peer(self, seen: Seen) -> None:
        peer = seen.address
        if peer is None:
            return
        if peer.family not in {"inet", "inet6"}:
            for wish in wishes_of(seen, self._name):
                self._use(wish, seen).take(self._verdict(wish, seen))
            return
        if seen.ino:
            self._sockets[seen.ino] = seen
        # A datagram socket is often connected only to learn a route: it counts once something is sent.
        if seen.kind == Kind.CONNECT and peer.protocol == "udp":
            if seen.ret >= 0:
                self._waiting[seen.ino] = seen
            return
        self._reach(seen, peer)

    def _reach(self, seen: Seen, peer: Address) -> HostUse:
        use = self._host(peer, seen)
        use.connections += 1
        # EINPROGRESS is how a connection begins that does not block.
        use.failed += seen.ret < 0 and seen.ret != -errno.EINPROGRESS
        if peer.port:
            use.take(self._verdict(connect_wish(peer, self._name(peer.host)), seen))
        return use

    def _host(self, peer: Address, seen: Seen) -> HostUse:
        host = self._name(peer.host) or peer.host
        program = self.tree.of(seen).program
        use: HostUse = self._entry(
            self.hosts,
            (host, peer.port, peer.protocol),
            lambda: HostUse(host=host, port=peer.port, protocol=peer.protocol, program=program),
        )
        if peer.host not in use.addresses and len(use.addresses) < 64:  # noqa: PLR2004 - enough to look at
            use.addresses.append(peer.host)
        return use

    def _attempt(self, what: str, detail: str, program: str) -> AttemptUse:
        found: AttemptUse = self._entry(
            self.attempts, (what, detail), lambda: AttemptUse(what=what, detail=detail, program=program)
        )
        return found

    def _note_attempt(self, what: tuple[str, str], seen: Seen, program: str) -> None:
        found = self._attempt(*what, program)
        found.count += 1
        found.refused += seen.ret < 0
        for wish in wishes_of(seen, self._name):
            verdict = self._judge.verdict(wish)
            found.take(verdict)
            if wish.action in _LISTED:
                self._use(wish, seen).take(verdict)
            # Not once for each thing, as the others are: how often it is tried is worth knowing.
            if self._publisher is not None:
                self._publisher.note_attempt(seen, self.tree, wish, verdict)
        if seen.address is not None and seen.kind == Kind.URING_OP:
            self._note_peer(seen)

    def note_traffic(self, traffic: Iterable[Traffic]) -> None:
        """Take in what processes that have ended had moved."""
        for each in traffic:
            if each.is_socket or each.ino in self._sockets:
                self._note_socket(each)
            elif (use := self.files.get(each.path)) is not None:
                use.read_bytes += each.read_bytes
                use.written_bytes += each.written_bytes

    def _note_socket(self, traffic: Traffic) -> None:
        seen = self._sockets.get(traffic.ino)
        if seen is None or seen.address is None or not traffic.reads + traffic.writes:
            return
        if self._waiting.pop(traffic.ino, None) is not None:
            self._reach(seen, seen.address)
        use = self._host(seen.address, seen)
        use.sent_bytes += traffic.written_bytes
        use.received_bytes += traffic.read_bytes
