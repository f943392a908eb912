"""The table at the end of a run, on standard error: the program's own output stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agentguard.cli._output import counted, effect_text, plain, table
from agentguard.core import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from agentguard.kernel import Report

SHOWN = 12
_KILO = 1024


def show_report(report: Report) -> None:
    """Print what was touched, and what the policy says of it."""
    seen = counted(report.processes, "process").replace("processs", "processes")
    _say(
        f"\n{plain(report.command[0])} ended with exit code {report.exit_code} after {report.duration_s:.1f} s"
        + ("" if report.tier == "none" else f", {seen}")
    )
    if report.denied:
        verb = "denied by the jail" if report.enforced else "would be denied"
        _say(f"  {verb}: {counted(len(report.denied), 'thing')}")
    for each in report.unseen:
        _say(f"  not seen: {plain(each)}")
    for name, why in report.missing.items():
        _say(f"  not seen: {plain(name)} ({plain(why)})")
    if report.tier == "none":
        _say("  hint: run it as root, or start `agentguard sensor`")
        return
    if report.ended_by_us:
        _say(
            f"  ended with it: {counted(report.ended_by_us, 'process').replace('processs', 'processes')} that it had left"
        )
    if report.alerts:
        _list(
            "not as it was decided",
            report.alerts,
            ("severity", "what"),
            lambda each: (each.severity, each.reason),
        )
    _lists(report)
    if not report.is_complete:
        lost = ", ".join(f"{count} {name}" for name, count in report.dropped.items())
        _say(
            f"this account is not complete: records lost: {lost or 'none'}; not listed: {report.left_out}; errors: {report.errors}"
        )
    if report.unrecorded:
        _say(f"not in the audit log: {counted(report.unrecorded, 'decision')}, as it could not be written")
    if report.would_be:
        said = ", ".join(f"{effect_text(Effect(name))} {count}" for name, count in report.would_be.items())
        _say(f"under enforcement: {said} (decided by the {report.decided_by}, run {report.run})")


def _lists(report: Report) -> None:
    _list(
        "files by class", report.classes, ("class", "files", "read", "written", "deleted", "in", "out", "strictest"),
        lambda each: (each.klass, each.files, each.read, each.written, each.deleted, _size(each.read_bytes),
                      _size(each.written_bytes), _effect(each.strictest)),
    )  # fmt: skip
    _list(
        "programs", report.programs, ("program", "runs", "effect", "why"),
        lambda each: (each.path, each.runs, _effect(each.effect), each.reason),
    )  # fmt: skip
    _list(
        "hosts", report.hosts, ("host", "port", "protocol", "connections", "sent", "received", "effect", "why"),
        lambda each: (each.host, each.port, each.protocol, each.connections, _size(each.sent_bytes),
                      _size(each.received_bytes), _effect(each.effect), each.reason),
    )  # fmt: skip
    _list("names asked for", report.names, ("name", "asked", "effect"),
          lambda each: (each.name, each.asked, _effect(each.effect)))  # fmt: skip
    _list("worth a look", report.attempts, ("what", "on what", "times", "refused", "program", "effect", "why"),
          lambda each: (each.what, each.detail, each.count, each.refused, each.program, _effect(each.effect),
                        each.reason))  # fmt: skip
    stopped = [each for each in report.files if each.effect in {Effect.DENY, Effect.REQUIRE_APPROVAL}]
    _list("files that would not be allowed", stopped, ("file", "access", "effect", "why"),
          lambda each: (each.path, ", ".join(each.access), _effect(each.effect), each.reason))  # fmt: skip


def _list(
    title: str, items: Sequence[Any], columns: Sequence[str], row: Callable[[Any], Sequence[Any]]
) -> None:
    if not items:
        return
    _say(f"\n{title}")
    table(columns, [row(each) for each in items[:SHOWN]], err=True)
    if len(items) > SHOWN:
        _say(f"and {len(items) - SHOWN} more; see them with --report html")


def _effect(effect: Effect | None) -> str:
    return "" if effect is None else effect.value


def _size(number: int) -> str:
    if number < _KILO:
        return f"{number} B"
    value = float(number)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= _KILO
        if value < _KILO or unit == "TiB":
            return f"{value:.1f} {unit}"
    raise AssertionError


def _say(text: str) -> None:
    click.echo(text, err=True)
