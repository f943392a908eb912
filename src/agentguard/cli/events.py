"""`agentguard events`: query, tail."""

from __future__ import annotations

import functools
import sys
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from agentguard.cli._options import environ, moment, output_options, project_option
from agentguard.cli._output import Output, effect_text, plain, to_json
from agentguard.config import load_config
from agentguard.core import Effect, EventFilter, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from agentguard.config import Config
    from agentguard.core import Event, StoredEvent

F = TypeVar("F", bound="Callable[..., Any]")

POLL_S = 0.2
_AT_ONCE = 1_000
_EFFECTS = {each.value: each for each in Effect}
# What a line for people begins with; the rest of a payload follows as name and value.
_NAMED = ("action", "resource", "effect", "reason")


@click.group("events", short_help="Show and follow what the kernel and other layers saw.")
def command() -> None:
    """Show and follow what the kernel and other layers saw; decisions are in `agentguard audit`."""


def _filters(function: F) -> F:
    """Add what narrows events down; the command gets it as `wanted`."""

    @click.option(
        "--kind",
        "kinds",
        multiple=True,
        type=click.Choice([each.value for each in EventKind]),
        help="Only this kind; may be given several times.",
    )
    @click.option("--principal", default="", help="Only this principal; a glob.")
    @click.option("--session", default="", help="Only this session.")
    @click.option("--action", default="", help="Only this action; a glob.")
    @click.option("--resource", "-r", default="", help="Only this resource; a glob.")
    @click.option("--effect", type=click.Choice(list(_EFFECTS)), help="Only what the policy says this of.")
    @click.option(
        "--since", callback=moment, help="Only from then on: a date, a time (UTC), or 15m, 8h, 2d ago."
    )
    @click.option("--until", callback=moment, help="Only before then.")
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        kinds: tuple[str, ...],
        principal: str,
        session: str,
        action: str,
        resource: str,
        effect: str | None,
        since: datetime | None,
        until: datetime | None,
        **kwargs: Any,
    ) -> Any:
        wanted = EventFilter(
            kinds=tuple(EventKind(kind) for kind in kinds),
            principal=principal,
            session=session,
            action=action,
            resource=resource,
            effect=effect or "",
            since=since,
            until=until,
        )
        return function(*args, wanted=wanted, **kwargs)

    return wrapper  # type: ignore[return-value]  # click passes what the wrapped function lacks


@command.command("query")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest.")
@_filters
@project_option
@output_options
def query(*, last: int, wanted: EventFilter, folder: Path, output: Output) -> None:
    """Show events, the newest last."""
    from agentguard.assembly import read_events

    store = read_events(load_config(folder, environ()))
    found: list[StoredEvent] = []
    if store is not None:
        found = store.read(wanted, limit=last, newest=True)
        store.close()

    def text() -> None:
        for each in found:
            click.echo(line_of(each))
        if not found:
            click.echo("no event" + (" fits" if wanted != EventFilter() else "; try `agentguard run`"))

    output.result([_flat(each) for each in found], text)


@command.command("tail")
@click.option("--last", type=click.IntRange(0), default=10, show_default=True, help="How many to begin with.")
@_filters
@project_option
@output_options
def tail(*, last: int, wanted: EventFilter, folder: Path, output: Output) -> None:
    """Follow the events until Ctrl-C; with --json one event a line."""
    try:
        for each in _follow(load_config(folder, environ()), wanted, last):
            click.echo(to_json(_flat(each), indent=None) if output.as_json else line_of(each))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _follow(config: Config, wanted: EventFilter, last: int) -> Iterator[StoredEvent]:
    """Yield the newest events that fit, then each new one as it comes, for ever."""
    from agentguard.assembly import read_events

    store = read_events(config)
    was_there = store is not None
    while store is None:
        time.sleep(POLL_S)
        store = read_events(config)
    seen = 0
    if was_there:
        everything = store.read(EventFilter(), limit=1, newest=True)
        seen = everything[0].seq if everything else 0
        # What came between the two looks is shown by the second alone.
        newest = store.read(wanted, limit=last, newest=True) if last else []
        yield from (each for each in newest if each.seq <= seen)
    while True:
        news = store.read(wanted, after=seen, limit=_AT_ONCE)
        for each in news:
            seen = each.seq
            yield each
        if len(news) < _AT_ONCE:
            time.sleep(POLL_S)


def _flat(each: StoredEvent) -> dict[str, Any]:
    flat: dict[str, Any] = {"seq": each.seq, **msgspec.to_builtins(each.event)}
    return flat


def line_of(each: StoredEvent) -> str:
    """Return one event as one line for people."""
    event = each.event
    effect = _EFFECTS.get(str(event.payload.get("effect")))
    said = f" {effect_text(effect)}" if effect is not None else ""
    action, resource, reason = (
        str(event.payload.get(name) or "") for name in ("action", "resource", "reason")
    )
    what = f"{action or event.kind.value} on {resource}" if resource else action or event.kind.value
    start = f"{each.seq:>6} {event.time.astimezone(UTC):%Y-%m-%d %H:%M:%S} {event.kind.value:<5}"
    line = f"{plain(event.principal) or '-'}: {plain(what)}"
    return f"{start}{said} {line}{_more(event)}" + (f" ({plain(reason)})" if reason else "")


def _more(event: Event) -> str:
    facts = [
        f"{plain(name)} {plain(value if isinstance(value, str) else to_json(value, indent=None))}"
        for name, value in event.payload.items()
        if name not in _NAMED and value not in ("", None)
    ]
    return f" [{', '.join(facts)}]" if facts else ""
