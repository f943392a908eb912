"""`agentguard flow`: a person's word on what the sessions of a running sidecar have seen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentguard.cli._exit import of_effect
from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, effect_text, plain
from agentguard.core import (
    Effect,
    Integrity,
    Principal,
    PrincipalKind,
    Regrade,
    RequestError,
    Sensitivity,
    Vouched,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentguard.clients import RemoteDecider
    from agentguard.core import Decision

F = TypeVar("F", bound="Callable[..., Any]")

# Nobody waits for this at a prompt for long, and a record on disk takes its time.
DEADLINE_S = 10.0


@click.group("flow", short_help="Endorse, declassify and vouch for what an agent has seen.")
def command() -> None:
    """Endorse, declassify and vouch for what an agent has seen, in a session of the running sidecar.

    You ask with the project's admin token; the sidecar decides by its rules, and every change is on record.
    """


_SESSION_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("principal"),
    click.argument("session"),
    click.option("--by", help="Who you are: a person or service of the inventory.  [default: admin]"),
    click.option("--url", help="The sidecar's address.  [default: by the settings, http://127.0.0.1:8787]"),
)
_CHANGE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--source", default="", help="Whose values: a source, as tool:mail.read."),
    click.option("--value", help="Or one value; - reads it from standard input."),
    click.option("--action", required=True, help="The action for which it holds, as mail.send."),
    click.option("--param", required=True, help="The argument for which it holds, as /to, or * for all."),
    click.option("--reason", required=True, help="Why it is right; it stands in the record."),
)


def _with(options: tuple[Callable[[Any], Any], ...]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@command.command("endorse")
@_with(_SESSION_OPTIONS)
@click.option(
    "--as",
    "integrity",
    type=click.Choice([each.value for each in list(Integrity)[1:]]),
    default="verified",
    show_default=True,
    help="The integrity that the values have there.",
)
@_with(_CHANGE_OPTIONS)
@project_option
@output_options
def endorse(*, integrity: str, folder: Path, output: Output, **asked: Any) -> int:
    r"""Trust values that a session of PRINCIPAL has seen, for one argument of one action.

    The exit code is the effect of the decision: only after 0 (allow) has the label changed.

    \b
    Example:
      agentguard flow endorse helper s-1 --source tool:mail.read --action mail.send --param /to --reason "known"
    """
    return _regrade(folder, output, asked, integrity=Integrity(integrity))


@command.command("declassify")
@_with(_SESSION_OPTIONS)
@click.option(
    "--as",
    "confidentiality",
    type=click.Choice([each.value for each in list(Sensitivity)[:-1]]),
    required=True,
    help="The confidentiality that the values have there.",
)
@_with(_CHANGE_OPTIONS)
@project_option
@output_options
def declassify(*, confidentiality: str, folder: Path, output: Output, **asked: Any) -> int:
    """Let values that a session of PRINCIPAL has seen go into one argument of one action.

    The exit code is the effect of the decision: only after 0 (allow) has the label changed.
    """
    return _regrade(folder, output, asked, confidentiality=Sensitivity(confidentiality))


@command.command("vouch")
@_with(_SESSION_OPTIONS)
@click.option("--source", default="user", show_default=True, help="Whose words they are.")
@project_option
@output_options
def vouch(
    principal: str,
    session: str,
    *,
    by: str | None,
    url: str | None,
    source: str,
    folder: Path,
    output: Output,
) -> None:
    """Say that no model wrote the text on standard input: in SESSION its words count as trusted.

    The log holds a commitment to the text and never the text.
    """
    who = Principal(by) if by is not None else None
    try:
        words = Vouched(principal=principal, session=session, text=_read(), source=source, by=who)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _Sidecar(folder, url) as sidecar:
        sidecar.vouch(words)
    data = {"principal": principal, "session": session, "source": source}
    output.result(
        data, lambda: click.echo(f"the words count as {plain(source)}'s in session {plain(session)}")
    )


def _regrade(folder: Path, output: Output, asked: dict[str, Any], **level: Any) -> int:
    by, url = asked.pop("by"), asked.pop("url")
    if asked["value"] == "-":
        asked["value"] = _read()
    try:
        # Without an id it is whom the token proves.
        regrade = Regrade(by=Principal(by or "", PrincipalKind.HUMAN), **asked, **level)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _Sidecar(folder, url) as sidecar:
        decision = sidecar.regrade(regrade)
    output.result(decision, lambda: _show(decision))
    return of_effect(decision.effect)


def _show(decision: Decision) -> None:
    click.echo(f"{effect_text(decision.effect)}  {plain(decision.action)} on {plain(decision.resource)}")
    click.echo(f"  {plain(decision.reason)}")
    if decision.effect is not Effect.ALLOW:
        click.echo("  the label is as it was")
    if decision.audit_id:
        click.echo(f"  record {decision.audit_id}")


def _read() -> str:
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not UTF-8") from None


class _Sidecar:
    """The running sidecar of a project, asked with the project's admin token."""

    def __init__(self, folder: Path, url: str | None) -> None:
        from agentguard.assembly import load_project, open_tokens
        from agentguard.clients import RemoteDecider

        project = load_project(folder)
        server = project.config.server
        host = f"[{server.host}]" if ":" in server.host else server.host
        token = open_tokens(project, environ()).admin.reveal()
        self._decider = RemoteDecider(url or f"http://{host}:{server.port}", token, deadline_s=DEADLINE_S)

    def __enter__(self) -> RemoteDecider:
        return self._decider

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._decider.close()
        if isinstance(error, RequestError) and error.code in {"regrade_lost", "vouch_lost"}:
            error.hint = "is it running? start it with `agentguard up`"
