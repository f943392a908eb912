"""`agentguard ticket`: show, look at and revoke execution tickets; rotate their keys."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.identity import StateFolder, TicketKeys


@click.group("ticket", short_help="Look at and revoke execution tickets; export their keys.")
def command() -> None:
    """Look at and revoke execution tickets, and give executors the keys to verify them.

    `agentguard check --ticket-for EXECUTOR` and the SDK's `check(..., ticket_for=...)` ask for one.
    """


def _open(folder: Path) -> tuple[TicketKeys, StateFolder]:
    from agentguard.assembly import load_project, open_tickets

    return open_tickets(load_project(folder), environ())


@command.command("keys")
@project_option
@output_options
def keys(*, folder: Path, output: Output) -> None:
    """Print the public keys that verify tickets, as a JWK Set: the file that an executor keeps."""
    found = _open(folder)[0].jwks()
    output.result(found, lambda: click.echo(to_json(found)))


@command.command("verify")
@click.argument("ticket", required=False)
@project_option
@output_options
def verify(ticket: str | None, *, folder: Path, output: Output) -> None:
    """Say what TICKET permits, or why it permits nothing (exit code 10); it is not used up.

    Without TICKET it is read from standard input, so that it does not stand in the shell's history.
    """
    from agentguard.enforcement import read_ticket

    text = ticket if ticket is not None else sys.stdin.read().strip()
    found = read_ticket(text, _open(folder)[0])

    def show() -> None:
        click.echo(f"{plain(found.action)} on {plain(found.resource)}, once")
        for name, value in (
            ("principal", found.principal),
            ("on behalf of", ", ".join(found.on_behalf_of) or "none"),
            ("executor", found.audience),
            ("parameters", found.params_hash),
            ("decision", found.audit_id),
        ):
            click.echo(f"  {name}: {plain(value)}")
        expires = datetime.fromtimestamp(found.expires_at, UTC)
        click.echo(f"  expires {expires:%Y-%m-%d %H:%M:%S} UTC, id {plain(found.jti)}")

    output.result(found, show)


@command.command("revoke")
@click.argument("jti")
@project_option
@output_options
def revoke(jti: str, *, folder: Path, output: Output) -> None:
    """Revoke the ticket with the id JTI in the sidecar's store, if it is not used yet (exit code 10 if it is).

    An executor with a store of its own revokes there.
    """
    from agentguard.assembly import open_ticket_store
    from agentguard.core import TicketError

    store = open_ticket_store(_open(folder)[1])
    try:
        in_time = store.revoke(jti)
    finally:
        store.close()
    if not in_time:
        raise TicketError("the ticket was used already", code="ticket_used")
    output.result({"revoked": {"jti": jti}}, lambda: click.echo(f"revoked ticket {plain(jti)}"))


@command.command("rotate")
@project_option
@output_options
def rotate(*, folder: Path, output: Output) -> None:
    """Sign tickets with a new key from now on; give executors the new `agentguard ticket keys` at once."""
    key_id = _open(folder)[0].rotate()
    output.result({"kid": key_id}, lambda: click.echo(f"tickets are signed with key {key_id} from now on"))
