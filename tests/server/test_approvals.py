"""Approvals over HTTP: agents wait for theirs, people look and vote."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from argon2 import PasswordHasher

from agentguard.approvals import EmbeddedEngine
from agentguard.backends import MemoryApprovalStore
from agentguard.core import AuditError
from agentguard.identity import People, StateFolder
from agentguard.server import PeopleDoor
from agentguard.server import _approvals as routes
from approval_scene import ListLog, draft
from sidecar import ADMIN, AGENT, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentguard.core import Approval
    from sidecar import Reply

GOOD = "correct horse battery"


# One server for all: each test has an approval of its own.
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def log() -> ListLog:
    return ListLog()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def engine(folder: Path, log: ListLog) -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(
        MemoryApprovalStore(), audit=log, find_person=people(folder).person, keeps_time=True
    )
    yield made
    made.close()


def people(folder: Path) -> People:
    state = StateFolder.open("approvals-test", {"XDG_STATE_HOME": str(folder)})
    made = People(state, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    if not made.list():
        made.add("dana", GOOD, roles=["approver"])
        made.add("eli", GOOD, roles=["approver"])
        made.add("root", GOOD, roles=["admin"])
    return made


@pytest.fixture(scope="module")
def world(engine: EmbeddedEngine, folder: Path) -> Iterator[World]:
    with running(World(people=PeopleDoor(people(folder)), approvals=engine)) as made:
        yield made


@pytest.fixture
def asked(engine: EmbeddedEngine) -> Approval:
    return engine.open(draft(next(NUMBERS)))


def login(world: World, name: str = "dana") -> str:
    reply = world.ask("POST", "/v1/login", {"name": name, "password": GOOD})
    return str(reply.json()["token"])


def vote_on(log: ListLog, approval: Approval) -> dict[str, Any]:
    return next(each for each in log.records if (each["approval"], each["status"]) == (approval.id, "voted"))


def act(world: World, approval: Approval, what: str, body: Any, token: str | None) -> Reply:
    return world.ask("POST", f"/v1/approvals/{approval.id}/{what}", body, token)


def test_a_person_decides_and_where_from_is_on_record(world: World, asked: Approval, log: ListLog) -> None:
    reply = act(world, asked, "vote", {"approve": True, "note": "fine", "edition": 0}, login(world))
    assert (reply.status, reply.json()["state"]) == (200, "approved")
    voted = vote_on(log, asked)
    assert (voted["by"], voted["origin"]) == ("dana", {"via": "api", "address": "127.0.0.1"})


def test_the_command_line_is_told_apart(world: World, asked: Approval, log: ListLog) -> None:
    headers = {"User-Agent": "agentguard-cli"}
    path = f"/v1/approvals/{asked.id}/vote"
    assert world.ask("POST", path, {"approve": False}, login(world), headers).json()["state"] == "denied"
    assert vote_on(log, asked)["origin"]["via"] == "cli"


ACTS: list[tuple[str, str, Any, int, str]] = [
    ("dana", "defer", {"for_s": 60}, 200, ""),
    ("dana", "delegate", {"to": "eli"}, 200, ""),
    ("root", "break-glass", {"reason": "it burns"}, 200, ""),
    ("dana", "break-glass", {"reason": "it burns"}, 403, "glass_refused"),
    ("root", "vote", {"approve": True}, 403, "approval_not_yours"),
    ("dana", "vote", {"approve": True, "edition": 3}, 409, "approval_changed"),
    ("dana", "review", {"justified": True}, 403, "review_refused"),
    ("dana", "delegate", {"to": "nobody"}, 403, "delegate_refused"),
    ("dana", "defer", {"for_s": 100_000}, 409, "defer_refused"),
    ("dana", "defer", {"for_s": -1}, 400, "shape_invalid"),
    ("dana", "vote", {"approve": "yes"}, 400, "shape_invalid"),
    ("dana", "vote", {"approve": True, "person": "eli"}, 400, "shape_invalid"),
    ("dana", "vote", {"approve": False, "patch": {}}, 400, "approval_invalid"),
]


@pytest.mark.parametrize(("who", "what", "body", "status", "code"), ACTS)
def test_what_people_do_is_done_or_refused(  # noqa: PLR0917 - a table's columns
    world: World, asked: Approval, who: str, what: str, body: Any, status: int, code: str
) -> None:
    reply = act(world, asked, what, body, login(world, who))
    assert reply.status == status
    assert reply.status == 200 or reply.code == code


@pytest.mark.parametrize("token", [AGENT, ADMIN, None, "nonsense"])
def test_no_token_is_a_vote(world: World, asked: Approval, token: str | None, engine: EmbeddedEngine) -> None:
    for what in ("vote", "defer", "delegate", "break-glass", "review"):
        reply = act(world, asked, what, {"approve": True}, token)
        assert (reply.status, reply.code) == (401, "person_needed")
    assert engine.wait(asked.id).votes == ()


def test_a_principal_sees_where_its_own_stands_and_no_more(world: World, asked: Approval) -> None:
    own = world.ask("GET", f"/v1/approvals/{asked.id}", token=AGENT)
    assert set(own.json()) == {"id", "state", "revision", "deadline"}
    assert world.ask("GET", "/v1/approvals", token=AGENT).status == 403
    assert world.ask("GET", "/v1/approvals/ap-none", token=AGENT).status == 404


def test_what_is_somebody_elses_is_not_there(world: World, engine: EmbeddedEngine) -> None:
    other = engine.open(draft(next(NUMBERS), principal="other-agent"))
    assert world.ask("GET", f"/v1/approvals/{other.id}", token=AGENT).code == "approval_unknown"
    assert act(world, other, "cancel", {}, AGENT).code == "approval_unknown"
    waited = world.ask("POST", "/v1/approvals/wait", {"approval": other.id}, AGENT)
    assert (waited.status, waited.code) == (404, "approval_unknown")


def test_a_principal_takes_back_what_it_asked_for(world: World, asked: Approval) -> None:
    reply = act(world, asked, "cancel", {"note": "not needed"}, AGENT)
    assert reply.json()["note"] == "withdrawn by who asked: not needed"
    assert act(world, asked, "cancel", {}, AGENT).code == "approval_closed"


@pytest.mark.parametrize("token", [ADMIN, "login"])
def test_who_may_look_lists_and_shows(world: World, asked: Approval, token: str) -> None:
    token = login(world) if token == "login" else token
    listed = world.ask("GET", "/v1/approvals?state=pending,approved&newest=true&limit=1", token=token).json()
    assert [each["id"] for each in listed["approvals"]] == [asked.id]
    assert listed["next"] is not None
    assert world.ask("GET", f"/v1/approvals?after={listed['next']}", token=token).json()["approvals"] == []
    assert world.ask("GET", f"/v1/approvals/{asked.id}", token=token).json()["params"] == asked.params
    assert world.ask("GET", "/v1/approvals/ap-none", token=token).status == 404


@pytest.mark.parametrize(
    "query",
    ["state=maybe", "limit=0", "limit=1001", "after=x", "newest=1", "effect_unknown=yes", "color=red"],
)
def test_a_query_that_is_none_is_refused(world: World, query: str) -> None:
    assert world.ask("GET", f"/v1/approvals?{query}", token=ADMIN).code == "query_invalid"


def test_nobody_looks_without_a_login(world: World, asked: Approval) -> None:
    for path in ("", "/stream", f"/{asked.id}"):
        assert world.ask("GET", f"/v1/approvals{path}").status == 401


def test_a_caller_is_held_until_the_vote(world: World, asked: Approval) -> None:
    came: list[Any] = []

    def wait() -> None:
        body = {"approval": asked.id, "timeout_s": 8}
        came.append(world.ask("POST", "/v1/approvals/wait", body, AGENT).json()["state"])
        came.append(world.ask("GET", f"/v1/approvals/{asked.id}?wait=8", token=AGENT).json()["state"])

    caller = threading.Thread(target=wait)
    caller.start()
    act(world, asked, "vote", {"approve": True}, login(world))
    caller.join(10)
    assert came == ["approved", "approved"]


def test_who_finds_no_room_to_be_held_is_answered_at_once(
    world: World, asked: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_HELD", 0)
    begun = time.monotonic()
    assert world.ask("GET", f"/v1/approvals/{asked.id}?wait=30", token=AGENT).json()["state"] == "pending"
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("wait", ["-1", "61", "x", "", "1.2.3"])
def test_a_wait_that_is_none_is_refused(world: World, asked: Approval, wait: str) -> None:
    assert world.ask("GET", f"/v1/approvals/{asked.id}?wait={wait}", token=AGENT).code == "query_invalid"


def holding() -> int:
    return sum("agentguard-held" in each.name for each in threading.enumerate())


def test_a_shutdown_answers_who_is_held(engine: EmbeddedEngine, asked: Approval, folder: Path) -> None:
    came: list[Any] = []
    held = holding()
    with running(World(people=PeopleDoor(people(folder)), approvals=engine)) as world:
        body = {"approval": asked.id, "timeout_s": 60}

        def wait() -> None:
            came.append(world.ask("POST", "/v1/approvals/wait", body, AGENT).json()["state"])

        caller = threading.Thread(target=wait)
        caller.start()
        while holding() == held:
            time.sleep(0.01)
    caller.join(10)
    assert came == ["pending"]


def place_of(answer: http.client.HTTPResponse, approval: Approval) -> str:
    """Return the place of an approval in a stream; the connection's timeout is the deadline."""
    place = ""
    while approval.id not in (line := answer.readline().decode()):
        place = line.removeprefix("id: ").strip() if line.startswith("id: ") else place
    return place


def test_the_stream_goes_on_where_it_was_cut(world: World, engine: EmbeddedEngine, asked: Approval) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
    headers = {"Authorization": f"Bearer {ADMIN}", "Last-Event-ID": "0"}
    connection.request("GET", "/v1/approvals/stream", headers=headers)
    place = place_of(connection.getresponse(), asked)
    connection.close()
    connection.request("GET", f"/v1/approvals/stream?after={place}", headers=headers | {"Last-Event-ID": ""})
    later = engine.open(draft(next(NUMBERS)))
    assert int(place_of(connection.getresponse(), later)) > int(place)
    connection.close()


def test_a_stream_begins_with_what_is_new(world: World, engine: EmbeddedEngine, asked: Approval) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
    connection.request("GET", "/v1/approvals/stream", headers={"Authorization": f"Bearer {ADMIN}"})
    answer = connection.getresponse()
    assert answer.readline() == b"retry: 1000\n"
    later = engine.open(draft(next(NUMBERS)))
    told = b""
    while later.id.encode() not in told:
        told += answer.readline()
    assert asked.id.encode() not in told
    connection.close()


def test_streams_have_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_STREAMS", 0)
    assert world.ask("GET", "/v1/approvals/stream", token=ADMIN).code == "streams_exhausted"


def test_a_full_log_says_that_the_vote_is_kept(world: World, asked: Approval, log: ListLog) -> None:
    token = login(world)
    log.is_full = True
    reply = act(world, asked, "vote", {"approve": True}, token)
    assert (reply.status, reply.code) == (503, AuditError.default_code)
    assert "is kept" in reply.json()["error"]["hint"]
    log.is_full = False


def test_a_server_without_approvals_says_so() -> None:
    with running(World()) as world:
        assert world.ask("GET", "/v1/approvals", token=ADMIN).code == "approvals_missing"
