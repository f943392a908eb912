"""`agentguard approvals`: what waits for people, and their answers."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from agentguard.cli._approval_text import line_of, row_of, show
from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain, table, to_json
from agentguard.config import load_config
from agentguard.core import Approval, ApprovalError, ApprovalFilter, ApprovalState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentguard.cli._person import SidecarApi

_OPEN = ("pending", "approved")
_STATES = [state.value for state in ApprovalState]
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_POLL_S = 0.1
_MOST = 1_000


@click.group("approvals", short_help="See what waits for people; approve, deny, watch.")
def command() -> None:
    """See what waits for people, and decide.

    What is there is read from the project. To decide you log in at the running sidecar as a person
    (`agentguard people login`): no token of an agent and no admin token is a vote.
    """


@command.command("list")
@click.option("--state", "states", type=click.Choice(_STATES), multiple=True, help="Only these states.")
@click.option("--all", "every", is_flag=True, help="Those that have ended too.")
@click.option("--unknown", is_flag=True, help="Only what was dispatched and nobody knows the effect of.")
@click.option("--review", is_flag=True, help="Only emergencies that nobody has reviewed.")
@click.option(
    "--last", type=click.IntRange(1, _MOST), default=50, show_default=True, help="How many at most."
)
@project_option
@output_options
def list_(
    *,
    states: tuple[str, ...],
    every: bool,
    unknown: bool,
    review: bool,
    last: int,
    folder: Path,
    output: Output,
) -> None:
    """List the approvals that are open, or others, the newest last."""
    chosen = states or (() if every or unknown or review else _OPEN)
    wanted = ApprovalFilter(
        tuple(ApprovalState(each) for each in chosen), effect_unknown=unknown, awaits_review=review
    )
    found = _read(folder, wanted, last)

    def text() -> None:
        if found:
            table(("approval", "state", "risk", "who", "what", "left"), [row_of(each) for each in found])
        else:
            click.echo("nothing waits for a person" if chosen == _OPEN else "there is none")

    output.result(found, text)


@command.command("show")
@click.argument("approval")
@project_option
@output_options
def show_(*, approval: str, folder: Path, output: Output) -> None:
    """Show one APPROVAL: what is asked, who may decide, what happened so far."""
    found = _find(folder, approval)
    output.result(found, lambda: show(found))


@command.command("watch")
@click.option(
    "--last", type=click.IntRange(0, _MOST), default=10, show_default=True, help="How many to begin with."
)
@project_option
@output_options
def watch(*, last: int, folder: Path, output: Output) -> None:
    """Follow what happens to approvals until Ctrl-C; with --json one approval a line."""
    try:
        _follow(folder, last, lambda each: to_json(each, indent=None) if output.as_json else line_of(each))
    except KeyboardInterrupt:
        return


def _deciding(function: Any) -> Any:
    """Add what all commands take that decide."""
    for option in (
        output_options,
        project_option,
        click.option("--url", help="The sidecar's address.  [default: that of the login]"),
        click.argument("approval"),
    ):
        function = option(function)
    return function


_NOTE = click.option("--note", default="", help="Why; it is on record.")


@command.command("approve")
@_NOTE
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a parameter, and approve the change; VALUE is JSON or a text.",
)
@click.option("--patch", metavar="JSON", help="Change parameters by a JSON merge patch (RFC 7396).")
@_deciding
def approve(
    *,
    approval: str,
    note: str,
    changes: tuple[str, ...],
    patch: str | None,
    url: str | None,
    folder: Path,
    output: Output,
) -> None:
    """Approve an APPROVAL, as it is or with changed parameters."""
    edit = _patch(changes, patch)

    def body(seen: Approval) -> dict[str, Any]:
        call = {"approve": True, "note": note, "edition": seen.edition}
        return call if edit is None else call | {"patch": edit}

    _decide(folder, url, approval, "vote", body, output)


@command.command("deny")
@_NOTE
@_deciding
def deny(*, approval: str, note: str, url: str | None, folder: Path, output: Output) -> None:
    """Deny an APPROVAL."""
    _decide(
        folder,
        url,
        approval,
        "vote",
        lambda seen: {"approve": False, "note": note, "edition": seen.edition},
        output,
    )


@command.command("defer")
@click.option("--for", "span", required=True, metavar="SPAN", help="How long, as 30m, 2h or 1d.")
@_NOTE
@_deciding
def defer(*, approval: str, span: str, note: str, url: str | None, folder: Path, output: Output) -> None:
    """Put an APPROVAL off: its deadline and what is still to escalate move."""
    for_s = _span(span)
    _decide(folder, url, approval, "defer", lambda _: {"for_s": for_s, "note": note}, output)


@command.command("delegate")
@click.option("--to", required=True, metavar="NAME", help="Who is to vote in your place.")
@_NOTE
@_deciding
def delegate(*, approval: str, to: str, note: str, url: str | None, folder: Path, output: Output) -> None:
    """Give your vote on an APPROVAL to somebody else."""
    _decide(folder, url, approval, "delegate", lambda _: {"to": to, "note": note}, output)


@command.command("break-glass")
@click.option("--reason", required=True, help="What the emergency is; everybody is told.")
@_deciding
def break_glass(*, approval: str, reason: str, url: str | None, folder: Path, output: Output) -> None:
    """Let an APPROVAL through in an emergency, past route and quorum.

    Everybody is told at once, and somebody else has to review it afterwards.
    """
    _decide(
        folder,
        url,
        approval,
        "break-glass",
        lambda seen: {"reason": reason, "edition": seen.edition},
        output,
    )


@command.command("review")
@click.option("--justified/--not-justified", required=True, help="Whether it was an emergency.")
@_NOTE
@_deciding
def review(
    *, approval: str, justified: bool, note: str, url: str | None, folder: Path, output: Output
) -> None:
    """Review an emergency: whether breaking the glass on APPROVAL was justified."""
    _decide(folder, url, approval, "review", lambda _: {"justified": justified, "note": note}, output)


def _decide(  # noqa: PLR0917 - called by name of what is done
    folder: Path,
    url: str | None,
    approval: str,
    what: str,
    body: Callable[[Approval], dict[str, Any]],
    output: Output,
) -> None:
    from agentguard.cli._person import as_person

    api, _ = as_person(folder, url)
    path = f"/v1/approvals/{quote(approval, safe='')}"
    # What is voted on is what is there now; a change in between is refused.
    seen = _approval(api, "GET", path)
    done = _approval(api, "POST", f"{path}/{what}", body(seen))
    output.result(done, lambda: click.echo(line_of(done)))


def _approval(api: SidecarApi, method: str, path: str, body: Any = None) -> Approval:
    return msgspec.convert(api.ask(method, path, body), Approval)


def _read(folder: Path, wanted: ApprovalFilter, last: int) -> list[Approval]:
    from agentguard.assembly import read_approvals

    store = read_approvals(load_config(folder, environ()))
    if store is None:
        return []
    try:
        return [each.approval for each in store.read(wanted, limit=last, newest=True)]
    finally:
        store.close()


def _find(folder: Path, approval_id: str) -> Approval:
    from agentguard.assembly import read_approvals

    store = read_approvals(load_config(folder, environ()))
    found = None
    if store is not None:
        try:
            found = store.get(approval_id)
        finally:
            store.close()
    if found is None:
        raise ApprovalError(
            f"there is no approval `{plain(approval_id)}`",
            code="approval_unknown",
            hint="see `agentguard approvals list --all`",
        )
    return found


def _follow(folder: Path, last: int, text: Callable[[Approval], str]) -> None:
    from agentguard.assembly import read_approvals

    config = load_config(folder, environ())
    while (store := read_approvals(config)) is None:
        time.sleep(_POLL_S)
    try:
        after = 0
        newest = store.read(ApprovalFilter(), limit=max(last, 1), newest=True)
        for each in newest:
            after = each.seq
            if last:
                click.echo(text(each.approval))
        while True:
            sys.stdout.flush()
            for each in store.read(ApprovalFilter(), after=after):
                after = each.seq
                click.echo(text(each.approval))
            time.sleep(_POLL_S)
    finally:
        store.close()


def _patch(changes: tuple[str, ...], text: str | None) -> dict[str, Any] | None:
    patch: Any = {}
    if text is not None:
        patch = _json(text)
        if not isinstance(patch, dict):
            raise click.BadParameter("it is no JSON object", param_hint="--patch")
    for change in changes:
        name, equals, value = change.partition("=")
        if not name or not equals:
            raise click.BadParameter("write it as NAME=VALUE", param_hint="--set")
        patch[name] = _json(value)
    return patch if changes or text is not None else None


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _span(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _SPANS or not number.isascii() or not number.isdigit() or not int(number[:9]):
        raise click.BadParameter("write it as 30m, 2h or 1d", param_hint="--for")
    return float(int(number[:9]) * _SPANS[unit])
