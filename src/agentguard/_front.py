"""The SDK's face: a guard for an agent's code, deciding in this process or in the sidecar."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from agentguard.clients import EnforcementPoint
from agentguard.core import RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentguard.assembly import Engine, Telling
    from agentguard.clients import Budgets, Sandbox
    from agentguard.core import Principal, Spender

_MAX_RUN = 64


class Guard(EnforcementPoint):
    """Asks before each action of an agent, and runs it only as it was decided.

    Use `Guard.open` or `Guard.connect`; both can be used as a context manager. In the agent's own process a
    guard is advice that honest code follows: what must hold against a hostile agent goes through the gateway or
    the kernel.
    """

    _engine: Engine | None = None
    _telling: Telling | None = None

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        principal: str | Principal = "agent",
        sandboxes: Mapping[str, Sandbox] | None = None,
        approval_wait_s: float | None = None,
    ) -> Self:
        """Return a guard that decides in this process, by the project in the folder `path`.

        Without a folder it is a project of its own in the state folder (`~/.local/state/agentguard/default`), which has
        no rules: `session(intent=…, tools=…)` works in it, and its audit log is in `project/audit` there.

        The host program vouches for `principal` (an id of the inventory, or a `Principal`); a check may name
        another. Policy files are followed while the guard is open; decisions are recorded in the project's log.
        `sandboxes` are what this program can run an action in, by name; what needs another one is denied. A guarded
        function that needs an approval waits `approval_wait_s` seconds for it, None as long as people have.

        Raises:
            ConfigError: the project cannot be used; says what, where and how to mend it.
            AuditError: its audit log cannot be opened.
        """
        # Who asks a sidecar needs none of what decides, and the other way round: each loads its own half.
        from agentguard.assembly import Engine, Telling, default_project, load_project

        project = default_project() if path is None else load_project(path)
        # Budgets have something to tell.
        telling = Telling(project) if project.config.budgets_file.exists() else None
        try:
            engine = (
                Engine(project)
                if telling is None
                else Engine(project, bus=telling.bus, notifier=telling.notifier)
            )
        except BaseException:
            if telling is not None:
                telling.close()
            raise
        guard = cls(
            engine.pdp,
            principal=principal,
            find_principal=project.principal,
            sandboxes=sandboxes,
            approval_wait_s=approval_wait_s,
            run=os.environ.get(RUN_VARIABLE, "")[:_MAX_RUN],
        )
        guard._engine, guard._telling = engine, telling
        return guard

    @classmethod
    def connect(
        cls,
        url: str,
        token: str,
        *,
        deadline_s: float = 2.0,
        sandboxes: Mapping[str, Sandbox] | None = None,
        approval_wait_s: float | None = None,
    ) -> Self:
        """Return a guard that asks the sidecar at `url`, as the principal whose `token` it is.

        A sidecar that is dead, slow (beyond `deadline_s` seconds) or answers anything but a decision on just
        this request means deny. `sandboxes` and `approval_wait_s` are as in `open`.

        Raises:
            ConfigError: `url` is no http or https address.
        """
        from agentguard.clients import RemoteDecider

        decider = RemoteDecider(url, token, deadline_s=deadline_s)
        return cls(decider, principal=None, sandboxes=sandboxes, approval_wait_s=approval_wait_s)

    def close(self) -> None:
        """Release what it holds, the log's last head signed; a later `check` denies."""
        super().close()
        if self._engine is not None:
            self._engine.close()
        if self._telling is not None:
            self._telling.close()

    def spending(self, agent: str, session: str) -> tuple[Budgets, Spender] | None:
        """Return the project's budgets and on whose account model calls go; None where there are none.

        Raises:
            ConfigError: budgets or prices cannot be used.
            SpendError: the ledger cannot be opened.
        """
        held = self._engine.hold_models() if self._engine is not None else None
        return None if held is None else (held.keeper, held.spender(agent, session=session))
