"""`agentguard run`: launch an agent, see what it does, and say what the policy thinks of it."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._door import ready_sidecar
from agentguard.cli._enforce import JAIL_ERRORS, Enforced, JailOptions, jail_options
from agentguard.cli._options import environ, nearest_project, output_options, who
from agentguard.cli._output import Output, plain, show_error, to_json
from agentguard.cli._propose import write_proposal
from agentguard.cli._run_gateway import RunGateway
from agentguard.cli._run_table import show_report
from agentguard.config import FILE_NAME, FOLDER_VARIABLE
from agentguard.core import (
    AgentGuardError,
    ConfigError,
    Decider,
    EventError,
    KernelError,
    Location,
    Principal,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.assembly import Engine, Events, Project
    from agentguard.cli._run_alerts import AlertWatch
    from agentguard.kernel import AlertSeen, Brake, Judge, MakeChild, ObservedRun, Publisher, Report, Tally
    from agentguard.sensor import SensorRun

_NOT_FOUND = {"program_missing": 127, "program_refused": 126}
# What the launcher says about itself when it cannot see: as an ordinary user nothing of this is open to it.
_UNSEEN = ("files", "programs and their arguments", "connections and names", "attempts at more")


@click.command(
    "run",
    short_help="Run an agent and see what its processes really do.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- CMD [ARG]...")
@click.option("--principal", "-p", help="Who acts.  [default: the only one in the inventory]")
@click.option(
    "--policy",
    "policy_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of rules to judge by, in place of the project's.",
)
@click.option("--report", "kind", type=click.Choice(["json", "html"]), help="Write a report as well.")
@click.option(
    "--report-to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where.  [default: run-ID.json|html]",
)
@click.option(
    "--sensor",
    "socket",
    type=click.Path(path_type=Path),
    help="The sensor's socket.  [default: /run/agentguard/sensor.sock]",
)
@click.option("--learn", is_flag=True, help="Propose the smallest policy that allows what it did.")
@click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FOLDER_VARIABLE,
    help=f"The project folder.  [default: the nearest one upwards with {FILE_NAME}]",
)
@jail_options
@output_options
def command(
    *,
    command: tuple[str, ...],
    principal: str | None,
    policy_folder: Path | None,
    kind: str | None,
    target: Path | None,
    socket: Path | None,
    learn: bool,
    folder: Path | None,
    jail: JailOptions,
    output: Output,
) -> int:
    r"""Run CMD in a control group of its own, and say at the end what it and all that it started have touched.

    A running sensor watches it; without one this command does, which takes root. It observes and stops nothing: what the policy would deny is shown, and recorded as a decision. With --enforce CMD runs
    in a jail, which holds it to the policy: what no rule, profile or option allows is denied. Signals, streams
    and the exit code are CMD's own; what CMD leaves running is ended with it. As root everything is seen; as an
    ordinary user it says what it cannot see. The table goes to standard error, with --json the report to standard
    output, after what CMD printed.

    \b
    Examples:
      agentguard run -- python agent.py
      agentguard run --principal build-agent --report html -- npm start
      agentguard run --learn -- ./agent
      agentguard run --enforce --ro /data -- python agent.py
    """
    try:
        project = _load(folder, policy_folder)
        launch = _Launch(command, project, principal, socket, own_policy=policy_folder is not None)
        report, judge = launch.go(output, jail)
    except KernelError as error:
        if error.code not in _NOT_FOUND:
            raise
        show_error(error, as_json=output.as_json)
        return _NOT_FOUND[error.code]
    if output.as_json:
        click.echo(to_json(report))
    elif not output.quiet:
        show_report(report)
    # Last: where nothing can be written, what was seen stands on the terminal all the same.
    if kind is not None:
        _write(report, kind, target or Path(f"run-{report.run}.{kind}"), output)
    if learn:
        if judge is None:
            raise KernelError("nothing was seen, so nothing was learned", hint="run it as root")
        write_proposal(
            judge, project=launch.project, principal=launch.principal, run=report.run, output=output
        )
    return report.exit_code


def _load(folder: Path | None, policy_folder: Path | None) -> Project | None:
    """Return the project, or None where there is none and none was asked for."""
    from dataclasses import replace

    from agentguard.assembly import load_project
    from agentguard.policy import PolicyStore, shipped_rules

    found = folder or nearest_project()
    if folder is None and not (found / FILE_NAME).is_file():
        if policy_folder is not None:
            raise ConfigError(
                "a policy needs a project, which declares the actions",
                location=Location(str(found)),
                hint="make one with `agentguard init`",
            )
        return None
    project = load_project(found, environ())
    if policy_folder is None:
        return project
    config = project.config
    shipped = shipped_rules(without=config.policy.without) if config.policy.shipped else ()
    return replace(project, policies=PolicyStore(policy_folder, shipped=shipped))


class _Launch:
    """One run, from the fork to the report."""

    def __init__(
        self,
        command: tuple[str, ...],
        project: Project | None,
        principal: str | None,
        socket: Path | None,
        *,
        own_policy: bool,
    ) -> None:
        self._command, self.project, self._own_policy = list(command), project, own_policy
        self.principal = who(project, principal) if project is not None else Principal(principal or "agent")
        self._socket = socket
        self._engine: Engine | None = None
        self._events: Events | None = None
        self._alerts: AlertWatch | None = None
        self._enforced: Enforced | None = None
        self._gateway = RunGateway(project, self.principal, environ())

    def go(self, output: Output, jail: JailOptions) -> tuple[Report, Judge | None]:
        """Run it and return the report, and what was judged where something was seen.

        Raises:
            KernelError: as root: it cannot be observed; or it cannot be held as asked. Nothing was run then.
        """
        if jail.mode != "observe":
            self._enforced = Enforced(
                jail,
                self.project,
                self.principal,
                output,
                by_programs=not self._is_sensors(),
                own_rules=self._own_policy,
            )
        # Forks first, threads later: everything that may start a thread comes after this.
        try:
            run = self._prepare()
        except KernelError as error:
            return self._blind_unless_root(error, output)
        try:
            with contextlib.closing(run):
                return self._observed(run, output)
        except _CannotObserveError as error:
            return self._blind_unless_root(error.cause, output)
        finally:
            self._close()

    def _prepare(self) -> ObservedRun | SensorRun:
        """Return the run, to be watched by the sensor that was named or runs, else by this process."""
        from agentguard.kernel import ObservedRun
        from agentguard.sensor import DEFAULT_SOCKET, SensorRun

        if self._is_sensors():
            return SensorRun(
                self._command,
                self._socket or Path(DEFAULT_SOCKET),
                on_drop=self._note_drop,
                make_child=self._make_child(),
                environ=self._gateway.environ,
            )
        return ObservedRun(
            self._command,
            on_drop=self._note_drop,
            make_child=self._make_child(),
            environ=self._gateway.environ,
        )

    def _is_sensors(self) -> bool:
        """Tell whether a sensor makes the run's cgroup."""
        from agentguard.sensor import DEFAULT_SOCKET

        return self._socket is not None or Path(DEFAULT_SOCKET).exists()

    @property
    def _is_jailed(self) -> bool:
        return self._enforced is not None and self._enforced.options.is_jailed

    def _make_child(self) -> MakeChild:
        from agentguard.kernel import Child

        return Child if self._enforced is None else self._enforced.make_child

    def _observed(self, run: ObservedRun | SensorRun, output: Output) -> tuple[Report, Judge | None]:
        from agentguard.kernel import Judge, Tally, tell

        try:
            around = run.observe()
        except KernelError as error:
            raise _CannotObserveError(error) from None
        for name, why in around.missing.items():
            output.note(f"not seen: {name} ({why})")
        decider, decided_by = self._decider(output)
        if self._enforced is not None and decider is not None:
            self._enforced.ask_people(decider, run.id)
        self._record(
            run.id, "started", tier="observe", decided_by=decided_by, program=self._command[0],
            self_test={each.name: each.ok for each in around.checks}, missing=around.missing,
        )  # fmt: skip
        judge = Judge(decider, principal=self.principal, run=run.id)
        publisher = self._publisher(run.id, run.brake, output, decided_by)
        tally: Tally = Tally(
            judge,
            publisher,
            on_seen=None if self._enforced is None else self._enforced.note_seen,
            translate=None if self._enforced is None else self._enforced.translate,
        )
        self._begin_jail(run.id)
        started = datetime.now(UTC)
        with self._gateway.watch(run.id, run.brake, output, self._record):
            ended = run.run(tally)
        self._end_jail()
        events_lost = self._end_events(publisher)
        alerts = self._end_alerts(decided_by)
        report = tell(
            tally, ended, run=run.id, principal=self.principal.id, command=self._command, started=started,
            tier="observe", decided_by=decided_by, checks=around.checks, missing=around.missing, alerts=alerts,
            **self._jail_facts(),
            unrecorded=judge.unrecorded,
        )  # fmt: skip
        self._record_end(
            run.id, exit_code=report.exit_code, duration_s=report.duration_s, processes=report.processes,
            events=report.events, would_be=report.would_be, dropped=report.dropped, left_out=report.left_out,
            errors=report.errors, events_lost=events_lost, alerts=len(alerts),
        )  # fmt: skip
        return report, judge

    def _end_jail(self) -> None:
        if self._enforced is not None:
            self._enforced.end()

    def _begin_jail(self, run_id: str) -> None:
        if self._enforced is not None:
            bus = self._events.bus if self._events is not None else None
            self._enforced.begin(run_id, lambda phase, **facts: self._record(run_id, phase, **facts), bus)

    def _publisher(self, run_id: str, brake: Brake, output: Output, decided_by: str) -> Publisher | None:
        """Return what tells the project's events of the run; None where there is no project, or no store."""
        from agentguard.assembly import Events, read_events
        from agentguard.cli._run_alerts import AlertWatch
        from agentguard.kernel import Publisher

        if self.project is None:
            return None
        try:
            self._events = Events(self.project.config)
            if decided_by == "process" and self._engine is not None:
                self._events.compare(self._engine)
            store = read_events(self.project.config)
            self._alerts = (
                None
                if store is None
                else AlertWatch(store, run_id, output, self._on_alert(run_id, brake, output))
            )
        except EventError as error:
            # The decisions and the report do not depend on it.
            show_error(error, as_json=False)
            return None
        return Publisher(self._events.bus, principal=self.principal.id, run=run_id)

    def _on_alert(self, run_id: str, brake: Brake, output: Output) -> Callable[[AlertSeen], None]:
        """Return what an alert of the run does: where it is held in the modes `freeze` and `kill`, it stops it."""
        from agentguard.cli._approve import goes_on
        from agentguard.cli._run_alerts import AlertBrake

        if self._enforced is None or self._enforced.options.mode not in {"freeze", "kill"}:
            return lambda _alert: None
        record = functools.partial(self._record, run_id)
        return AlertBrake(self._enforced.options.mode, brake, output, record, asks=goes_on).note

    def _end_events(self, publisher: Publisher | None) -> int:
        """Write what was published, and return how many events could not be."""
        events, self._events = self._events, None
        lost = publisher.lost if publisher is not None else 0
        return lost + (events.close() if events is not None else 0)

    def _end_alerts(self, decided_by: str) -> list[AlertSeen]:
        alerts, self._alerts = self._alerts, None
        return [] if alerts is None else alerts.close(elsewhere=decided_by == "sidecar")

    def _blind_unless_root(self, error: KernelError, output: Output) -> tuple[Report, Judge | None]:
        """Run it unseen as an ordinary user, who is told so; root is not, since root can mend it."""
        # In a jail it may run unseen: that holds without being watched.
        if error.code in _NOT_FOUND.keys() | JAIL_ERRORS or (os.geteuid() == 0 and not self._is_jailed):
            raise error
        from agentguard.kernel import Brake, Report

        if not output.quiet:
            click.echo(f"note: nothing of this run is seen: {plain(error.message)}", err=True)
        child = self._make_child()(self._command, environ=self._gateway.environ)
        child.brake = Brake(child.pid)
        run_id = os.urandom(8).hex()
        if self._engine is None:
            self._engine = self._open_engine()
        self._record(
            run_id, "started", tier="none", decided_by="nobody", program=self._command[0], why=error.message
        )
        started, began = datetime.now(UTC), time.monotonic()
        try:
            child.settle(None)
            self._begin_jail(run_id)
            with self._gateway.watch(run_id, child.brake, output, self._record):
                child.go()
                code = child.wait()
        finally:
            child.abandon()
            self._end_jail()
        duration = round(time.monotonic() - began, 3)
        self._record_end(run_id, exit_code=code, duration_s=duration)
        self._close()
        why = [f"{each}: {error.message}" for each in _UNSEEN]
        return Report(
            run_id, self.principal.id, self._command, started, duration, code, "none", "nobody", unseen=why,
            **self._jail_facts(),
        ), None  # fmt: skip

    def _jail_facts(self) -> dict[str, Any]:
        return {} if self._enforced is None else self._enforced.facts()

    def _decider(self, output: Output) -> tuple[Decider | None, str]:
        """Return who decides: the sidecar if it is ready, else this process; nobody without a project."""
        if self.project is None:
            output.note(
                "note: there is no project here, so nothing is judged or recorded (`agentguard init`)"
            )
            return None, "nobody"
        self._engine = self._open_engine()
        assert self._engine is not None
        if not self._own_policy and (url := ready_sidecar(self.project)) is not None:
            from agentguard.assembly import open_tokens
            from agentguard.clients import RemoteDecider

            settings = self.project.config.identity
            # It may vouch for what the kernel saw, and name the principal whose process it was.
            token = open_tokens(self.project, environ()).issuer.issue(
                self.principal.id, ttl_s=settings.token_ttl_s, act_as=True
            )
            return RemoteDecider(url, token), "sidecar"
        return self._engine.pdp, "process"

    def _open_engine(self) -> Engine | None:
        if self.project is None:
            return None
        from agentguard.assembly import Engine

        return Engine(self.project)

    def _record(self, run_id: str, phase: str, **facts: Any) -> None:
        if self._engine is not None:
            self._engine.audit.append(
                {"type": "run", "run": run_id, "phase": phase, "principal": self.principal.id, **facts}
            )

    def _record_end(self, run_id: str, **facts: Any) -> None:
        """Record the end; what has run has run, so a log that fails now is said and takes nothing away."""
        try:
            self._record(run_id, "ended", **facts)
        except AgentGuardError as error:
            show_error(error, as_json=False)

    def _note_drop(self, drop: Any, count: int) -> None:
        """A loss is on record when it happens, not at the end."""
        if self._engine is not None:
            with contextlib.suppress(AgentGuardError):
                self._record("", "dropped", kind=drop.name.lower(), records=count)

    def _close(self) -> None:
        self._end_jail()
        self._gateway.close()
        self._end_events(None)
        self._end_alerts("")
        if self._engine is None:
            return
        engine, self._engine = self._engine, None
        try:
            engine.close()
        except AgentGuardError as error:
            show_error(error, as_json=False)


class _CannotObserveError(Exception):
    """Carries why a run cannot be observed out of the block that takes its preparations back."""

    def __init__(self, cause: KernelError) -> None:
        super().__init__(cause.message)
        self.cause = cause


def _write(report: Report, kind: str, target: Path, output: Output) -> None:
    from agentguard.kernel import to_html

    text = to_json(report) + "\n" if kind == "json" else to_html(report)
    is_new = not target.exists()
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        # Half a report would be taken for a whole one.
        with contextlib.suppress(OSError):
            target.unlink() if is_new else None
        raise ConfigError(f"cannot be written: {reason}", location=Location(str(target))) from None
    output.note(f"report in {target}")
