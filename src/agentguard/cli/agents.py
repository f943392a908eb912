"""`agentguard agents`: who asks, from the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain, table
from agentguard.core import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Agent(msgspec.Struct):
    """What the log says of one principal."""

    principal: str
    first_seen: str
    last_seen: str
    decisions: dict[str, int]
    last_decision: dict[str, str]
    actions: dict[str, int]


@click.group("agents", short_help="Show who asks, since when, and the last decision.")
def command() -> None:
    """Show who asks, since when, and the last decision; all of it read from the audit log."""


def _agents(folder: Path) -> dict[str, Agent]:
    from agentguard.audit import read_records
    from agentguard.config import load_config

    path = load_config(folder, environ()).audit_folder
    return summarise(read_records(path) if path.exists() else ())


def summarise(records: Iterable[Mapping[str, Any]]) -> dict[str, Agent]:
    """Return what decision records say of each principal that asked, newest first."""
    found: dict[str, Agent] = {}
    for record in records:
        if record.get("type") != "decision" or not record.get("principal"):
            continue
        name, time = str(record["principal"]), str(record.get("timestamp", ""))
        effect, action = str(record.get("effect")), str(record.get("action"))
        agent = found.get(name)
        if agent is None:
            agent = found[name] = Agent(name, time, time, {}, {}, {})
        agent.last_seen = time
        agent.decisions[effect] = agent.decisions.get(effect, 0) + 1
        agent.actions[action] = agent.actions.get(action, 0) + 1
        agent.last_decision = {
            key: str(record.get(key, ""))
            for key in ("timestamp", "effect", "action", "resource", "reason", "event_id")
        }
    return dict(sorted(found.items(), key=lambda each: each[1].last_seen, reverse=True))


def _moment(timestamp: str) -> str:
    """Return `2026-11-21 04:29` of an RFC 3339 time."""
    return plain(timestamp[:16].replace("T", " "))


@command.command("list")
@project_option
@output_options
def list_(*, folder: Path, output: Output) -> None:
    """List the principals that ever asked, the latest first."""
    agents = list(_agents(folder).values())

    def show() -> None:
        if not agents:
            click.echo("nobody has asked yet; try `agentguard check`")
            return
        table(
            ("principal", "since", "last asked", "decisions", "last decision"),
            [
                (
                    agent.principal,
                    _moment(agent.first_seen),
                    _moment(agent.last_seen),
                    sum(agent.decisions.values()),
                    f"{agent.last_decision['effect']} {agent.last_decision['action']}",
                )
                for agent in agents
            ],
        )

    output.result(agents, show)


@command.command("show")
@click.argument("principal")
@project_option
@output_options
def show(principal: str, *, folder: Path, output: Output) -> None:
    """Show what the log says of PRINCIPAL."""
    agent = _agents(folder).get(principal)
    if agent is None:
        raise RequestError(f"`{principal}` has never asked", hint="see `agentguard agents list`")

    def text() -> None:
        click.echo(
            f"{plain(agent.principal)}: since {_moment(agent.first_seen)}, "
            f"last asked {_moment(agent.last_seen)}"
        )
        click.echo(
            "  decisions: "
            + ", ".join(f"{count} {plain(name)}" for name, count in sorted(agent.decisions.items()))
        )
        last = agent.last_decision
        click.echo(f"  last: {plain(last['effect'])} {plain(last['action'])} on {plain(last['resource'])}")
        click.echo(f"        {plain(last['reason'])} (record {plain(last['event_id'])})")
        table(("action", "asked"), sorted(agent.actions.items(), key=lambda each: -each[1]))

    output.result(agent, text)
