"""`agentguard notify`: the channels over which people are told, tests of them, and what could not be delivered."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain, table
from agentguard.core import ConfigError, Notice, NoticeKind, Severity

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.assembly import Notifying
    from agentguard.notify import Delivery


@click.group("notify", short_help="Channels over which people are told: list, test, dead letters.")
def command() -> None:
    """Show and test the channels over which people are told, and see to what could not be delivered."""


def _opened(folder: Path) -> Notifying:
    from agentguard.assembly import load_project, open_notifying

    found = open_notifying(load_project(folder), environ(), delivers=False)
    if found is None:
        raise ConfigError(
            "this project has no channels",
            code="channel_unknown",
            hint="write `notify.channels` into agentguard.yaml",
        )
    return found


@command.command("list")
@project_option
@output_options
def list_(*, folder: Path, output: Output) -> None:
    """List the channels, what goes over each, and how many notices it has sent, keeps and gave up."""
    from agentguard.config import load_config
    from agentguard.notify import Routing, kinds_of

    settings = load_config(folder, environ()).notify
    rows: list[dict[str, Any]] = []
    if settings.channels:
        kinds = kinds_of(settings)
        routing = Routing(settings, kinds)
        with closing(_opened(folder)) as opened:
            counts = opened.outbox.counts()
        for name, kind in kinds.items():
            told = [each.value for each in Severity if name in routing.channels_of(_notice(each))]
            numbers = {"sent": counts.get((name, "sent"), 0), "waiting": counts.get((name, "waiting"), 0)}
            rows.append(
                {
                    "channel": name,
                    "type": kind,
                    "severities": told,
                    **numbers,
                    "dead": counts.get((name, "dead"), 0),
                }
            )

    def show() -> None:
        if not rows:
            click.echo("nobody is told anything; write `notify.channels` into agentguard.yaml")
            return
        cells = [
            (
                each["channel"],
                each["type"],
                ", ".join(each["severities"]),
                each["sent"],
                each["waiting"],
                each["dead"],
            )
            for each in rows
        ]
        table(("channel", "type", "severities", "sent", "waiting", "dead"), cells)

    output.result(rows, show)


@command.command("test")
@click.argument("channel")
@project_option
@output_options
def test(channel: str, *, folder: Path, output: Output) -> None:
    """Send a test over CHANNEL now, and say whether it was taken."""
    with closing(_opened(folder)) as opened:
        opened.notifier.deliver(_notice(Severity.INFO), channel)
    output.result({"channel": channel, "taken": True}, lambda: click.echo(f"{plain(channel)} has taken it"))


def _notice(severity: Severity) -> Notice:
    now = datetime.now(UTC)
    return Notice(
        id=f"test:{now.timestamp():.6f}",
        kind=NoticeKind.TEST,
        severity=severity,
        title="a test of this channel",
        at=now,
        fields=(("sent by", "agentguard notify test"),),
    )


@command.group("dead", short_help="What could not be delivered: list, retry, drop.")
def dead() -> None:
    """See to what could not be delivered."""


def _shown(each: Delivery) -> dict[str, Any]:
    created = datetime.fromtimestamp(each.created, UTC).isoformat()
    fields = msgspec.structs.asdict(each)
    return {
        **{name: fields[name] for name in ("number", "channel", "reason", "attempts")},
        "title": each.notice.title,
        "created": created,
    }


@dead.command("list")
@project_option
@output_options
def dead_list(*, folder: Path, output: Output) -> None:
    """List dead letters, oldest first."""
    with closing(_opened(folder)) as opened:
        found = [_shown(each) for each in opened.outbox.dead()]

    def show() -> None:
        if not found:
            click.echo("there are no dead letters")
            return
        columns = ("number", "created", "channel", "attempts", "reason", "title")
        table(columns, [tuple(each[name] for name in columns) for each in found])

    output.result(found, show)


@dead.command("retry")
@click.argument("numbers", nargs=-1, required=True, type=int)
@project_option
@output_options
def dead_retry(numbers: tuple[int, ...], *, folder: Path, output: Output) -> None:
    """Let the dead letters with these NUMBERS be tried again; the running sidecar does it."""
    with closing(_opened(folder)) as opened:
        count = opened.outbox.revive(numbers, now=datetime.now(UTC).timestamp())
    output.result({"revived": count}, lambda: click.echo(f"{count} will be tried again"))


@dead.command("drop")
@click.argument("numbers", nargs=-1, required=True, type=int)
@project_option
@output_options
def dead_drop(numbers: tuple[int, ...], *, folder: Path, output: Output) -> None:
    """Forget the dead letters with these NUMBERS."""
    with closing(_opened(folder)) as opened:
        count = opened.outbox.drop(numbers)
    output.result({"dropped": count}, lambda: click.echo(f"{count} forgotten"))
