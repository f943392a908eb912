"""Votes from elsewhere: a link that shows, asks for a login and votes once; a click that Slack has signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from agentguard.approvals import EmbeddedEngine
from agentguard.backends import MemoryApprovalStore, SqliteOutbox
from agentguard.core import Approval, ApprovalState, CastVote, Quorum, Route, SystemClock
from agentguard.identity import People, StateFolder
from agentguard.notify import SlackClicks, VoteLinks
from agentguard.server import PeopleDoor
from approval_scene import BEN, HERE, ListLog, draft
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.core import Person
    from sidecar import Reply

GOOD = "correct horse battery"
SIGNED_WITH = "slack-s3cret"


class Place:
    """A sidecar with an engine, links and clicks, and a person's browser."""

    def __init__(self, world: World, engine: EmbeddedEngine, links: VoteLinks) -> None:
        self.world, self.engine, self.links = world, engine, links
        self.cookie = ""

    def begin(self, *, approve: int = 1) -> Approval:
        now = SystemClock().now()
        return self.engine.open(
            draft(route=Route(quorum=Quorum(approve), limit_s=3600.0), opened_at=now, deadline=now)
        )

    def link(self, approval: Approval, *, approves: bool = True) -> str:
        return f"/decide/{self.links.issue(approval.id, approval.edition, approves=approves)}"

    def log_in(self, name: str = "anna", **fields: str) -> Reply:
        person = {} if "token" in fields else {"name": name, "password": GOOD}
        reply = self.post("/login", **person, **fields)
        self.cookie = reply.headers["set-cookie"].partition(";")[0]
        return reply

    def get(self, path: str) -> Reply:
        return self.world.ask("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})

    def post(self, path: str, **fields: str) -> Reply:
        headers = {
            "Origin": f"http://127.0.0.1:{self.world.port}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        if self.cookie:
            headers["Cookie"] = self.cookie
        return self.world.ask("POST", path, urlencode(fields).encode(), headers=headers)

    def confirm(self, path: str) -> Reply:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).body.decode())
        return self.post(path, csrf=found[1] if found else "", note="from a link")

    def click(
        self,
        approval: Approval,
        *,
        user: str = "U1",
        key: str = SIGNED_WITH,
        action: str = "agentguard_approve",
    ) -> Reply:
        payload = {
            "user": {"id": user},
            "actions": [{"action_id": action, "value": f"{approval.id}:{approval.edition}"}],
        }
        body, stamp = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()))
        signed = hmac.new(key.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signed}"}
        return self.world.ask("POST", "/v1/slack/interactions", body, headers=headers)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    state = StateFolder.open("people-test", {"XDG_STATE_HOME": str(tmp_path)})
    people = People(state, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for name, role in (("anna", "approver"), ("ben", "approver"), ("vera", "viewer")):
        people.add(name, GOOD, roles=[role])

    def find(name: str) -> Person | None:
        account = people.find(name)
        return None if account is None else account.person

    engine = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog(), find_person=find)
    outbox = SqliteOutbox(tmp_path / "outbox.sqlite")
    links = VoteLinks(b"k" * 32, outbox, ttl_s=3600)
    clicks = SlackClicks(SIGNED_WITH, {"U1": "anna", "U2": "nobody", "U3": "vera"})
    world = World(people=PeopleDoor(people), approvals=engine, links=links, clicks=clicks)
    with running(world):
        yield Place(world, engine, links)
    engine.close()
    outbox.close()


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["code"]


@pytest.mark.parametrize(
    ("approves", "state"), [(True, ApprovalState.APPROVED), (False, ApprovalState.DENIED)]
)
def test_link_asks_for_a_login_shows_and_votes_when_confirmed(
    place: Place, *, approves: bool, state: ApprovalState
) -> None:
    approval = place.begin()
    path = place.link(approval, approves=approves)
    asked = place.get(path)
    assert (asked.status, asked.headers["location"]) == (303, f"/login?then={path}")
    assert place.log_in(then=path).headers["location"] == path
    for _ in range(3):
        assert "as anna" in place.get(path).body.decode()
    assert place.engine.wait(approval.id).votes == ()
    done = place.confirm(path)
    assert (done.status, done.headers["location"]) == (303, f"/approvals/{approval.id}")
    after = place.engine.wait(approval.id)
    assert after.state is state
    assert (after.votes[0].origin.via, after.votes[0].note) == ("link", "from a link")


def test_link_votes_once_whoever_uses_it(place: Place) -> None:
    approval = place.begin(approve=2)
    path = place.link(approval)
    place.log_in("anna")
    assert place.confirm(path).status == 303
    place.cookie = ""
    place.log_in("ben")
    again = place.confirm(path)
    assert again.status == 409
    assert "This link was used." in again.body.decode()
    assert len(place.engine.wait(approval.id).votes) == 1
    assert "link_used" in place.world.rejected_kinds()


def test_link_to_what_was_changed_since_votes_on_nothing(place: Place) -> None:
    approval = place.begin(approve=2)
    path = place.link(approval)
    place.engine.apply(approval.id, CastVote(person=BEN, origin=HERE, approves=True, patch={"replicas": 1}))
    place.log_in()
    page = place.get(path).body.decode()
    assert "was changed after this link was sent" in page
    assert "as anna" not in page
    assert len(place.engine.wait(approval.id).votes) == 1


@pytest.mark.parametrize("token", ["nonsense", "a.b", "." * 50, "x" * 2000])
def test_forged_link_is_refused_on_record(place: Place, token: str) -> None:
    reply = place.get(f"/decide/{token}")
    assert code(reply) == (403, "link_invalid")
    assert "link_invalid" in place.world.rejected_kinds()


def test_link_of_who_may_not_vote_is_refused(place: Place) -> None:
    approval = place.begin()
    place.log_in("vera")
    refused = place.confirm(place.link(approval))
    assert refused.status == 409
    assert "is no approver" in refused.body.decode()


def test_no_token_of_another_kind_confirms_a_link(place: Place) -> None:
    approval = place.begin()
    path = place.link(approval)
    for token in (ADMIN, AGENT):
        assert place.world.ask("POST", path, b"", token=token).status in {303, 403}
    place.log_in(token=ADMIN)
    assert place.confirm(path).status == 303
    assert place.engine.wait(approval.id).votes == ()


def test_form_of_another_site_confirms_nothing(place: Place) -> None:
    approval = place.begin()
    path = place.link(approval)
    place.log_in()
    assert "not of this session" in place.post(path, csrf="x").body.decode()
    assert place.engine.wait(approval.id).votes == ()
    assert place.confirm(path).status == 303


def test_signed_click_is_that_persons_vote(place: Place) -> None:
    approval = place.begin()
    assert place.click(approval).status == 200
    after = place.engine.wait(approval.id)
    assert after.state is ApprovalState.APPROVED
    assert (after.votes[0].person, after.votes[0].origin.via) == ("anna", "slack")


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"key": "other"}, (401, "slack_signature")), ({"user": "U9"}, (403, "slack_person"))],
)
def test_click_that_proves_nothing_is_refused_on_record(
    place: Place, options: dict[str, str], expected: tuple[int, str]
) -> None:
    approval = place.begin()
    assert code(place.click(approval, **options)) == expected
    assert expected[1] in place.world.rejected_kinds()
    assert place.engine.wait(approval.id).votes == ()


@pytest.mark.parametrize("user", ["U2", "U3"])
def test_click_of_who_may_not_vote_changes_nothing(place: Place, user: str) -> None:
    approval = place.begin()
    assert place.click(approval, user=user).status == 200
    assert place.engine.wait(approval.id).votes == ()


def test_click_that_is_sent_again_votes_once(place: Place) -> None:
    approval = place.begin(approve=2)
    first, second = place.click(approval), place.click(approval)
    assert first.status == 200
    assert second.status in {200, 403}
    assert len(place.engine.wait(approval.id).votes) == 1
