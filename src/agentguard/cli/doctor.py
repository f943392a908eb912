"""`agentguard doctor`: what is wrong here, and how to mend it."""

from __future__ import annotations

import platform
import shutil
import socket
import sys
from typing import TYPE_CHECKING

import click

from agentguard.cli._doctor_people import examine_approvals, examine_channels
from agentguard.cli._exit import ExitCode
from agentguard.cli._finding import Finding, State
from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, counted, plain
from agentguard.core import AgentGuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from agentguard.assembly import Project
    from agentguard.config import Config
    from agentguard.kernel import Probe


_MARKS = {State.OK: ("✔", "green"), State.WARNING: ("!", "yellow"), State.PROBLEM: ("✘", "red")}


@click.command("doctor", short_help="Say what is wrong here and how to mend it.")
@project_option
@output_options
def command(*, folder: Path, output: Output) -> int:
    """Look at the machine, the project, who approves and is told, the state and the log; say how to mend what is wrong.

    Changes nothing. The exit code is 1 when there is a problem; warnings do not count.
    """
    findings = list(_examine(folder))

    def show() -> None:
        for finding in findings:
            mark, colour = _MARKS[finding.state]
            click.echo(f"{click.style(mark, fg=colour, bold=True)} {finding.check}: {plain(finding.message)}")
            if finding.hint:
                click.echo(f"    {plain(finding.hint)}")

    output.result(findings, show)
    broken = any(each.state is State.PROBLEM for each in findings)
    return ExitCode.FAILED if broken else ExitCode.ALLOW


def _examine(folder: Path) -> Iterator[Finding]:
    from agentguard.assembly import load_project
    from agentguard.config import load_config

    yield _machine()
    yield from _kernel()
    configs: list[Config] = []
    yield from _trying(
        "configuration", lambda: configs.append(load_config(folder, environ())), "agentguard.yaml can be used"
    )
    if not configs:
        return
    config = configs[0]
    projects: list[Project] = []
    yield from _trying("project", lambda: projects.append(load_project(folder)), "")
    for project in projects:
        yield from _declarations(project)
        yield from examine_approvals(project)
    yield from examine_channels(config)
    yield from _state(config)
    yield from _audit(config)
    yield from _approvals(config)
    yield _disk(config)
    yield _port(config)


def _machine() -> Finding:
    version = platform.python_version()
    if sys.platform != "linux":
        return Finding(
            "machine", State.WARNING, f"Python {version} on {sys.platform}", "Linux is what is tested"
        )
    return Finding("machine", State.OK, f"Python {version} on Linux {platform.release()}")


def _kernel() -> Iterator[Finding]:
    """What can be seen of an agent's processes; that something of it is missing is no problem of the project."""
    from agentguard.kernel import probe, tier_of

    probes = probe()
    for each in probes:
        state = State.OK if each.ok or not each.needed else State.WARNING
        mark = "" if each.ok else "not there: "
        yield Finding(f"kernel: {each.name}", state, mark + each.detail, each.hint or None)
    yield from _jail(probes)
    tier = tier_of(probes)
    if tier == "observe":
        yield Finding(
            "kernel tier", State.OK, "observe: `agentguard run` sees all that an agent's processes do"
        )
    else:
        lacking = ", ".join(each.name for each in probes if each.needed and not each.ok)
        yield Finding(
            "kernel tier",
            State.WARNING,
            f"none: `agentguard run` launches agents and sees nothing of them ({lacking})",
            "the hints above say what to do",
        )


def _jail(others: Sequence[Probe]) -> Iterator[Finding]:
    """What an agent can be held to; what the machine lacks is no problem of the project."""
    from agentguard.kernel.jail import probe_jail, tier_of_jail

    probes = probe_jail()
    for each in probes:
        state = State.OK if each.ok or not each.needed else State.WARNING
        mark = "" if each.ok else "not there: "
        yield Finding(f"jail: {each.name}", state, mark + each.detail, each.hint or None)
    tier = tier_of_jail(probes, others)
    more = f"; {tier.next}" if tier.next else ""
    state = State.WARNING if tier.name == "none" else State.OK
    yield Finding("jail tier", state, f"{tier.name}: {tier.about}{more}")


def _trying(check: str, attempt: Callable[[], object], fine: str) -> Iterator[Finding]:
    try:
        attempt()
    except AgentGuardError as error:
        where = f"{error.location}: " if error.location else ""
        yield Finding(check, State.PROBLEM, where + error.message, error.hint)
    else:
        if fine:
            yield Finding(check, State.OK, fine)


def _declarations(project: Project) -> Iterator[Finding]:
    policies = project.policies.current
    ids = [*(rule.id for rule in policies.rules), *(each.id for each in policies.sequences.entries)]
    rules = sum(not each.startswith("shipped.") for each in ids)
    resources, principals = len(project.inventory.resources), len(project.inventory.principals)
    yield Finding(
        "project",
        State.OK,
        ", ".join(
            counted(number, noun)
            for number, noun in (
                (len(project.registry), "action"),
                (resources, "resource"),
                (principals, "principal"),
                (rules, "rule"),
            )
        ),
    )
    if not rules:
        yield Finding(
            "policy",
            State.WARNING,
            "there are no rules, so everything is denied",
            "agentguard policy template list",
        )
    findings = project.lint()
    if findings:
        yield Finding(
            "policy",
            State.WARNING,
            counted(len(findings), "thing") + " to look at",
            "agentguard policy validate",
        )


def _state(config: Config) -> Iterator[Finding]:
    from agentguard.identity import report_state

    report = report_state(config.project.id, environ(), project_folder=config.folder)
    if report.problem:
        yield Finding("state folder", State.PROBLEM, f"{report.path}: {report.problem}")
    else:
        yield Finding("state folder", State.OK, f"{report.path} {report.mode or '(made at the first use)'}")
    if report.warning:
        yield Finding("separation", State.WARNING, report.warning)


def _audit(config: Config) -> Iterator[Finding]:
    from agentguard.assembly import verify_audit

    if not config.audit_folder.exists():
        yield Finding("audit log", State.OK, "empty so far")
        return
    if not config.audit_folder.is_dir():
        yield Finding(
            "audit log",
            State.PROBLEM,
            f"{config.audit_folder} is no folder: everything is denied",
            "move it away",
        )
        return
    try:
        verification = verify_audit(config, environ())
    except AgentGuardError as error:
        yield Finding("audit log", State.PROBLEM, error.message, error.hint)
        return
    except OSError as error:
        yield Finding(
            "audit log", State.PROBLEM, f"cannot be read: {error.strerror}", "check its permissions"
        )
        return
    records = counted(verification.records, "record")
    if not verification.ok:
        yield Finding("audit log", State.PROBLEM, str(verification.problem), "agentguard audit verify")
    elif not verification.end_protected:
        yield Finding("audit log", State.WARNING, f"{records}; no signed head protects the end")
    else:
        yield Finding("audit log", State.OK, f"{records} verified, up to a signed head")


def _approvals(config: Config) -> Iterator[Finding]:
    from agentguard.assembly import are_approvals_worked_on, probe_approvals

    if config.approvals.store != "sqlite":
        yield from _trying(
            "approvals", lambda: probe_approvals(config, environ()), f"kept in {config.approvals.store}"
        )
    if config.approvals.engine != "temporal":
        return
    worked_on: list[bool] = []
    yield from _trying("temporal", lambda: worked_on.append(are_approvals_worked_on(config, environ())), "")
    if worked_on == [True]:
        yield Finding("temporal", State.OK, "a worker asks for approvals")
    elif worked_on:
        yield Finding(
            "temporal",
            State.WARNING,
            "nobody works on approvals, so none can be asked for",
            "agentguard worker approvals",
        )


def _disk(config: Config) -> Finding:
    free = shutil.disk_usage(config.folder).free
    text = f"{free / 1e9:.1f} GB free"
    if free < config.audit.reserve_bytes:
        return Finding(
            "disk", State.PROBLEM, f"{text}, less than the log's reserve: everything is denied", "make room"
        )
    return Finding("disk", State.OK, text)


def _port(config: Config) -> Finding:
    address = (config.server.host, config.server.port)
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe:
        probe.settimeout(1)
        taken = probe.connect_ex(address) == 0
    if taken:
        return Finding(
            "port", State.OK, f"something listens on {address[0]}:{address[1]}, perhaps the sidecar"
        )
    return Finding(
        "port", State.OK, f"{address[0]}:{address[1]} is free; start the sidecar with `agentguard up`"
    )
