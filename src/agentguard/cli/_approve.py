"""Asking people about one attempt, or an alert, while the agent is frozen: by an approval, or at the terminal."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import TYPE_CHECKING

import click

from agentguard.cli._output import plain
from agentguard.core import AgentGuardError, Context, Effect, Outcome, Request
from agentguard.enforcement import Hold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.core import Decider, Principal
    from agentguard.kernel.egress import Answer, Denial

_TERMINAL = "/dev/tty"
_WORDS = {"o": "once", "r": "run", "d": "deny", "k": "kill"}
_TRIES = 3


# An approval has a limit of its own, which ends the wait before this does.
_PATIENCE_S = 24 * 3600.0


class AskPeople:
    """Asks the project's people where a rule wants them for an address, and `otherwise` about everything else.

    An approval is for one address and one port, and is used up by the attempt. A name stands for more than one port
    once it is let through, so names are asked about at the terminal.
    """

    def __init__(
        self, decider: Decider, principal: Principal, run: str, *, otherwise: Callable[[Denial], Answer]
    ) -> None:
        self._decider, self._principal, self._run, self._otherwise = decider, principal, run, otherwise

    def __call__(self, denial: Denial) -> Answer:
        """Return what people say; `DENY` where they do not in time."""
        from agentguard.kernel.egress import Answer

        request = self._request(denial)
        if request is None:
            return self._otherwise(denial)
        first = self._decider.decide(request)
        if first.effect is not Effect.REQUIRE_APPROVAL or not first.approval:
            return self._otherwise(denial)
        click.echo(
            f"\nagentguard: the agent is frozen and wants {plain(denial.target)}: decide on approval {first.approval}",
            err=True,
        )
        decision = Hold(self._decider, timeout_s=_PATIENCE_S).wait(request, first)
        if decision.effect not in {Effect.ALLOW, Effect.TRANSFORM}:
            return Answer.DENY
        with contextlib.suppress(AgentGuardError):
            self._decider.record_outcome(
                Outcome(decision.audit_id, "succeeded", "the attempt was let through", self._principal.id)
            )
        return Answer.ONCE

    def _request(self, denial: Denial) -> Request | None:
        protocol, _, peer = denial.target.partition(" ")
        host, _, port = peer.rpartition(":")
        host = host.strip("[]")
        if not denial.needs_approval or denial.kind not in {"connect", "send"} or not port.isdecimal():
            return None
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return None
        params = {"host": host, "port": int(port), "address": host, "protocol": protocol}
        resource = f"host:[{host}]:{port}" if ":" in host else f"host:{host}:{port}"
        context = Context(session=self._run, correlation_id=self._run, attributes={"pep": "kernel"})
        return Request(self._principal, "net.connect", resource, params, context)


def ask_on_terminal(denial: Denial, terminal: str = _TERMINAL) -> Answer:
    """Return what the person says; `DENY` where there is no terminal, or no answer that can be understood."""
    from agentguard.kernel.egress import Answer

    who = f" ({plain(denial.program or 'process')} {denial.pid})" if denial.pid else ""
    said = _ask(
        terminal,
        f"it wants {plain(denial.target)}{who}: {plain(denial.reason)}",
        "allow [o]nce, for this [r]un, [d]eny, or [k]ill the agent? ",
        _WORDS,
    )
    return Answer(said or "deny")


def goes_on(reason: str, terminal: str = _TERMINAL) -> bool:
    """Tell whether the person lets a frozen agent go on after an alert; not where nobody can be asked."""
    said = _ask(terminal, plain(reason), "let it [g]o on, or [k]ill it? ", {"g": "go", "k": "kill"})
    return said == "go"


def _ask(terminal: str, why: str, question: str, words: Mapping[str, str]) -> str | None:
    with contextlib.suppress(OSError), open(terminal, "r+b", buffering=0) as stream:  # noqa: PTH123 - unbuffered, as a terminal cannot seek
        stream.write(f"\nagentguard: the agent is frozen: {why}\n".encode())
        for _ in range(_TRIES):
            stream.write(question.encode())
            line = _read_line(stream)
            if line is None:
                break
            found = words.get(line.strip().lower()[:1])
            if found is not None:
                return found
    return None


def _read_line(stream: object) -> str | None:
    text = b""
    while not text.endswith(b"\n"):
        piece = stream.read(1)  # type: ignore[attr-defined]  # a raw file: one that is buffered cannot seek on a terminal
        if not piece:
            return None
        text += piece
    return text.decode("utf-8", "replace")
