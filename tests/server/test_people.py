"""People log in: at `/v1/login` for the command line, on the page with a form."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from agentguard.identity import People, StateFolder
from agentguard.server import PeopleDoor
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar import Reply

GOOD = "correct horse battery"


@pytest.fixture
def people(tmp_path: Path) -> People:
    state = StateFolder.open("people-test", {"XDG_STATE_HOME": str(tmp_path)})
    made = People(state, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    made.add("dana", GOOD, roles=["approver"], groups=["ops"])
    made.add("guest", GOOD)
    made.add("root", GOOD, roles=["admin"])
    return made


@pytest.fixture
def world(people: People) -> Iterator[World]:
    with running(World(people=PeopleDoor(people))) as made:
        yield made


def login(world: World, name: str = "dana", password: str = GOOD) -> Reply:
    return world.ask("POST", "/v1/login", {"name": name, "password": password})


def token(world: World, name: str = "dana") -> str:
    reply = login(world, name)
    assert reply.status == 200, reply.body
    text: str = reply.json()["token"]
    assert text.startswith("agps_")
    return text


def form(world: World, fields: dict[str, str], cookie: str = "") -> Reply:
    headers = {
        "Origin": f"http://127.0.0.1:{world.port}",
        "Content-Type": "application/x-www-form-urlencoded",
        **({"Cookie": cookie} if cookie else {}),
    }
    return world.ask("POST", "/login", urlencode(fields).encode(), headers=headers)


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["code"]


def test_login_says_who_it_is_until_logout(world: World) -> None:
    secret = token(world)
    who = world.ask("GET", "/v1/me", token=secret)
    assert (who.status, who.json()) == (200, {"name": "dana", "roles": ["approver"], "groups": ["ops"]})
    assert world.ask("POST", "/v1/logout", token=secret).json() == {"ended": True}
    assert code(world.ask("GET", "/v1/me", token=secret)) == (401, "person_needed")
    assert code(world.ask("POST", "/v1/logout", token=secret)) == (401, "person_needed")


def test_login_is_on_record_and_failure_is_rejected(world: World) -> None:
    token(world)
    assert code(login(world, password="wrong horse battery")) == (401, "login_failed")
    kinds = [(each.get("type"), each.get("person")) for each in world.log.records]
    assert ("login", "dana") in kinds


@pytest.mark.parametrize("secret", [ADMIN, AGENT, "agps_nothing", "nonsense"])
def test_no_other_token_is_a_person(world: World, secret: str) -> None:
    assert code(world.ask("GET", "/v1/me", token=secret)) == (401, "person_needed")


def test_too_many_attempts_have_to_wait(world: World) -> None:
    statuses = [login(world, password="wrong horse battery").status for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert code(login(world)) == (429, "login_throttled")


@pytest.mark.parametrize("body", [b"{", b'{"name": "dana"}', b'{"name": 1, "password": 2}', b"x" * 10_000])
def test_malformed_login_is_refused(world: World, body: bytes) -> None:
    assert world.ask("POST", "/v1/login", body).status in {400, 413}


def test_login_ends_with_its_account_and_with_its_password(world: World, people: People) -> None:
    first, second = token(world), token(world, "root")
    people.set_disabled("dana", disabled=True)
    people.set_password("root", "another fine phrase")
    for secret in (first, second):
        assert code(world.ask("GET", "/v1/me", token=secret)) == (401, "person_needed")


def test_new_roles_count_at_once(world: World, people: People) -> None:
    secret = token(world)
    people.set_roles("dana", ["viewer"])
    assert world.ask("GET", "/v1/me", token=secret).json()["roles"] == ["viewer"]


@pytest.mark.parametrize(("name", "status"), [("dana", 200), ("root", 200), ("guest", 403)])
def test_any_role_may_read(world: World, name: str, status: int) -> None:
    assert world.ask("GET", "/v1/audit", token=token(world, name)).status == status


def test_only_an_admin_may_what_the_admin_token_may(world: World) -> None:
    reply = world.ask("POST", "/v1/tickets/revoke", {"jti": "0" * 32}, token=token(world))
    assert code(reply) == (403, "role_missing")
    assert (
        world.ask("POST", "/v1/tickets/revoke", {"jti": "0" * 32}, token=token(world, "root")).status != 403
    )


def test_form_logs_a_person_in_and_the_page_says_who(world: World) -> None:
    assert 'name="password"' in world.ask("GET", "/login").body.decode()
    reply = form(world, {"name": " Dana ", "password": GOOD, "then": "/policies"})
    assert (reply.status, reply.headers["location"]) == (303, "/policies")
    cookie = reply.headers["set-cookie"].partition(";")[0]
    page = world.ask("GET", "/", headers={"Cookie": cookie}).body.decode()
    assert '<span class="who" title="logged in as">dana</span>' in page
    assert world.ask("GET", "/v1/me", headers={"Cookie": cookie}).json()["name"] == "dana"


def test_cookie_is_no_token_and_token_no_cookie(world: World) -> None:
    reply = form(world, {"name": "dana", "password": GOOD})
    secret = reply.headers["set-cookie"].partition(";")[0].partition("=")[2]
    for candidate in (secret, f"agps_{secret}"):
        assert world.ask("GET", "/v1/me", token=candidate).status == 401
    stolen = token(world).removeprefix("agps_")
    assert world.ask("GET", "/v1/me", headers={"Cookie": f"agentguard_session={stolen}"}).status == 401


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil", "/a?b", "javascript:x", "/a\n/b"]
)
def test_login_leads_nowhere_else(world: World, then: str) -> None:
    assert form(world, {"name": "dana", "password": GOOD, "then": then}).headers["location"] == "/"


def test_wrong_password_in_the_form_is_said(world: World) -> None:
    reply = form(world, {"name": "dana", "password": "wrong horse battery"})
    assert reply.status == 403
    assert "belong to nobody" in reply.body.decode()


def test_admin_token_in_a_browser_is_no_person(world: World) -> None:
    cookie = form(world, {"token": ADMIN}).headers["set-cookie"].partition(";")[0]
    assert world.ask("GET", "/v1/audit", headers={"Cookie": cookie}).status == 200
    assert code(world.ask("GET", "/v1/me", headers={"Cookie": cookie})) == (401, "person_needed")


def test_accounts_that_cannot_be_read_let_nobody_in(world: World, tmp_path: Path) -> None:
    secret = token(world)
    (tmp_path / "agentguard" / "people-test" / "people.json").write_text("{")
    assert code(login(world)) == (503, "people_unavailable")
    assert world.ask("GET", "/v1/me", token=secret).status in {401, 503}
    assert world.ask("GET", "/v1/audit", token=secret).status in {401, 403, 503}
