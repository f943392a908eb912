"""What commands print: text for people, JSON for programs, nothing when asked to be quiet."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agentguard.core import AgentGuardError, Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agentguard.policy import PolicySet

# Colour is never the only signal.
SYMBOLS = {
    Effect.ALLOW: ("✔", "green"),
    Effect.TRANSFORM: ("↻", "cyan"),
    Effect.REQUIRE_APPROVAL: ("?", "yellow"),
    Effect.DENY: ("✘", "red"),
}

# In a table: the widest column that never folds, what is kept for those that do, and the width of a file.
_SHORT = 24
_FOLDED = 16
_ENDLESS = 10_000


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


def to_json(data: Any, *, indent: int | None = 2) -> str:
    """Return `data` (structs included) as JSON, with what could steer a terminal escaped."""
    return escaped(json.dumps(msgspec.to_builtins(data, enc_hook=str), ensure_ascii=False, indent=indent))


def escaped(text: str) -> str:
    """Return JSON that says the same, with only printable characters and line ends in it."""
    # The structure of JSON is printable, so what is not stands in a string, where an escape means the same.
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def plain(text: str) -> str:
    """Return hostile text in one line that cannot steer a terminal or hide its order."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _code(ord(char)) for char in text)


def _code(point: int) -> str:
    if point <= 0xFF:  # noqa: PLR2004 - what two hex digits can say
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004 - and four


def counted(number: int, noun: str) -> str:
    """Return `1 record` or `5 records`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_of(policies: PolicySet) -> str:
    """Return `69 rules, 14 sequences and limits`; the second part where there are any."""
    size, entries = counted(len(policies.rules), "rule"), len(policies.sequences.entries)
    return f"{size}, {entries} sequences and limits" if entries else size


def colour() -> bool | None:
    """Return False where the user wants no colours (no-color.org); None leaves it to whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


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


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, err: bool = False) -> None:
    """Print a table; cells are hostile text.

    Short columns (times, ids, counts) stay in one line while there is room, the others fold. What is no terminal
    gets one line a row. With `err` it goes to standard error.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stream = sys.stderr if err else sys.stdout
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    console = Console(
        width=None if stream.isatty() else _ENDLESS,
        color_system=None if colour() is False or not stream.isatty() else "auto",
        stderr=err,
        highlight=False,
    )
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    left = console.width - _FOLDED
    for name, column in zip(columns, zip(*cells, strict=True) if cells else [()] * len(columns), strict=True):
        width = max(len(cell) for cell in (name, *column))
        left -= width + 2
        made.add_column(name, overflow="fold", no_wrap=left > 0 and width <= _SHORT)
    for row in cells:
        made.add_row(*map(Text, row))
    console.print(made)


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
    click.echo(
        click.style("error: ", fg="red", bold=True) + plain(where + error.message), err=True, color=colour()
    )
    if error.hint:
        click.echo(f"  hint: {plain(error.hint)}", err=True)
