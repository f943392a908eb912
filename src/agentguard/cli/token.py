"""`agentguard token`: issue, verify, revoke, rotate keys."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain
from agentguard.core import IdentityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.assembly import Project, Tokens

_DURATION = re.compile(r"([1-9][0-9]*)(s|m|h)?")
_UNITS = {"s": 1, "m": 60, "h": 3600}


@click.group("token", short_help="Issue, verify and revoke tokens; rotate keys.")
def command() -> None:
    """Issue, verify and revoke the tokens with which agents prove who they are.

    Keys and tokens live in the project's state folder, which belongs to you alone, and never in the project.
    """


def _tokens(folder: Path) -> Tokens:
    from agentguard.assembly import load_project, open_tokens

    return open_tokens(load_project(folder), environ())


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter("write it as 900, 15m or 8h")
    return int(match[1]) * _UNITS[match[2] or "s"]


@command.command("issue")
@click.argument("principal")
@click.option(
    "--ttl", "ttl_s", callback=_seconds, help="How long it lives, as 15m or 8h.  [default: the setting]"
)
@click.option("--role", "roles", multiple=True, help="Only these of the principal's roles.")
@click.option("--group", "groups", multiple=True, help="Only these of the principal's groups.")
@click.option(
    "--on-behalf-of",
    "delegators",
    multiple=True,
    help="Who delegates, the immediate delegator first; can be given up to 4 times.",
)
@click.option(
    "--act-as", is_flag=True, help="Let the bearer name other principals (for trusted gateways only)."
)
@project_option
@output_options
def issue(
    principal: str,
    ttl_s: int | None,
    *,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    delegators: tuple[str, ...],
    act_as: bool,
    folder: Path,
    output: Output,
) -> None:
    """Issue a token for PRINCIPAL and print it."""
    tokens = _tokens(folder)
    try:
        token = tokens.issuer.issue(
            principal,
            ttl_s=ttl_s if ttl_s is not None else tokens.project.config.identity.token_ttl_s,
            roles=roles or None,
            groups=groups or None,
            on_behalf_of=delegators,
            act_as=act_as,
        )
    except IdentityError as error:
        # Nothing was proved or refuted: what was asked for cannot be had.
        raise click.UsageError(error.message) from None
    for note in _notes(tokens.project, (principal, *delegators), {*roles, *groups}):
        output.note(f"note: {plain(note)}")
    output.result({"token": token}, lambda: click.echo(token))


def _notes(project: Project, principals: tuple[str, ...], narrowed: set[str]) -> Iterator[str]:
    """Yield what the bearer will lack, and who issues the token would not expect."""
    listed = project.inventory.principals
    for each in principals:
        if each not in listed:
            yield f"the inventory does not list `{each}`, so it has no roles and no groups"
    has = listed.get(principals[0])
    for each in sorted(narrowed - {*has.roles, *has.groups}) if has is not None else ():
        yield f"`{principals[0]}` has no role or group `{each}`, and a token does not give it one"


@command.command("verify")
@click.argument("token", required=False)
@project_option
@output_options
def verify(token: str | None, *, folder: Path, output: Output) -> None:
    """Say whom TOKEN proves, or why it proves nobody (exit code 10).

    Without TOKEN it is read from standard input, so that it does not stand in the shell's history.
    """
    text = token if token is not None else sys.stdin.read().strip()
    found = _tokens(folder).verifier.verify(text)
    principal = found.principal

    def show() -> None:
        click.echo(f"principal {plain(principal.id)} ({principal.kind.value})")
        for name, values in (
            ("roles", principal.roles),
            ("groups", principal.groups),
            ("on behalf of", principal.on_behalf_of),
        ):
            click.echo(f"  {name}: {plain(', '.join(values)) or 'none'}")
        click.echo(f"  may name other principals: {'yes' if found.act_as else 'no'}")
        click.echo(
            f"  expires {datetime.fromtimestamp(found.expires_at, UTC):%Y-%m-%d %H:%M:%S} UTC, id {found.jti}"
        )

    output.result(found, show)


@command.command("revoke")
@click.argument("jti", required=False)
@click.option("--principal", help="Revoke all tokens issued to, or through, this principal until now.")
@project_option
@output_options
def revoke(jti: str | None, principal: str | None, *, folder: Path, output: Output) -> None:
    """Revoke the token with the id JTI, or all of a principal; every process knows within a second."""
    if (jti is None) == (principal is None):
        raise click.UsageError("name either a token's JTI or --principal")
    _tokens(folder).revoke(jti=jti, principal=principal)
    what = f"token {jti}" if jti is not None else f"all tokens of {principal} issued until now"
    output.result(
        {"revoked": {"jti": jti, "principal": principal}}, lambda: click.echo(f"revoked {plain(what)}")
    )


@command.group("keys")
def keys() -> None:
    """The keys that sign tokens."""


@keys.command("rotate")
@project_option
@output_options
def rotate(*, folder: Path, output: Output) -> None:
    """Sign with a new key from now on; tokens of the old one stay valid until they expire."""
    key_id = _tokens(folder).keys.rotate()
    output.result({"kid": key_id}, lambda: click.echo(f"tokens are signed with key {key_id} from now on"))


@command.command("admin")
@project_option
@output_options
def admin(*, folder: Path, output: Output) -> None:
    """Print the admin token, with which a person logs in to the page and the API."""
    token = _tokens(folder).admin.reveal()
    data: dict[str, Any] = {"token": token}
    output.result(data, lambda: click.echo(token))
