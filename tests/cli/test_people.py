"""`agentguard people`: accounts, and a login at a real sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import sidecar

if TYPE_CHECKING:
    from command_line import Command

GOOD = "correct horse battery"


def add(agentguard: Command, *more: str, name: str = "dana") -> None:
    assert agentguard("people", "add", name, *more, stdin=f"{GOOD}\n").code == 0


def test_account_is_made_changed_and_listed_on_record(agentguard: Command) -> None:
    add(agentguard, "--role", "approver", "--group", "ops")
    add(agentguard, name="eli")
    assert agentguard("people", "role", "dana", "admin", "approver").code == 0
    assert agentguard("people", "group", "dana").code == 0
    assert agentguard("people", "disable", "eli").code == 0
    assert agentguard("people", "list", "--json").json() == [
        {"name": "dana", "roles": ["approver", "admin"], "groups": [], "disabled": False},
        {"name": "eli", "roles": ["viewer"], "groups": [], "disabled": True},
    ]
    records = [each for each in agentguard.records() if each["type"] == "people"]
    assert [(each["change"], each["person"]) for each in records] == [
        ("added", "dana"), ("added", "eli"), ("roles", "dana"), ("groups", "dana"), ("disabled", "eli"),
    ]  # fmt: skip
    assert all(each["by"].startswith("os:") for each in records)
    assert GOOD not in str(records)


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        (("add", "Dana"), GOOD, "`Dana` is no name"),
        (("add", "dana"), "short", "at least 12 characters"),
        (("add", "dana", "--role", "root"), GOOD, "'root' is not one of"),
        (("role", "nobody", "viewer"), "", "nobody is called `nobody`"),
    ],
)
def test_bad_account_is_an_error_that_says_why(
    agentguard: Command, arguments: tuple[str, ...], password: str, said: str
) -> None:
    ran = agentguard("people", *arguments, stdin=f"{password}\n")
    assert ran.code != 0
    assert said in ran.err


def test_empty_list_says_what_to_do(agentguard: Command) -> None:
    assert "agentguard people add" in agentguard("people", "list").out


@pytest.mark.slow
def test_login_lasts_until_logout_or_until_the_account_ends(agentguard: Command) -> None:
    add(agentguard, "--role", "approver")
    assert "agentguard people login" in agentguard("people", "whoami").err
    with sidecar(agentguard.folder) as running:
        url = running.url
        wrong = agentguard(
            "people", "login", "dana", "--password-stdin", "--url", url, stdin="wrong horse battery\n"
        )
        assert wrong.code != 0
        assert "belong to nobody" in wrong.err
        login = agentguard("people", "login", "dana", "--password-stdin", "--url", url, stdin=f"{GOOD}\n")
        assert login.code == 0, login.err
        assert agentguard("people", "whoami", "--json").json()["roles"] == ["approver"]
        assert agentguard("people", "logout").out == "logged out\n"
        assert agentguard("people", "whoami").code != 0
        assert agentguard("people", "logout").out == "nobody was logged in\n"
        agentguard("people", "login", "dana", "--password-stdin", "--url", url, stdin=f"{GOOD}\n")
        agentguard("people", "disable", "dana")
        assert "has logged in" in agentguard("people", "whoami").err
    gone = agentguard("people", "login", "dana", "--password-stdin", "--url", url, stdin=f"{GOOD}\n")
    assert "cannot be asked" in gone.err
    assert "Traceback" not in gone.err
