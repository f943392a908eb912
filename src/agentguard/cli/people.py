"""`agentguard people`: accounts of people who vote, and their logins on the command line."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from agentguard.cli._options import environ, output_options, project_option
from agentguard.cli._output import Output, plain, table
from agentguard.cli._person import (
    Login,
    SidecarApi,
    as_person,
    forget_login,
    load_login,
    person_state,
    save_login,
    sidecar_url,
)
from agentguard.core import PERSON_ROLES, IdentityError

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.identity import Account, People

_MOST_INPUT = 1024


@click.group("people", short_help="Accounts of people who vote: add, role, disable, login.")
def command() -> None:
    """Manage the accounts of people, and log in as one of them.

    Who may write the project's state folder manages accounts; each change is in the audit log. A person logs in at the
    running sidecar, here or on its page, and only such a login can vote.
    """


def _people(folder: Path) -> People:
    from agentguard.assembly import load_project, open_people

    return open_people(load_project(folder), environ(), by=f"os:{_user()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _shown(account: Account) -> dict[str, Any]:
    return {
        "name": account.name, "roles": list(account.roles), "groups": list(account.groups),
        "disabled": account.is_disabled,
    }  # fmt: skip


def _say(output: Output, account: Account, text: str) -> None:
    output.result(_shown(account), lambda: click.echo(f"{account.name} {text}"))


def _new_password(*, from_stdin: bool) -> str:
    if from_stdin or not sys.stdin.isatty():
        return sys.stdin.readline(_MOST_INPUT).rstrip("\n")
    text: str = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
    return text


_PASSWORD_OPTION = click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)


@command.command("add")
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(PERSON_ROLES),
    help="What they may; can be repeated.  [default: viewer]",
)
@click.option(
    "--group", "groups", multiple=True, help="A group that rules of approval name; can be repeated."
)
@_PASSWORD_OPTION
@project_option
@output_options
def add(
    name: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    *,
    from_stdin: bool,
    folder: Path,
    output: Output,
) -> None:
    r"""Make an account for NAME, and ask for its password.

    \b
    Roles: viewer looks, approver votes, policy-author proposes rules, admin manages. None includes another.

    \b
    Example:
      agentguard people add dana --role approver --group payments
    """
    people = _people(folder)
    password = _new_password(from_stdin=from_stdin)
    account = people.add(name, password, roles=roles or ("viewer",), groups=groups)
    _say(output, account, f"may log in as {', '.join(account.roles)}")


@command.command("list")
@project_option
@output_options
def list_(*, folder: Path, output: Output) -> None:
    """List the accounts."""
    accounts = _people(folder).list()

    def show() -> None:
        if not accounts:
            click.echo("there is no account yet; make one with `agentguard people add`")
            return
        rows = [
            (each.name, ", ".join(each.roles), ", ".join(each.groups), "disabled" if each.is_disabled else "")
            for each in accounts
        ]
        table(("name", "roles", "groups", ""), rows)

    output.result([_shown(each) for each in accounts], show)


@command.command("role")
@click.argument("name")
@click.argument("roles", nargs=-1, type=click.Choice(PERSON_ROLES))
@project_option
@output_options
def role(name: str, roles: tuple[str, ...], *, folder: Path, output: Output) -> None:
    """Give NAME just these ROLES; without any, none."""
    account = _people(folder).set_roles(name, roles)
    _say(output, account, f"has the roles: {', '.join(account.roles) or 'none'}")


@command.command("group")
@click.argument("name")
@click.argument("groups", nargs=-1)
@project_option
@output_options
def group(name: str, groups: tuple[str, ...], *, folder: Path, output: Output) -> None:
    """Put NAME into just these GROUPS; without any, into none."""
    account = _people(folder).set_groups(name, groups)
    _say(output, account, f"is in the groups: {', '.join(account.groups) or 'none'}")


@command.command("password")
@click.argument("name")
@_PASSWORD_OPTION
@project_option
@output_options
def password(name: str, *, from_stdin: bool, folder: Path, output: Output) -> None:
    """Give NAME a new password, and end their logins."""
    people = _people(folder)
    account = people.set_password(name, _new_password(from_stdin=from_stdin))
    _say(output, account, "has a new password; open logins have ended")


@command.command("disable")
@click.argument("name")
@project_option
@output_options
def disable(name: str, *, folder: Path, output: Output) -> None:
    """Let NAME log in no more, and end their logins."""
    _say(output, _people(folder).set_disabled(name, disabled=True), "is disabled; open logins have ended")


@command.command("enable")
@click.argument("name")
@project_option
@output_options
def enable(name: str, *, folder: Path, output: Output) -> None:
    """Let NAME log in again."""
    _say(output, _people(folder).set_disabled(name, disabled=False), "may log in again")


_URL_OPTION = click.option(
    "--url", help="The sidecar's address.  [default: by the settings, http://127.0.0.1:8787]"
)


@command.command("login")
@click.argument("name")
@_PASSWORD_OPTION
@_URL_OPTION
@project_option
@output_options
def login(name: str, *, from_stdin: bool, url: str | None, folder: Path, output: Output) -> None:
    """Log in as NAME at the sidecar; the login is kept in your state folder for 12 hours at most."""
    where = sidecar_url(folder, url)
    text = (
        sys.stdin.readline(_MOST_INPUT).rstrip("\n")
        if from_stdin
        else click.prompt("Password", hide_input=True, err=True)
    )
    answer = SidecarApi(where).ask("POST", "/v1/login", {"name": name, "password": text})
    made = Login(where, name, str(answer["token"]), time.time() + float(answer["expires_in_s"]))
    save_login(person_state(folder), made)
    output.result({"name": name, "url": where}, lambda: click.echo(f"logged in as {plain(name)} at {where}"))


@command.command("logout")
@project_option
@output_options
def logout(*, folder: Path, output: Output) -> None:
    """End the login that is kept here."""
    state = person_state(folder)
    kept = load_login(state)
    forget_login(state)
    if kept is not None:
        try:
            SidecarApi(kept.url, kept.token).ask("POST", "/v1/logout")
        except IdentityError:
            # It had ended already.
            kept = None
    output.result(
        {"ended": kept is not None}, lambda: click.echo("logged out" if kept else "nobody was logged in")
    )


@command.command("whoami")
@project_option
@output_options
def whoami(*, folder: Path, output: Output) -> None:
    """Say who has logged in here, as the sidecar knows them now."""
    api, kept = as_person(folder)
    who = api.ask("GET", "/v1/me")

    def show() -> None:
        roles, groups = ", ".join(who["roles"]) or "none", ", ".join(who["groups"]) or "none"
        click.echo(f"{plain(who['name'])} at {kept.url}; roles: {plain(roles)}; groups: {plain(groups)}")

    output.result({**who, "url": kept.url}, show)
