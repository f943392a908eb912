"""`agentguard audit`: show, tail, export, verify."""

from __future__ import annotations

import functools
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from agentguard.audit import Filter, export_csv, export_json_lines, read_folder, read_records
from agentguard.cli._exit import ExitCode
from agentguard.cli._options import environ, moment, output_options, project_option
from agentguard.cli._output import Output, counted, effect_text, escaped, plain, to_json
from agentguard.config import load_config
from agentguard.core import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from agentguard.audit import Verification

F = TypeVar("F", bound="Callable[..., Any]")

POLL_S = 0.2


@click.group("audit", short_help="Show, follow, export and verify the audit log.")
def command() -> None:
    """Show, follow, export and verify the audit log."""


def _filters(function: F) -> F:
    """Add what narrows records down; the command gets it as `wanted`."""

    @click.option("--principal", default="", help="Only this principal; a glob.")
    @click.option("--action", default="", help="Only this action; a glob.")
    @click.option("--effect", type=click.Choice([each.value for each in Effect]), help="Only this effect.")
    @click.option(
        "--since", callback=moment, help="Only from then on: a date, a time (UTC), or 15m, 8h, 2d ago."
    )
    @click.option("--until", callback=moment, help="Only before then.")
    @click.option("--correlation-id", default="", help="Only what carries this id.")
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        principal: str,
        action: str,
        effect: str | None,
        since: datetime | None,
        until: datetime | None,
        correlation_id: str,
        **kwargs: Any,
    ) -> Any:
        wanted = Filter(
            principal=principal,
            action=action,
            effect=effect or "",
            since=since,
            until=until,
            correlation_id=correlation_id,
        )
        return function(*args, wanted=wanted, **kwargs)

    return wrapper  # type: ignore[return-value]  # click passes what the wrapped function lacks


def _folder_of(project: Path) -> Path:
    return load_config(project, environ()).audit_folder


@command.command("show")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest.")
@_filters
@project_option
@output_options
def show(*, last: int, wanted: Filter, folder: Path, output: Output) -> None:
    """Show records, the newest last."""
    path = _folder_of(folder)
    records = list(read_records(path, msgspec.structs.replace(wanted, last=last))) if path.is_dir() else []

    def text() -> None:
        for record in records:
            click.echo(line_of(record))
        if not records:
            click.echo(
                "nothing is on record" + (" that fits" if wanted != Filter() else "; try `agentguard check`")
            )

    output.result(records, text)


def line_of(record: Mapping[str, Any]) -> str:
    """Return one record as one line for people."""
    # A log that somebody has changed can say anything, in any shape.
    text = {key: plain(str(value)) for key, value in record.items()}
    start = f"{text.get('seq', '?'):>6} {text.get('timestamp', '')[:19].replace('T', ' ')}"
    kind = text.get("type", "")
    effect = next((each for each in Effect if each.value == text.get("effect")), None)
    if kind == "decision" and effect is not None:
        principal, action, resource, reason = (
            text.get(key, "?") for key in ("principal", "action", "resource", "reason")
        )
        return f"{start} {effect_text(effect)} {principal}: {action} on {resource} ({reason})"
    if kind == "approval" and "action" in text:
        by, note = (text.get(key, "") for key in ("by", "note"))
        told = f" by {by}" if by and by != text.get("principal") else ""
        what = f"{text.get('principal', '?')}: {text['action']} on {text.get('resource', '?')}"
        about = f" ({note})" if note else ""
        return f"{start} approval {text.get('status', '?')}{told} {what}{about} {text.get('approval', '')}"
    known = ("prev", "seq", "event_id", "timestamp", "type")
    facts = ", ".join(
        f"{plain(key)} {text[key]}"
        for key, value in record.items()
        if key not in known and value not in ("", None)
    )
    return f"{start} {kind} {facts}"


@command.command("tail")
@click.option("--last", type=click.IntRange(0), default=10, show_default=True, help="How many to begin with.")
@_filters
@project_option
@output_options
def tail(*, last: int, wanted: Filter, folder: Path, output: Output) -> None:
    """Follow the log until Ctrl-C; with --json one record a line."""
    try:
        for record in _follow(_folder_of(folder), wanted, last):
            click.echo(to_json(record, indent=None) if output.as_json else line_of(record))
            sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _follow(path: Path, wanted: Filter, last: int) -> Iterator[Mapping[str, Any]]:
    """Yield the newest records that fit, then each new one as it comes, for ever."""
    everything = msgspec.structs.replace(Filter(), last=1)
    newest = list(read_records(path, everything)) if path.is_dir() else []
    seen = newest[0]["seq"] if newest else 0
    if seen and last:
        for record in read_records(path, msgspec.structs.replace(wanted, last=last)):
            seen = max(seen, record["seq"])
            yield record
    while True:
        for record in read_folder(path, after=seen):
            seen = record["seq"]
            if wanted.matches(record):
                yield record
        time.sleep(POLL_S)


@command.command("export")
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@click.option(
    "--output",
    "target",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    help="A file.  [default: standard output]",
)
@click.option("--last", type=click.IntRange(1), help="How many, the newest.  [default: all]")
@_filters
@project_option
def export(*, kind: str, target: Any, last: int | None, wanted: Filter, folder: Path) -> None:
    """Write records as JSON lines, as they stand in the log, or as CSV."""
    records = read_records(_folder_of(folder), msgspec.structs.replace(wanted, last=last))
    stream = _ForTerminal() if target.name in ("-", "<stdout>") and sys.stdout.isatty() else target
    (export_csv if kind == "csv" else export_json_lines)(records, stream)


class _ForTerminal(io.StringIO):
    """Shows an export in a terminal, which what an agent wrote must not steer."""

    def write(self, text: str) -> int:
        """Print `text` with what is not printable escaped, as JSON has it."""
        click.echo(escaped(text.replace("\r\n", "\n")), nl=False)
        return len(text)


@command.command("verify")
@click.argument("path", required=False, type=click.Path(path_type=Path, exists=True))
@project_option
@output_options
def verify(path: Path | None, *, folder: Path, output: Output) -> int:
    """Check the chain of records and its signed head; the exit code is 4 when something is wrong.

    PATH is a log's folder or one of its files.  [default: the project's log]

    The first bad record is named, and what is wrong with it. Without a signed head the end of the log is not
    protected: records could be missing there.
    """
    from agentguard.assembly import verify_audit

    config = load_config(folder, environ())
    found = _with_progress(
        output, lambda progress: verify_audit(config, environ(), path=path, progress=progress)
    )
    output.result(found, lambda: _show_verification(found))
    return ExitCode.ALLOW if found.ok else ExitCode.INTEGRITY


def _with_progress(
    output: Output, work: Callable[[Callable[[int, int], None]], Verification]
) -> Verification:
    """Run `work` with a progress bar, where a person watches."""
    if output.as_json or output.quiet or not sys.stderr.isatty():
        return work(lambda _done, _total: None)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = ("verifying", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying", total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))


def _show_verification(found: Verification) -> None:
    if found.problem is not None:
        mark = click.style("✘ not intact", fg="red", bold=True)
        problem = found.problem
        click.echo(f"{mark}: record {problem.seq} was {problem.kind} ({plain(problem.file)}:{problem.line})")
        click.echo(f"  {plain(problem.message)}")
        click.echo(f"  {counted(found.records, 'record')} before it verified")
        return
    mark = click.style("✔ intact", fg="green", bold=True)
    click.echo(f"{mark}: {counted(found.records, 'record')} in {counted(found.segments, 'file')}")
    if found.head is not None and found.end_protected:
        click.echo(f"  the signed head names record {found.head.seq}, hash {found.head.hash[:16]}…")
    for note in found.notes:
        click.echo(f"  {plain(note)}")
