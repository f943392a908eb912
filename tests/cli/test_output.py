from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.cli._output import plain, table, to_json
from command_line import PROD, STAGING, environment

if TYPE_CHECKING:
    from command_line import Command

ROW = ("deploy-agent", "2026-11-21 04:29", "2026-11-21 04:31", 5, "transform scale-deployment@1 " * 3)
COLUMNS = ("principal", "since", "last asked", "decisions", "last decision")


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(plain(text)) == plain(text)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text() | st.integers()))
def test_json_says_the_same_in_printable_characters(data: dict[str, str | int]) -> None:
    text = to_json(data)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert json.loads(text) == data


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_a_table_fits_the_terminal_and_keeps_times_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    table(COLUMNS, [ROW])
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in terminal.getvalue()
    if width >= 80:
        assert sum("2026-11-21 04:31" in line for line in lines) == 1
        assert "deploy-agent" in terminal.getvalue()


def test_a_table_without_rows_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    table(COLUMNS, [])
    assert capsys.readouterr().out.split()[:2] == ["principal", "since"]


def test_hostile_cells_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    table(("a",), [("\x1b[31m[bold]x[/bold]\n\u202e",)])
    out = capsys.readouterr().out
    assert "\\x1b[31m[bold]x[/bold]\\x0a\\u202e" in out


def _in_terminal(agentguard: Command, *arguments: str, **environ: str) -> str:
    """Return what the command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "agentguard", *arguments],
        cwd=agentguard.folder,
        env={**environment(), **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # the terminal hangs up when its last user ends
        pass
    finally:
        process.kill()
        process.wait(20)
        os.close(ours)
    return text.decode()


@pytest.mark.parametrize(
    "command", [("check", *PROD), ("agents", "list"), ("doctor",), ("audit", "show"), ("audit", "verify")]
)
def test_colours_are_for_terminals_that_want_them(agentguard: Command, command: tuple[str, ...]) -> None:
    agentguard("check", *STAGING)
    assert "\x1b[" in _in_terminal(agentguard, *command, TERM="xterm-256color", NO_COLOR="")
    bare = _in_terminal(agentguard, *command, TERM="xterm-256color", NO_COLOR="1")
    if command != ("audit", "verify"):  # its progress bar moves the cursor
        assert "\x1b" not in bare
    assert "\x1b" not in agentguard(*command).out


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_into_a_terminal_cannot_steer_it(agentguard: Command, kind: str) -> None:
    agentguard("check", *STAGING, "--session", "\x1b]0;owned\x07\x9b31m")
    agentguard("check", "\x9b31m-x", "-r", "staging/\x9b2J")
    text = _in_terminal(agentguard, "audit", "export", "--format", kind, TERM="xterm")
    assert "staging" in text
    assert all(char.isprintable() or char in "\r\n" for char in text)
