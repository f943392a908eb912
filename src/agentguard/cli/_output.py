"""What commands print: text for people, JSON for programs, nothing when asked to be quiet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.core import AgentGuardError, Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Colour is never the only signal.
SYMBOLS = {
    Effect.ALLOW: ("✔", "green"),
    Effect.TRANSFORM: ("↻", "cyan"),
    Effect.REQUIRE_APPROVAL: ("?", "yellow"),
    Effect.DENY: ("✘", "red"),
}


class Output:
    """Where a command's result goes."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, data: Any, show: Callable[[], None]) -> None:
        """Print `data` as JSON, or call `show` for people, or neither."""
        if self.as_json:
            click.echo(to_json(data))
        elif not self.quiet:
            show()

    def note(self, text: str) -> None:
        """Say something by the way, to people only."""
        if not self.as_json and not self.quiet:
            click.echo(text, err=True)


def to_json(data: Any) -> str:
    """Return `data` (structs included) as JSON, laid out for reading."""
    return msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode()


def plain(text: str) -> str:
    """Return hostile text in one line that cannot steer a terminal or hide its order."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def effect_text(effect: Effect) -> str:
    """Return `✔ allow`, coloured where the terminal has colours."""
    symbol, colour = SYMBOLS[effect]
    return click.style(f"{symbol if _can_print(symbol) else '*'} {effect.value}", fg=colour, bold=True)


def _can_print(symbol: str) -> bool:
    try:
        symbol.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table; cells are hostile text."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(plain(str(cell))) for cell in row))
    Console().print(made)


def show_error(error: AgentGuardError, *, as_json: bool) -> None:
    """Print an error to standard error: what, where, and how to mend it."""
    if as_json:
        location = None
        if error.location is not None:
            place = error.location
            location = {"file": place.file, "line": place.line, "field": place.field}
        body = {"code": error.code, "message": error.message, "location": location, "hint": error.hint}
        click.echo(to_json({"error": body}), err=True)
        return
    where = f"{error.location}: " if error.location is not None else ""
    click.echo(click.style("error: ", fg="red", bold=True) + plain(where + error.message), err=True)
    if error.hint:
        click.echo(f"  hint: {plain(error.hint)}", err=True)
