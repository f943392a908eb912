from __future__ import annotations

import base64
import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from agentguard.cli._app import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from command_line import Command


def _issue(agentguard: Command, *arguments: str) -> str:
    ran = agentguard("token", "issue", "deploy-agent", *arguments)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def _verify(agentguard: Command, token: str) -> tuple[int, str]:
    ran = agentguard("token", "verify", token)
    assert token not in ran.out + ran.err
    return ran.code, ran.out + ran.err


def _b64(data: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def _with_header(token: str, **changes: str) -> str:
    head, claims, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    return f"{_b64({**header, **changes})}.{claims}.{signature}"


def test_a_token_proves_its_principal(agentguard: Command) -> None:
    token = _issue(agentguard)
    code, text = _verify(agentguard, token)
    assert code == 0
    assert "principal deploy-agent (agent)" in text
    assert "roles: deployer" in text
    assert "may name other principals: no" in text
    found = agentguard("token", "verify", token, "--json").json()
    assert found["principal"]["id"] == "deploy-agent"


def test_a_token_is_read_from_standard_input(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(_issue(agentguard) + "\n"))
    assert agentguard("token", "verify").code == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: "", "three parts"),
        (lambda _: "\x1b[31m" * 9, "three parts"),
        (lambda _: "x" * 20_000, "token"),
        (lambda token: token[:-8] + "AAAAAAAA", "signature"),
        (lambda token: _with_header(token, alg="none"), "algorithm"),
        (lambda token: _with_header(token, alg="HS256"), "algorithm"),
        (lambda token: _with_header(token, kid="other"), "key"),
    ],
)
def test_each_failure_is_10_with_its_own_message(
    agentguard: Command, spoil: Callable[[str], str], message: str
) -> None:
    token = spoil(_issue(agentguard))
    ran = agentguard("token", "verify", token)
    assert ran.code == 10
    assert message in ran.err
    assert "\x1b" not in ran.err
    assert not token or token not in ran.err


def test_a_revoked_token_is_refused_and_others_are_not(agentguard: Command) -> None:
    first, second = _issue(agentguard), _issue(agentguard)
    jti = agentguard("token", "verify", first, "--json").json()["jti"]
    assert agentguard("token", "revoke", jti).code == 0
    assert _verify(agentguard, first)[0] == 10
    assert _verify(agentguard, second)[0] == 0
    assert agentguard("token", "revoke", "--principal", "deploy-agent").code == 0
    code, text = _verify(agentguard, second)
    assert (code, "revoked" in text) == (10, True)


def test_a_token_of_another_project_is_refused(agentguard: Command) -> None:
    token = _issue(agentguard)
    other = agentguard.folder.parent / "other"
    agentguard("init", other)
    ran = agentguard("token", "verify", token, "--project", other)
    assert (ran.code, "key" in ran.err) == (10, True)


def test_a_short_token_expires(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = agentguard("token", "verify", _issue(agentguard, "--ttl", "15m"), "--json").json()
    assert found["expires_at"] - found["issued_at"] == pytest.approx(900, abs=2)


def test_old_tokens_hold_after_a_rotation(agentguard: Command) -> None:
    token = _issue(agentguard)
    ran = agentguard("token", "keys", "rotate", "--json")
    assert ran.json()["kid"]
    assert _verify(agentguard, token)[0] == 0
    header = json.loads(base64.urlsafe_b64decode(_issue(agentguard).split(".")[0] + "=="))
    assert header["kid"] == ran.json()["kid"]
    assert "signed with key" in agentguard("token", "keys", "rotate").out


def test_the_admin_token_is_the_same_each_time(agentguard: Command) -> None:
    first = agentguard("token", "admin").out
    assert re.fullmatch(r"agadm_[\w-]+\n", first)
    assert agentguard("token", "admin", "--json").json()["token"] == first.strip()


def test_delegation_and_narrowing_show_in_the_token(agentguard: Command) -> None:
    token = _issue(agentguard, "--on-behalf-of", "boss", "--role", "deployer", "--act-as")
    out = agentguard("token", "verify", token).out
    assert "on behalf of: boss" in out
    assert "may name other principals: yes" in out


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (("issue", "nobody"), "the inventory does not list `nobody`"),
        (("issue", "deploy-agent", "--role", "root"), "`deploy-agent` has no role or group `root`"),
        (("issue", "deploy-agent", "--on-behalf-of", "boss"), "the inventory does not list `boss`"),
    ],
)
def test_a_token_that_gives_less_than_it_seems_is_issued_with_a_note(
    agentguard: Command, arguments: tuple[str, ...], note: str
) -> None:
    ran = agentguard("token", *arguments)
    assert (ran.code, note in ran.err) == (0, True)
    assert len(ran.out.split()) == 1
    assert agentguard("token", *arguments, "-q").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("issue",),
        ("issue", "deploy-agent", "--ttl", "soon"),
        ("issue", "deploy-agent", "--ttl", "0"),
        ("issue", "deploy-agent", "--ttl", "999h"),
        ("issue", "deploy-agent", *("--on-behalf-of", "a") * 5),
        ("issue", ""),
        ("revoke",),
        ("revoke", "jti", "--principal", "a"),
        ("keys",),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage(agentguard: Command, arguments: tuple[str, ...]) -> None:
    ran = agentguard("token", *arguments)
    assert (ran.code, ran.out) == (2, "")


def test_no_error_of_the_command_holds_the_token(
    agentguard: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    token = _issue(agentguard)
    for key in agentguard.state.rglob("token-ed25519-keys.json"):
        key.write_text("{")
    assert run(["token", "verify", token]) == 4
    assert token not in "".join(capsys.readouterr())
