"""`agentguard session replay`: what would have been decided in a trace of an agent."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._exit import ExitCode, of_effect
from agentguard.cli._options import nearest_project, output_options
from agentguard.cli._output import Output, counted, effect_text, plain, to_json
from agentguard.config import FILE_NAME, FOLDER_VARIABLE
from agentguard.core import Effect

if TYPE_CHECKING:
    from agentguard.assembly import Project
    from agentguard.core import Principal
    from agentguard.pdp import ReplayedCall, ReplayedSession

STDIN = "-"
_VALUE = 100


@click.group("session", short_help="Replay what an agent did, and see what would have been decided.")
def command() -> None:
    """Replay what an agent did, and see what would have been decided."""


@command.command("replay")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--tools", "tools_file", type=click.Path(path_type=Path), help="The tools, where the trace has none."
)
@click.option(
    "--project",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=FOLDER_VARIABLE,
    help=f"The project folder.  [default: the nearest one upwards with {FILE_NAME}, else none]",
)
@output_options
def replay_(file: Path, tools_file: Path | None, *, folder: Path | None, output: Output) -> int:
    r"""Show of each call in FILE what would have been decided, and where its arguments come from.

    FILE has a JSON object a line: what the user wants, calls of tools, what they gave back. Messages of the chat
    APIs of OpenAI and Anthropic are read too. Nothing is run and nothing recorded. The exit code is that of the
    strictest effect.

    \b
    {"intent": "Pay the bill of ...", "tools": [...]}
    {"tool": "read_file", "args": {"path": "bill.txt"}, "result": "..."}
    {"tool": "send_money", "args": {"recipient": "...", "amount": 99}}
    """
    from agentguard.documents import parse_foreign, read_text
    from agentguard.pdp import read_trace, replay

    name, text = _read(file)
    events = read_trace(text, file=name)
    tools = None if tools_file is None else parse_foreign(read_text(tools_file), file=str(tools_file))
    project = _project(folder)
    sessions = replay(
        events, project.world(), file=name, tools=tools, find_principal=lambda who: _principal(project, who)
    )
    output.result({"sessions": sessions}, lambda: _show(sessions))
    effects = [call.effect for session in sessions for call in session.calls]
    return of_effect(max(effects, key=lambda each: each.rank)) if effects else ExitCode.ALLOW


def _read(file: Path) -> tuple[str, str]:
    """Return a name for the file, and its text.

    Raises:
        UsageError: standard input is not UTF-8.
    """
    from agentguard.documents import read_text

    if str(file) != STDIN:
        return str(file), read_text(file)
    try:
        return "<stdin>", sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8") from None


def _project(folder: Path | None) -> Project:
    """Return the project that is named or near, or else the one of whoever has none."""
    from agentguard.assembly import default_project, load_project

    if folder is None:
        near = nearest_project()
        if not (near / FILE_NAME).is_file():
            return default_project()
        folder = near
    return load_project(folder)


def _principal(project: Project, name: str) -> Principal:
    from agentguard.core import Principal

    return project.inventory.principals.get(name) or Principal(name)


def _show(sessions: list[ReplayedSession]) -> None:
    for session in sessions:
        click.echo(
            click.style(f"{plain(session.principal)} is asked: ", bold=True) + plain(_short(session.intent))
        )
        for call in session.calls:
            _show_call(call)
    effects = Counter(call.effect for session in sessions for call in session.calls)
    told = ", ".join(f"{effects[each]} {each.value}" for each in Effect if effects[each])
    click.echo(f"{counted(effects.total(), 'call')}: {told}")


def _show_call(call: ReplayedCall) -> None:
    args = ", ".join(f"{key}={_value(value)}" for key, value in call.args.items())
    click.echo(f"{effect_text(call.effect)}  line {call.line}: {plain(call.tool)}({plain(args)})")
    click.echo(f"    {plain(call.reason)}")
    for each in call.arguments:
        what = ", ".join(filter(None, (each.role, each.origin)))
        click.echo(
            click.style(f"    {plain(each.argument)}: {what}: {plain(each.note)}", dim=not each.origin)
        )
    if call.effect is Effect.DENY:
        click.echo("    it would not have been made: what it gave back is left out")


def _value(value: Any) -> str:
    return _short(to_json(value, indent=None))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _VALUE else f"{line[: _VALUE - 1]}…"
