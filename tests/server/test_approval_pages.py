"""The pages of approvals: what a person sees, and what their forms do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from agentguard.approvals import EmbeddedEngine
from agentguard.backends import MemoryApprovalStore
from agentguard.core import (
    Approval,
    ApprovalEngine,
    ApprovalState,
    Consume,
    Dispatch,
    Quorum,
    Route,
    SystemClock,
)
from agentguard.identity import People, StateFolder
from agentguard.server import PeopleDoor
from approval_scene import ListLog, draft
from sidecar import ADMIN, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar import Reply

GOOD = "correct horse battery"
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def people(tmp_path: Path) -> People:
    state = StateFolder.open("people-test", {"XDG_STATE_HOME": str(tmp_path)})
    made = People(state, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for name, role in (("anna", "approver"), ("ben", "approver"), ("vera", "viewer"), ("root", "admin")):
        made.add(name, GOOD, roles=[role])
    made.add("guest", GOOD)
    return made


@pytest.fixture
def engine(people: People) -> Iterator[EmbeddedEngine]:
    def find(name: str) -> object:
        account = people.find(name)
        return None if account is None else account.person

    made = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog(), find_person=find)  # type: ignore[arg-type]  # the same shape
    yield made
    made.close()


@pytest.fixture
def world(people: People, engine: EmbeddedEngine) -> Iterator[World]:
    with running(World(people=PeopleDoor(people), approvals=engine)) as made:
        yield made


def begin(engine: ApprovalEngine, number: int = 1, *, approve: int = 1, **changes: object) -> Approval:
    now = SystemClock().now()
    route = Route(quorum=Quorum(approve), limit_s=3600.0)
    return engine.open(draft(number, route=route, opened_at=now, deadline=now, **changes))


class Browser:
    """What a browser keeps: a cookie, and the form token of the last page."""

    def __init__(self, world: World, name: str = "", token: str = "") -> None:
        self.world = world
        fields = {"token": token} if token else {"name": name, "password": GOOD}
        self.cookie = self._post("/login", fields, "").headers["set-cookie"].partition(";")[0]
        self.csrf = ""

    def get(self, path: str) -> Reply:
        reply = self.world.ask("GET", path, headers={"Cookie": self.cookie})
        found = re.search(r'name="csrf" value="([^"]+)"', reply.body.decode())
        self.csrf = found[1] if found else ""
        return reply

    def post(self, path: str, **fields: str) -> Reply:
        return self._post(path, {"csrf": self.csrf, **fields}, self.cookie)

    def _post(self, path: str, fields: dict[str, str], cookie: str) -> Reply:
        headers = {
            "Origin": f"http://127.0.0.1:{self.world.port}",
            "Content-Type": "application/x-www-form-urlencoded",
            **({"Cookie": cookie} if cookie else {}),
        }
        return self.world.ask("POST", path, urlencode(fields).encode(), headers=headers)


def decide(world: World, approval: Approval, choice: str, name: str = "anna", **fields: str) -> Reply:
    browser = Browser(world, name)
    browser.get(f"/approvals/{approval.id}")
    return browser.post(f"/approvals/{approval.id}", choice=choice, **fields)


def test_without_a_login_the_page_asks_for_one_and_leads_back(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    for path in ("/approvals", f"/approvals/{approval.id}"):
        reply = world.ask("GET", path)
        assert (reply.status, reply.headers["location"]) == (303, f"/login?then={path}")
    assert (
        f'name="then" value="/approvals/{approval.id}"'
        in world.ask("GET", f"/login?then=/approvals/{approval.id}").body.decode()
    )


def test_list_shows_what_waits_and_hostile_text_as_text(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine, resource=HOSTILE, params={"x": HOSTILE})
    browser = Browser(world, "anna")
    for path in ("/approvals", f"/approvals/{approval.id}"):
        page = browser.get(path).body.decode()
        assert "deploy-agent on behalf of olga" in page
        assert "<script>alert" not in page
        assert "⟨U+202E⟩" in page


@pytest.mark.parametrize(
    ("choice", "state"), [("approve", ApprovalState.APPROVED), ("deny", ApprovalState.DENIED)]
)
def test_person_decides_in_the_form(
    world: World, engine: EmbeddedEngine, choice: str, state: ApprovalState
) -> None:
    approval = begin(engine)
    reply = decide(world, approval, choice, note="looked at it", edition="0")
    assert (reply.status, reply.headers["location"]) == (303, f"/approvals/{approval.id}")
    after = engine.wait(approval.id)
    assert after.state is state
    [vote] = after.votes
    assert (vote.person, vote.note, vote.origin.via, vote.origin.address) == (
        "anna",
        "looked at it",
        "page",
        "127.0.0.1",
    )
    page = Browser(world, "ben").get(f"/approvals/{approval.id}").body.decode()
    assert "by <bdi>anna (page, 127.0.0.1)</bdi>" in page
    assert 'value="approve"' not in page


def test_second_voice_is_counted_and_the_same_one_is_not(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine, approve=2)
    assert decide(world, approval, "approve").status == 303
    again = decide(world, approval, "approve")
    assert again.status == 409
    assert "has voted on this" in again.body.decode()
    assert "1 of 2" in Browser(world, "ben").get(f"/approvals/{approval.id}").body.decode()
    assert decide(world, approval, "approve", "ben").status == 303
    assert engine.wait(approval.id).state is ApprovalState.APPROVED


def test_change_defer_delegate_and_emergency(world: World, engine: EmbeddedEngine) -> None:
    first, second, third, fourth = (begin(engine, number) for number in range(1, 5))
    assert decide(world, first, "edit", patch='{"replicas": 2}').status == 303
    assert engine.wait(first.id).patch == {"replicas": 2}
    assert decide(world, second, "defer", minutes="30").status == 303
    assert engine.wait(second.id).deferred_s == 1800
    assert decide(world, third, "delegate", to=" Ben ").status == 303
    assert engine.wait(third.id).delegations[0].taker == "ben"
    assert decide(world, fourth, "glass", "root", note="the site is down").status == 303
    assert engine.wait(fourth.id).state is ApprovalState.APPROVED
    assert "Worth a look" in Browser(world, "vera").get("/approvals").body.decode()
    assert decide(world, fourth, "justified", "anna").status == 303
    assert not engine.wait(fourth.id).awaits_review


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("vera", {"choice": "approve"}, "is no approver"),
        ("root", {"choice": "approve"}, "is no approver"),
        ("anna", {"choice": "glass", "note": "now"}, "may not break the glass"),
        ("anna", {"choice": "edit", "patch": "no json"}, "no JSON object"),
        ("anna", {"choice": "defer", "minutes": "-1"}, "a number above zero"),
        ("anna", {"choice": "dance"}, "nothing that can be done"),
        ("anna", {}, "nothing that can be done"),
        ("anna", {"choice": "approve", "edition": "7"}, "changed"),
    ],
)
def test_refused_form_says_why_and_keeps_what_was_written(
    world: World, engine: EmbeddedEngine, name: str, fields: dict[str, str], said: str
) -> None:
    approval = begin(engine)
    reply = decide(world, approval, name=name, **{"choice": "", "note": "my note", **fields})
    page = reply.body.decode()
    assert reply.status == 409
    assert said in page
    assert fields.get("note", "my note") in page
    assert engine.wait(approval.id).state is ApprovalState.PENDING


def test_form_of_another_session_votes_on_nothing(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    browser = Browser(world, "anna")
    for csrf in ("", "x" * 43, Browser(world, "ben").get("/approvals").body.decode()[:0]):
        browser.csrf = csrf
        assert (
            "not of this session" in browser.post(f"/approvals/{approval.id}", choice="approve").body.decode()
        )
    assert engine.wait(approval.id).votes == ()


def test_admin_token_looks_and_votes_on_nothing(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    browser = Browser(world, token=ADMIN)
    assert "votes on nothing" in browser.get("/approvals").body.decode()
    page = browser.get(f"/approvals/{approval.id}").body.decode()
    assert 'value="approve"' not in page
    reply = browser.post(f"/approvals/{approval.id}", choice="approve")
    assert reply.status == 409
    assert engine.wait(approval.id).votes == ()


def test_person_without_a_role_sees_nothing(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    browser = Browser(world, "guest")
    assert browser.get("/approvals").status == 403
    assert browser.get(f"/approvals/{approval.id}").status == 403
    assert browser.post(f"/approvals/{approval.id}", choice="approve").status == 403


def test_what_is_not_there_is_said(world: World) -> None:
    browser = Browser(world, "anna")
    assert browser.get("/approvals/ap-nothing").status == 404
    assert "Nothing waits" in browser.get("/approvals").body.decode()


def test_dispatched_without_outcome_is_worth_a_look(world: World, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    decide(world, approval, "approve")
    consumed = engine.apply(
        approval.id, Consume(binding=approval.binding, policy_version=approval.policy_version)
    )
    engine.apply(approval.id, Dispatch(audit_id="audit-1"))
    assert consumed.state is ApprovalState.CONSUMED
    page = Browser(world, "vera").get("/approvals").body.decode()
    assert "dispatched, effect unknown" in page


def test_server_that_asks_nobody_says_so(people: People) -> None:
    with running(World(people=PeopleDoor(people))) as world:
        assert Browser(world, "anna").get("/approvals").status == 503
