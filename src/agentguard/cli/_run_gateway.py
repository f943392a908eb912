"""A run and the model gateway: what the agent needs to call through it, and what a budget's hard stop does to it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._output import plain
from agentguard.core import AgentGuardError, EventError, EventFilter, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.assembly import Project, Tokens
    from agentguard.cli._output import Output
    from agentguard.core import EventStore, Principal
    from agentguard.kernel import Brake

_POLL_S = 0.1
_CONNECT_S = 0.5
# A run's own token ends with the run; no token lives longer than a day.
_TOKEN_TTL_S = 86_400


class RunGateway:
    """The agent's own token for the gateway while it runs. `environ` is what the agent gets.

    Where the project names no upstreams, it gets what this process has.
    """

    def __init__(self, project: Project | None, principal: Principal, environ: Mapping[str, str]) -> None:
        self.environ = dict(environ)
        self.key = ""
        self._tokens: Tokens | None = None
        self._project = project
        self._principal = principal
        if project is None or not project.config.gateway.upstreams:
            return
        from agentguard.assembly import open_tokens

        self._tokens = open_tokens(project, environ)
        token = self._tokens.issuer.issue(principal.id, ttl_s=_TOKEN_TTL_S)
        self.key = self._tokens.verifier.verify(token).jti
        upstreams = project.config.gateway.upstreams.values()
        for each in upstreams:
            how, _, name = each.key.partition(":")
            if how == "env":
                # The agent calls by its token; the provider's key is not for it.
                self.environ.pop(name, None)
        self.environ |= variables(project, token)

    def watch(
        self, run: str, brake: Brake, output: Output, record: Callable[..., None]
    ) -> contextlib.AbstractContextManager[object]:
        """Return what freezes or ends the run when a budget says so, while it is entered."""
        if self._project is None or not self.key:
            return contextlib.nullcontext()
        if not _is_up(self._project):
            output.note("note: the gateway is not up, so calls of models will fail (`agentguard up`)")
        return _StopWatch(
            self._project,
            self._principal.id,
            self.key,
            lambda payload: self._stop(payload, run, brake, output, record),
        )

    def close(self) -> None:
        """Revoke the token. Idempotent."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.revoke(jti=self.key)

    def _stop(
        self, payload: Mapping[str, Any], run: str, brake: Brake, output: Output, record: Callable[..., None]
    ) -> None:
        ends = payload.get("stop") == "end"
        if brake.is_on and not ends:
            return
        by = brake.end() if ends else brake.freeze()
        reason = str(payload.get("reason", ""))
        with contextlib.suppress(AgentGuardError):
            record(
                run,
                "stopped" if ends else "frozen",
                by=by,
                why=reason,
                budget=str(payload.get("resource", "")),
            )
        if not output.quiet:
            what = "ended" if ends else "frozen"
            more = "" if ends else f"; `kill -CONT {os.getpid()}` lets it go on, Ctrl-C ends it"
            click.echo(f"stop: the agent is {what}: {plain(reason)}{more}", err=True)


class _StopWatch:
    """Reads a budget's stops of one token from the project's events, in a thread of its own."""

    def __init__(
        self, project: Project, principal: str, key: str, on_stop: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._project, self._key, self._on_stop = project, key, on_stop
        self._wanted = EventFilter(kinds=(EventKind.ALERT,), principal=principal, action="spend.stop")
        self._store: EventStore | None = None
        self._after = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-stops", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._store is not None:
            self._store.close()

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            # What cannot be read now may be there a moment later: the sidecar denies the calls in any case.
            with contextlib.suppress(EventError):
                self._look()

    def _look(self) -> None:
        from agentguard.assembly import read_events

        if self._store is None:
            self._store = read_events(self._project.config)
        if self._store is None:
            return
        for each in self._store.read(self._wanted, after=self._after):
            self._after = each.seq
            # The token is this run's own, so nothing older than the run has its key.
            if each.event.payload.get("key") == self._key:
                self._on_stop(each.event.payload)


def _is_up(project: Project) -> bool:
    server = project.config.server
    try:
        socket.create_connection((server.host, server.port), _CONNECT_S).close()
    except OSError:
        return False
    return True


def variables(project: Project, token: str) -> dict[str, str]:
    """Return the variables that send the agent's SDKs to the project's gateway."""
    from agentguard.gateway import agent_variables

    server = project.config.server
    host = f"[{server.host}]" if ":" in server.host else server.host
    kinds = {each.kind for each in project.config.gateway.upstreams.values()}
    return agent_variables(f"http://{host}:{server.port}", token, kinds=kinds)
