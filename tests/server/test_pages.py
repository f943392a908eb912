from __future__ import annotations

import http.client
import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from agentguard.config import ServerSettings
from agentguard.core import Event, EventError, EventKind
from agentguard.server import _feed
from sidecar import ADMIN, World, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar import Reply


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running(World()) as made:
        yield made


@pytest.fixture
def fresh() -> Iterator[World]:
    with running(World()) as made:
        yield made


def post(world: World, path: str, form: Mapping[str, str], headers: Mapping[str, str] = {}) -> Reply:
    own = {"Origin": f"http://127.0.0.1:{world.port}", "Content-Type": "application/x-www-form-urlencoded"}
    return world.ask("POST", path, urlencode(form).encode(), headers={**own, **headers})


def log_in(world: World) -> dict[str, str]:
    reply = post(world, "/login", {"token": ADMIN})
    assert (reply.status, reply.headers["location"]) == (303, "/")
    return {"Cookie": reply.headers["set-cookie"].partition(";")[0]}


@contextmanager
def stream(world: World, query: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
    connection.request("GET", f"/events{query}", headers=dict(headers))
    answer = connection.getresponse()
    try:
        yield answer
    finally:
        answer.close()
        connection.close()


def next_event(answer: http.client.HTTPResponse, kind: str) -> tuple[str, dict[str, object]]:
    """Return the id and the data of the next event of a kind."""
    fields: dict[str, str] = {}
    while line := answer.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if line != "\n":
            fields[name] = value
        elif fields.get("event") == kind:
            return fields.get("id", ""), json.loads(fields["data"])
        else:
            fields = {}
    raise AssertionError("the stream ended")


def test_without_a_session_the_page_asks_for_the_token(world: World) -> None:
    reply = world.ask("GET", "/")
    assert (reply.status, reply.headers["location"]) == (303, "/login")
    assert b'type="password"' in world.ask("GET", "/login").body


def test_login_sets_a_cookie_that_no_script_and_no_other_site_can_use(world: World) -> None:
    cookie = post(world, "/login", {"token": f" {ADMIN}\n"}).headers["set-cookie"]
    assert re.fullmatch(r"agentguard_session=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", cookie)


def test_the_session_opens_the_page_and_the_api(world: World) -> None:
    cookie = log_in(world)
    assert world.ask("GET", "/", headers=cookie).status == 200
    assert world.ask("GET", "/v1/actions", headers=cookie).status == 200


def test_a_session_does_not_check(world: World) -> None:
    assert world.ask("POST", "/v1/check", b"{}", headers=log_in(world)).code == "token_missing"


def test_wrong_tokens_are_noted_and_after_five_the_peer_waits(fresh: World) -> None:
    statuses = [post(fresh, "/login", {"token": "wrong"}).status for _ in range(7)]
    assert statuses == [403] * 5 + [429] * 2
    reply = post(fresh, "/login", {"token": ADMIN})
    assert (reply.status, int(reply.headers["retry-after"]) > 0) == (429, True)
    assert [kind for _, kind, _ in fresh.rejected.seen] == ["login_failed"] * 5


def test_forms_come_through_a_proxy_that_ends_tls_and_from_no_other_site() -> None:
    settings = ServerSettings(port=0, allowed_hosts=("guard.example.com",))
    with running(World(settings=settings)) as world:
        for origin, status in (
            ("https://guard.example.com", 303),
            ("https://guard.example.com:8443", 403),
            ("https://evil.example", 403),
        ):
            headers = {"Host": "guard.example.com", "Origin": origin}
            assert post(world, "/login", {"token": ADMIN}, headers).status == status


def test_a_login_link_works_once_and_only_by_post(world: World) -> None:
    code = world.codes.issue()
    for _ in range(2):
        assert code.encode() in world.ask("GET", f"/login?code={code}").body
    assert post(world, "/login", {"code": code}).status == 303
    reply = post(world, "/login", {"code": code})
    assert (reply.status, "set-cookie" in reply.headers) == (403, False)


def test_a_code_in_the_link_is_hostile_text(world: World) -> None:
    body = world.ask("GET", "/login?code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").body
    assert b"<script>alert" not in body


def test_logout_needs_the_sessions_form_and_ends_the_session(world: World) -> None:
    cookie = log_in(world)
    assert post(world, "/logout", {}, cookie).code == "csrf_invalid"
    assert post(world, "/logout", {"csrf": "x"}, cookie).code == "csrf_invalid"
    page = world.ask("GET", "/", headers=cookie).body.decode()
    found = re.search(r'name="csrf" value="([\w-]+)"', page)
    assert found
    foreign = post(world, "/logout", {"csrf": found[1]}, {**cookie, "Origin": "http://127.0.0.1:1"})
    assert foreign.code == "origin_not_allowed"
    assert post(world, "/logout", {"csrf": found[1]}, cookie).status == 303
    assert world.ask("GET", "/", headers=cookie).status == 303


@pytest.mark.parametrize("body", [b"\xff=1", b"a&b", b"&".join(b"a=1" for _ in range(21))])
def test_a_body_that_is_no_form_is_refused(world: World, body: bytes) -> None:
    origin = {"Origin": f"http://127.0.0.1:{world.port}"}
    assert world.ask("POST", "/login", body, headers=origin).code == "form_invalid"


def test_a_form_with_fetch_metadata_of_another_site_is_refused(world: World) -> None:
    assert (
        post(world, "/login", {"token": ADMIN}, {"Sec-Fetch-Site": "same-site"}).code == "origin_not_allowed"
    )
    no_origin = world.ask(
        "POST", "/login", f"token={ADMIN}".encode(), headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert no_origin.status == 303


def test_the_page_shows_decisions_newest_first_and_filters_without_script(fresh: World) -> None:
    for resource in ("staging/one", "prod/two", "other/three"):
        fresh.check(resource)
    cookie = log_in(fresh)

    def shown(query: str) -> list[str]:
        page = fresh.ask("GET", f"/{query}", headers=cookie).body.decode().partition("<template")[0]
        return re.findall(r'class="f-resource">([^<]+)<', page)

    assert shown("") == ["other/three", "prod/two", "staging/one"]
    assert shown("?effect=allow&effect=deny") == ["other/three", "staging/one"]
    assert shown("?q=TWO+deploy-agent") == ["prod/two"]
    assert shown("?q=nothing") == []


def test_hostile_text_is_escaped_and_its_invisible_characters_are_shown(world: World) -> None:
    world.check("x/<img src=x onerror=alert(1)>\u202egnp", params={"a": "</pre><script>alert(1)</script>"})
    page = world.ask("GET", "/", headers=log_in(world)).body.decode()
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;⟨U+202E⟩gnp" in page


def test_the_stream_sends_what_is_new_with_its_seq(fresh: World) -> None:
    fresh.check("staging/before")
    with stream(fresh, "", log_in(fresh)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        fresh.check("staging/after")
        seq, row = next_event(answer, "decision")
        assert (seq, row["resource"], row["effect"]) == ("2", "staging/after", "allow")
        _, chain = next_event(answer, "chain")
        assert (chain["seq"], chain["healthy"]) == (2, True)
        assert chain["head"] == fresh.log.state.hash


def test_the_stream_resumes_where_it_was_cut(fresh: World) -> None:
    for number in range(4):
        fresh.check(f"staging/{number}")
    cookie = log_in(fresh)
    with stream(fresh, "?after=1", cookie) as answer:
        assert next_event(answer, "decision")[0] == "2"
    with stream(fresh, "?after=1", {**cookie, "Last-Event-ID": "3"}) as answer:
        assert next_event(answer, "decision")[0] == "4"


def test_a_stream_that_is_far_behind_says_what_it_skipped(fresh: World) -> None:
    for number in range(_feed.RING + 10):
        fresh.decider.log.append({"kind": "decision", "effect": "allow", "principal": f"p{number}"})
    with stream(fresh, "?after=0", log_in(fresh)) as answer:
        assert next_event(answer, "skipped")[1] == {"count": 10}


def test_a_stream_ends_with_its_session(world: World) -> None:
    cookie = log_in(world)
    page = world.ask("GET", "/", headers=cookie).body.decode()
    csrf = re.search(r'name="csrf" value="([\w-]+)"', page)
    assert csrf
    with stream(world, "", cookie) as answer:
        assert next_event(answer, "chain")
        post(world, "/logout", {"csrf": csrf[1]}, cookie)
        world.check()
        assert next_event(answer, "bye")[1] == {}


def test_streams_are_bounded_and_freed(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.server._pages.MAX_STREAMS", 1)
    admin = {"Authorization": f"Bearer {ADMIN}"}
    with stream(fresh, "", admin) as first:
        next_event(first, "chain")
        assert fresh.ask("GET", "/events", token=ADMIN).code == "streams_exhausted"

    def is_free() -> bool:
        with stream(fresh, "", admin) as answer:
            return answer.status == 200

    wait_for(is_free)


def test_a_log_that_cannot_be_read_is_read_again_later(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with stream(fresh, "", {"Authorization": f"Bearer {ADMIN}"}) as answer:
        read = fresh.log.read
        failed: list[int] = []

        def fail_once(**bounds: int) -> object:
            if not failed:
                failed.append(1)
                raise OSError("gone for a moment")
            return read(**bounds)

        monkeypatch.setattr(fresh.log, "read", fail_once)
        wait_for(lambda: bool(failed))
        fresh.check("staging/later")
        assert next_event(answer, "decision")[1]["resource"] == "staging/later"


def test_an_unhealthy_chain_is_shown(fresh: World) -> None:
    fresh.log.healthy = False
    page = fresh.ask("GET", "/", headers=log_in(fresh)).body.decode()
    assert "takes none: all is denied" in page
    assert 'data-healthy="no"' in page


def file_event(number: int, **payload: object) -> Event:
    when = datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=number)
    return Event(
        f"k-{number}", EventKind.FILE, when, "deploy-agent", "run-1", {"action": "file.read", **payload}
    )


def test_events_stand_beside_the_decisions_and_say_what_the_policy_would(fresh: World) -> None:
    fresh.check("staging/api")
    fresh.events.append(
        [file_event(1, resource="file:///etc/shadow", effect="deny", rule="shipped.path-shadow")]
    )
    page = fresh.ask("GET", "/", headers=log_in(fresh)).body.decode()
    assert "file:///etc/shadow" in page
    assert "seen, would be denied" in page
    assert "shipped.path-shadow" in page
    assert "staging/api" in page


def test_a_step_of_an_approval_says_which(fresh: World) -> None:
    payload = {"action": "restart@1", "resource": "prod/api", "effect": "require_approval", "note": "go on"}
    when = datetime(2026, 1, 31, 12, tzinfo=UTC)
    step = Event("a-1", EventKind.APPROVAL, when, "deploy-agent", "", payload | {"status": "taken_back"})
    fresh.events.append([step])
    page = fresh.ask("GET", "/", headers=log_in(fresh)).body.decode()
    assert "approval: taken back" in page
    assert "go on" in page
    assert "would need approval" not in page


def test_the_stream_sends_events_and_resumes_at_a_place_of_both(fresh: World) -> None:
    fresh.check("staging/api")
    fresh.events.append([file_event(1), file_event(2)])
    cookie = log_in(fresh)
    with stream(fresh, "?after=0.0", cookie) as answer:
        seen = [next_event(answer, "event")[0], next_event(answer, "event")[0]]
        assert [place.partition(".")[2] for place in seen] == ["1", "2"]
    with stream(fresh, "", {**cookie, "Last-Event-ID": "1.1"}) as answer:
        place, row = next_event(answer, "event")
        assert (place, row["is_event"], row["action"]) == ("1.2", True, "file.read")


def test_a_store_that_cannot_be_read_leaves_the_decisions_on_the_page(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EventError("the disk is gone")

    monkeypatch.setattr(fresh.events, "read", fail)
    fresh.check("staging/still-there")
    page = fresh.ask("GET", "/", headers=log_in(fresh)).body.decode()
    assert "staging/still-there" in page
