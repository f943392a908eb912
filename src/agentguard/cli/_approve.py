"""Asking people about one attempt, or an alert, while the agent is frozen: by an approval, or at the terminal."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._output import plain
from agentguard.core import AgentGuardError, Context, Effect, Outcome, Request
from agentguard.enforcement import Hold

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Mapping
    from typing import Self

    from agentguard.core import Decider, Decision, Principal
    from agentguard.kernel.egress import Answer, Denial

TERMINAL = "/dev/tty"
_WORDS = {"o": "once", "r": "run", "d": "deny", "k": "kill"}
_TRIES = 3


# An approval has a limit of its own, which ends the wait before this does.
_PATIENCE_S = 24 * 3600.0


# A name is looked up before anybody knows for which port; these are the ones that `--allow-domain NAME` would open.
_PORTS_OF_NAMES = (443, 80)


class AskPeople:
    """Asks the project's people where a rule wants them for an address or a name, and the terminal about everything else.

    Where that is only since no rule allows it, whoever is at the terminal may decide as well: who launches an agent could
    have allowed it from the start. The first word counts.

    An approval is for one port of one address or name, and is used up by the attempt. What is approved when a name is
    looked up is the connection that follows; another port of it is asked about on its own. What a rule forbids is not asked.
    """

    def __init__(
        self,
        decider: Decider,
        principal: Principal,
        run: str,
        *,
        terminal: str = TERMINAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decider, self._principal, self._run = decider, principal, run
        self._terminal, self._clock = terminal, clock
        # Connections that were approved when their name was looked up, and until when.
        self._ahead: dict[tuple[str, int], float] = {}
        # One question at a time: the agent is frozen for it.
        self._waiting: _Waiting | None = None
        self._is_closed = False

    def close(self) -> None:
        """Wait for nobody any more: the run is over, and what was asked about is denied. Idempotent."""
        self._is_closed = True
        if self._waiting is not None:
            self._waiting.give_up()

    def __call__(self, denial: Denial) -> Answer:
        """Return what people say; `DENY` where they do not in time."""
        from agentguard.kernel.egress import Answer

        wanted = _wanted(denial)
        if wanted is None:
            return ask_on_terminal(denial, self._terminal)
        host, ports, protocol = wanted
        if len(ports) == 1 and self._clock() < self._ahead.pop((host, ports[0]), 0.0):
            return Answer.ONCE
        is_forbidden = True
        for port in ports:
            request = self._request(host, port, protocol)
            # One after another: each that people are wanted for opens an approval.
            said = self._decider.decide(request)
            if said.effect is Effect.REQUIRE_APPROVAL and said.approval:
                return self._wait(denial, request, said)
            is_forbidden = is_forbidden and said.effect is Effect.DENY and said.rule is not None
        return Answer.DENY if is_forbidden else ask_on_terminal(denial, self._terminal)

    def _wait(self, denial: Denial, request: Request, first: Decision) -> Answer:
        from agentguard.kernel.egress import ONCE_S, Answer

        host, port = str(request.params["host"]), int(str(request.params["port"]))
        what = f"{denial.target}, for port {port}" if denial.kind == "name" else denial.target
        click.echo(
            f"\nagentguard: the agent is frozen and wants {plain(what)}: decide on approval {first.approval}"
            f" (`agentguard approvals approve {first.approval}`, or the console)",
            err=True,
        )
        with _Waiting(self._decider, request, first) as waiting:
            self._waiting = waiting
            if self._is_closed:
                waiting.give_up()
            said = None if denial.rule else _say(denial, self._terminal, stop=waiting.stop)
            decision = waiting.result() if said is None else first
        if said is not None:
            click.echo(f"agentguard: it is decided; approval {first.approval} is for nothing now", err=True)
            return said
        if decision.effect not in {Effect.ALLOW, Effect.TRANSFORM}:
            click.echo(
                f"agentguard: approval {first.approval} was not given; the agent goes on without", err=True
            )
            return Answer.DENY
        if denial.kind != "name":
            return Answer.ONCE
        self._ahead[host, port] = self._clock() + ONCE_S
        return Answer.LOOKUP

    def _request(self, host: str, port: int, protocol: str) -> Request:
        params: dict[str, Any] = {"host": host, "port": port, "protocol": protocol}
        with contextlib.suppress(ValueError):
            params["address"] = str(ipaddress.ip_address(host))
        resource = f"host:[{host}]:{port}" if ":" in host else f"host:{host}:{port}"
        context = Context(session=self._run, correlation_id=self._run, attributes={"pep": "kernel"})
        return Request(self._principal, "net.connect", resource, params, context)


class _Waiting:
    """Waits in a thread until people have said; `stop` can be read from then on."""

    def __init__(self, decider: Decider, request: Request, first: Decision) -> None:
        self._decider, self._request, self._decision = decider, request, first
        self._lock = threading.Lock()
        self._is_given_up = False
        self.stop, self._wake = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._wait, name="agentguard-approval", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        decision = Hold(self._decider, timeout_s=_PATIENCE_S).wait(
            self._request, self._decision, is_over=lambda: self._is_given_up
        )
        with self._lock:
            self._decision = decision
            os.close(self._wake)
            is_given_up = self._is_given_up
        if decision.effect not in {Effect.ALLOW, Effect.TRANSFORM}:
            return
        # What let it through has used the approval up: what came of that is on record, whoever was first.
        outcome = Outcome(
            decision.audit_id,
            "refused" if is_given_up else "succeeded",
            "nobody waited for it any more" if is_given_up else "the attempt was let through",
            self._request.principal.id,
        )
        with contextlib.suppress(AgentGuardError):
            self._decider.record_outcome(outcome)

    def give_up(self) -> None:
        """Wait no more: somebody else was first, or it is over."""
        with self._lock:
            self._is_given_up = True

    def result(self) -> Decision:
        """Return what people said, once they have, or are not waited for."""
        self._thread.join()
        return self._decision

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_up()
        os.close(self.stop)


def _wanted(denial: Denial) -> tuple[str, tuple[int, ...], str] | None:
    """Return host, ports and protocol of what people can decide on; None for everything else."""
    protocol, _, peer = denial.target.partition(" ")
    if not peer or not (denial.needs_approval or not denial.rule):
        return None
    if denial.kind == "name":
        return peer, _PORTS_OF_NAMES, "tcp"
    host, _, port = peer.rpartition(":")
    if denial.kind not in {"connect", "send"} or not port.isdecimal() or protocol not in {"tcp", "udp"}:
        return None
    return host.strip("[]"), (int(port),), protocol


def ask_on_terminal(denial: Denial, terminal: str = TERMINAL) -> Answer:
    """Return what the person says; `DENY` where there is no terminal, or no answer that can be understood."""
    from agentguard.kernel.egress import Answer

    return _say(denial, terminal) or Answer.DENY


def _say(denial: Denial, terminal: str, *, stop: int = -1) -> Answer | None:
    """Return what the person says; None where nobody does, or `stop` can be read before."""
    from agentguard.kernel.egress import Answer

    who = f" ({plain(denial.program or 'process')} {denial.pid})" if denial.pid else ""
    said = _ask(
        terminal,
        f"it wants {plain(denial.target)}{who}: {plain(denial.reason)}",
        "allow [o]nce, for this [r]un, [d]eny, or [k]ill the agent? ",
        _WORDS,
        stop=stop,
    )
    return Answer(said) if said is not None else None


def goes_on(reason: str, terminal: str = TERMINAL) -> bool:
    """Tell whether the person lets a frozen agent go on after an alert; not where nobody can be asked."""
    said = _ask(terminal, plain(reason), "let it [g]o on, or [k]ill it? ", {"g": "go", "k": "kill"})
    return said == "go"


def _ask(terminal: str, why: str, question: str, words: Mapping[str, str], *, stop: int = -1) -> str | None:
    with contextlib.suppress(OSError), open(terminal, "r+b", buffering=0) as stream:  # noqa: PTH123 - unbuffered, as a terminal cannot seek
        stream.write(f"\nagentguard: the agent is frozen: {why}\n".encode())
        for _ in range(_TRIES):
            stream.write(question.encode())
            line = _read_line(stream, stop)
            if line is None:
                break
            found = words.get(line.strip().lower()[:1])
            if found is not None:
                return found
    return None


def _read_line(stream: io.FileIO, stop: int) -> str | None:
    text = b""
    while not text.endswith(b"\n"):
        if stop >= 0 and stop in select.select([stream.fileno(), stop], [], [])[0]:
            stream.write(b"\n")
            return None
        piece = stream.read(1)
        if not piece:
            return None
        text += piece
    return text.decode("utf-8", "replace")
