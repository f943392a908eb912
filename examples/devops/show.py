"""Writes for people: one line a step, in colour where there is a terminal."""

from __future__ import annotations

import os
import shutil
import sys

_STYLES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
# Colour is never the only sign: each effect has a symbol and its word as well.
_EFFECTS = {
    "allow": ("✓", "allow", "green"),
    "transform": ("↻", "transform", "cyan"),
    "require_approval": ("?", "approval", "yellow"),
    "deny": ("✗", "deny", "red"),
}
_INDENT = " " * 17


class Terminal:
    """Standard output."""

    def __init__(self, *, color: bool) -> None:
        self.has_color = color and sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")

    def paint(self, text: str, *styles: str) -> str:
        """Return `text` in these styles, or as it is where there is no colour."""
        if not self.has_color:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def say(self, text: str = "") -> None:
        """Print a line at once; where nobody reads any more, nowhere."""
        try:
            print(text, flush=True)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def heading(self, text: str) -> None:
        """Print the title of what follows."""
        self.say(f"\n{self.paint(text, 'bold')}")

    def fact(self, name: str, text: str) -> None:
        """Print a name and what it stands for."""
        self.say(f"  {self.paint(f'{name:9}', 'dim')}{text}")

    def result(self, text: str, *, good: bool) -> None:
        """Print whether something holds."""
        mark = self.paint("✓", "green") if good else self.paint("✗ NOT SO:", "red", "bold")
        self.say(f"  {mark} {text}")

    def step(self, number: int, effect: str, asked: str, *, reason: str, really: str) -> None:
        """Print one step: on one line, or on two in a narrow terminal."""
        symbol, word, style = _EFFECTS.get(effect, ("!", effect, "red"))
        head = f"{number:3} {symbol} {word:10} "
        tail = f"{reason}  → {really}"
        painted = self.paint(head, style) + asked
        if self._width is None or len(head) + len(asked) + len(tail) + 2 <= self._width:
            self.say(f"{painted}  {self.paint(reason, 'dim')}  → {really}")
        else:
            self.say(f"{painted}\n{_INDENT}{self.paint(reason, 'dim')}  → {really}")
