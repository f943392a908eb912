from __future__ import annotations

import asyncio
import gzip
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agentguard.clients
from agentguard.clients import AsyncDecider, RemoteDecider
from agentguard.core import (
    TOKEN_PRINCIPAL,
    AuditError,
    ConfigError,
    Context,
    Decision,
    Effect,
    Outcome,
    Principal,
    Request,
)
from raw_sidecar import DECISION, Call, RawSidecar, allow, decision_for, error, reset, response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TOKEN = "header.payload.signature"
SLACK_S = 5.0  # other work may share the machine
ASKED: dict[str, Any] = {"namespace": "staging", "replicas": 2, "deep": [1.5, None, True, {"é": "x"}]}
REQUEST = Request(TOKEN_PRINCIPAL, "restart-deployment", "staging/api", ASKED)


@pytest.fixture
def sidecar() -> Iterator[RawSidecar]:
    with RawSidecar() as server:
        yield server


@pytest.fixture
def decider(sidecar: RawSidecar) -> Iterator[RemoteDecider]:
    remote = RemoteDecider(sidecar.url, TOKEN, deadline_s=20.0, breaker_failures=1000)
    yield remote
    remote.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_allow_for_what_was_asked_is_an_allow(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    decision = decider.decide(REQUEST)
    assert decision == msgspec.convert(DECISION, Decision)
    call = sidecar.calls[0]
    assert call.path == "/v1/check"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["content-type"] == "application/json"
    assert call.json == {
        "request_id": call.json["request_id"],
        "action": "restart-deployment",
        "resource": "staging/api",
        "params": ASKED,
    }


def test_principal_context_and_trace_are_sent_when_given(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    context = Context(session="s", ticket="T-1", attributes={"change_window": True})
    request = Request(Principal("deploy-agent"), "restart-deployment@1", "staging/api", {}, context)
    assert decider.decide(request, trace=True).effect is Effect.ALLOW
    sent = sidecar.calls[0].json
    assert (sent["principal"], sent["trace"]) == ("deploy-agent", True)
    assert sent["context"] == {"session": "s", "ticket": "T-1", "attributes": {"change_window": True}}


def test_calls_share_one_connection_and_have_ids_of_their_own(
    sidecar: RawSidecar, decider: RemoteDecider
) -> None:
    for _ in range(5):
        decider.decide(REQUEST)
    assert sidecar.connections == 1
    assert len({call.json["request_id"] for call in sidecar.calls}) == 5


def test_resource_is_compared_in_its_one_form(decider: RemoteDecider, sidecar: RawSidecar) -> None:
    sidecar.answer = lambda call: allow(call, action="http.get@1", resource="https://api.example.com/x")
    request = Request(TOKEN_PRINCIPAL, "http.get", "HTTPS://API.example.com/x")
    assert decider.decide(request).effect is Effect.ALLOW


@pytest.mark.parametrize(
    "changes",
    [
        {"effect": "transform", "action": "get-deployment@1", "params": {"replicas": 1}},
        {"effect": "deny", "action": "other@1", "resource": "other/x", "params": {}},
        {"effect": "require_approval", "params": {"replicas": 9}},
    ],
)
def test_other_effects_come_back_as_they_are(
    sidecar: RawSidecar, decider: RemoteDecider, changes: dict[str, Any]
) -> None:
    sidecar.answer = lambda call: allow(call, **changes)
    decision = decider.decide(REQUEST)
    assert (decision.effect.value, decision.params, decision.stage) == (
        changes["effect"],
        changes["params"],
        "",
    )


NOT_A_DECISION = "sidecar answered something else than a decision"


def reply(call: Call, **changes: Any) -> bytes:
    body = {"request_id": call.json["request_id"], "decision": decision_for(call)} | changes
    return response(msgspec.json.encode(body))


def cut_after(count: int) -> Callable[[Call, Any], Awaitable[None]]:
    async def script(call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(allow(call)[:count])
        await writer.drain()

    return script


def without(call: Call, name: str) -> bytes:
    decision = decision_for(call)
    del decision[name]
    return reply(call, decision=decision)


LIES: dict[str, tuple[Callable[[Call], bytes | None], str]] = {
    "closes without an answer": (lambda _: None, "closed the connection"),
    "empty body": (lambda _: response(b""), NOT_A_DECISION),
    "html": (lambda _: response(b"<html>allow</html>"), NOT_A_DECISION),
    "not http": (lambda _: b"allow allow allow\r\n\r\n", "something else than HTTP"),
    "null": (lambda _: response(b"null"), NOT_A_DECISION),
    "list": (lambda c: response(b"[" + allow(c).partition(b"\r\n\r\n")[2] + b"]"), NOT_A_DECISION),
    "two values": (lambda c: response(allow(c).partition(b"\r\n\r\n")[2] * 2), NOT_A_DECISION),
    "deep nesting": (lambda _: response(b"[" * 100_000), NOT_A_DECISION),
    "not utf-8": (lambda c: response(allow(c).partition(b"\r\n\r\n")[2].replace(b"rule", b"r\xffle")), NOT_A_DECISION),
    "utf-16": (lambda c: response(allow(c).partition(b"\r\n\r\n")[2].decode().encode("utf-16")), NOT_A_DECISION),
    "wrong request id": (lambda c: reply(c, request_id="0" * 32), "another call"),
    "no request id": (lambda c: response(msgspec.json.encode({"decision": decision_for(c)})), NOT_A_DECISION),
    "request id in capitals": (lambda c: reply(c, request_id="A" * 32), NOT_A_DECISION),
    "unknown effect": (lambda c: allow(c, effect="permit"), NOT_A_DECISION),
    "effect in capitals": (lambda c: allow(c, effect="ALLOW"), NOT_A_DECISION),
    "no effect": (lambda c: without(c, "effect"), NOT_A_DECISION),
    "no reason": (lambda c: allow(c, reason=""), NOT_A_DECISION),
    "unknown field": (lambda c: allow(c, override=True), NOT_A_DECISION),
    "another action": (lambda c: allow(c, action="delete-namespace@1"), "another action"),
    "action with another ending": (lambda c: allow(c, action="restart-deployment-all@1"), "another action"),
    "another resource": (lambda c: allow(c, resource="staging/other"), "another resource"),
    "approval of another action": (lambda c: allow(c, effect="require_approval", action="x@1"), "another action"),
    "other params": (lambda c: allow(c, params=ASKED | {"replicas": 3}), "other parameters"),
    "more params": (lambda c: allow(c, params=ASKED | {"force": True}), "other parameters"),
    "no params": (lambda c: without(c, "params"), "other parameters"),
    "equal to python only": (lambda c: allow(c, params=ASKED | {"replicas": 2.0}), "other parameters"),
    "created": (lambda c: allow(c).replace(b"200 OK", b"201 Created"), "HTTP status 201"),
    "partial": (lambda c: allow(c).replace(b"200 OK", b"206 Partial"), "HTTP status 206"),
    "no content": (lambda _: b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP status 204"),
    "error with an allow in it": (lambda c: allow(c).replace(b"200 OK", b"500 Oops"), "HTTP status 500"),
    "redirect": (lambda _: response(b"", "307 Temporary Redirect", "Location: /v1/check"), "HTTP status 307"),
    "gzip": (
        lambda c: response(gzip.compress(allow(c).partition(b"\r\n\r\n")[2]), "200 OK", "Content-Encoding: gzip"),
        NOT_A_DECISION,
    ),
    "too large": (lambda _: response(b" " * 1_100_000), "larger than 1048576 bytes"),
    "too large and chunked": (
        lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 20,
        "larger than 1048576 bytes",
    ),
    "bad chunk": (lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "sidecar"),
    "two lengths": (lambda c: allow(c).replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1), "sidecar"),
    "huge header": (lambda _: response(b"", "200 OK", "X: " + "x" * 100_000), "something else than HTTP"),
    "unavailable": (lambda _: error("503 Unavailable", "audit_unavailable", "disk full"), "failed with HTTP status 503: disk full"),
    "refused token": (lambda _: error("401 No", "token_expired", "the token has expired"), "sidecar refused the token: the token has expired"),
    "refused principal": (lambda _: error("403 No", "forbidden", "no act_as"), "sidecar refused the token: no act_as"),
    "refused request": (lambda _: error("400 No", "request_invalid", "bad\n\x1b[2Jjson"), "sidecar refused the request: bad  [2Jjson"),
    "foreign error": (lambda _: response(b"nope", "404 Not Found"), "HTTP status 404"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_whatever_is_no_proper_allow_is_a_deny_that_names_it(
    sidecar: RawSidecar, decider: RemoteDecider, lie: str
) -> None:
    sidecar.answer, cause = LIES[lie]
    decision = decider.decide(REQUEST)
    assert decision.effect is Effect.DENY
    assert cause in decision.reason
    assert decision.stage == "client"
    assert (decision.action, decision.resource) == ("restart-deployment", "staging/api")
    assert decision.reason.isprintable()


def test_decision_for_another_principal_is_a_deny(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    sidecar.answer = lambda call: allow(call, effect="transform", principal="admin")
    decision = decider.decide(Request(Principal("deploy-agent"), "restart-deployment", "staging/api"))
    assert decision.effect is Effect.DENY
    assert "another principal" in decision.reason


@pytest.mark.parametrize("resource", ["", "a/../b", "staging/\x00"])
def test_allow_for_a_resource_that_has_no_form_is_a_deny(decider: RemoteDecider, resource: str) -> None:
    decision = decider.decide(Request(TOKEN_PRINCIPAL, "restart-deployment", resource))
    assert decision.effect is Effect.DENY


def test_answer_cut_anywhere_is_a_deny(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    length = len(
        allow(Call("/v1/check", {}, b'{"request_id":"%s","resource":"staging/api"}' % (b"0" * 32), 1, 1))
    )
    for count in [0, 1, 12, 20, 60, length // 2, length - 1]:
        sidecar.script = cut_after(count)
        decision = decider.decide(REQUEST)
        assert decision.effect is Effect.DENY
        assert "sidecar" in decision.reason


def test_connection_broken_off_is_a_deny(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    async def script(call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(allow(call)[:80])
        await writer.drain()
        reset(writer)

    sidecar.script = script
    assert decider.decide(REQUEST).effect is Effect.DENY


def test_http_1_0_answer_is_taken_whole_or_not_at_all(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    def old(call: Call) -> bytes:
        return b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + allow(call).partition(b"\r\n\r\n")[2]

    sidecar.answer = old
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    sidecar.answer = lambda call: old(call)[:-1]
    assert decider.decide(REQUEST).effect is Effect.DENY


def test_nobody_listening_is_a_deny() -> None:
    remote = RemoteDecider(f"http://127.0.0.1:{free_port()}", TOKEN)
    decision = remote.decide(REQUEST)
    assert (decision.effect, decision.stage) == (Effect.DENY, "client")
    assert decision.reason == "sidecar unreachable: connection refused"
    remote.close()


async def silent(_call: Call, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def dripping(call: Call, writer: asyncio.StreamWriter) -> None:
    for byte in allow(call):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def never_final(_call: Call, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless_headers(_call: Call, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("script", [silent, dripping, never_final, endless_headers])
def test_deadline_holds_however_the_sidecar_stalls(sidecar: RawSidecar, script: Any) -> None:
    sidecar.script = script
    remote = RemoteDecider(sidecar.url, TOKEN, deadline_s=0.2)
    start = time.monotonic()
    decision = remote.decide(REQUEST)
    assert time.monotonic() - start < 0.2 + SLACK_S
    assert decision.effect is Effect.DENY
    assert decision.reason == "sidecar did not answer within 0.2 s"
    remote.close()


def test_stale_connection_is_asked_once_more_on_a_fresh_one(
    sidecar: RawSidecar, decider: RemoteDecider
) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    sidecar.answer = lambda call: allow(call) if call.connection == 2 else None
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    assert [call.connection for call in sidecar.calls] == [1, 1, 2]


def test_fresh_connection_that_closes_is_not_asked_again(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    sidecar.answer = lambda _: None
    decision = decider.decide(REQUEST)
    assert "closed the connection" in decision.reason
    assert len(sidecar.calls) == 3
    decider.decide(REQUEST)
    assert len(sidecar.calls) == 4


@pytest.mark.parametrize("part", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"])
def test_answer_that_began_is_not_asked_for_again(
    sidecar: RawSidecar, decider: RemoteDecider, part: bytes
) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW

    async def script(_call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(part)
        await writer.drain()

    sidecar.script = script
    assert decider.decide(REQUEST).effect is Effect.DENY
    assert len(sidecar.calls) == 2


def test_restarted_sidecar_is_found_again(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    sidecar.stop()
    assert decider.decide(REQUEST).effect is Effect.DENY
    sidecar.start()
    assert decider.decide(REQUEST).effect is Effect.ALLOW


def test_proxy_of_the_environment_is_not_used(
    sidecar: RawSidecar, decider: RemoteDecider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    assert len(sidecar.calls) == 1


def test_params_that_are_no_json_are_a_deny_and_not_sent(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    decision = decider.decide(Request(TOKEN_PRINCIPAL, "restart-deployment", "staging/api", {"x": b"secret"}))
    assert decision.effect is Effect.DENY
    assert "JSON cannot carry" in decision.reason
    assert sidecar.calls == []


def test_request_that_cannot_be_encoded_is_a_deny_without_its_text(
    sidecar: RawSidecar, decider: RemoteDecider
) -> None:
    decision = decider.decide(Request(TOKEN_PRINCIPAL, "a\ud800", "staging/api"))
    assert decision.effect is Effect.DENY
    assert decision.reason.startswith("asking the sidecar failed: ")
    assert sidecar.calls == []


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_breaker_opens_says_so_and_probes_again(sidecar: RawSidecar) -> None:
    clock = Ticks()
    remote = RemoteDecider(
        sidecar.url, TOKEN, deadline_s=20, breaker_failures=3, breaker_open_s=5, clock=clock
    )
    sidecar.answer = lambda _: error("500 Oops", "internal", "broken")
    for _ in range(3):
        assert "broken" in remote.decide(REQUEST).reason
    decision = remote.decide(REQUEST)
    assert decision.effect is Effect.DENY
    assert "circuit breaker is open" in decision.reason
    with pytest.raises(AuditError, match="circuit breaker"):
        remote.record_outcome(Outcome("e", "succeeded"))
    assert len(sidecar.calls) == 3
    clock.now = 5.0
    assert "broken" in remote.decide(REQUEST).reason
    assert "circuit breaker" in remote.decide(REQUEST).reason
    clock.now = 10.0
    sidecar.answer = allow
    assert remote.decide(REQUEST).effect is Effect.ALLOW
    assert remote.decide(REQUEST).effect is Effect.ALLOW
    remote.close()


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "413 Too Large"])
def test_refusals_do_not_open_the_breaker(sidecar: RawSidecar, status: str) -> None:
    remote = RemoteDecider(sidecar.url, TOKEN, deadline_s=20, breaker_failures=2)
    sidecar.answer = lambda _: error(status, "refused", "no")
    for _ in range(5):
        assert "sidecar refused the" in remote.decide(REQUEST).reason
    remote.close()


def test_plan_comes_back_step_by_step(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    steps = [REQUEST, Request(TOKEN_PRINCIPAL, "restart-deployment", "staging/web")]
    decisions = decider.decide_plan(steps)
    assert [(each.effect, each.resource) for each in decisions] == [
        (Effect.ALLOW, "staging/api"),
        (Effect.ALLOW, "staging/web"),
    ]
    assert sidecar.calls[0].path == "/v1/check/plan"
    assert decider.decide_plan([]) == []


def plan_with(change: Callable[[list[Any]], list[Any]]) -> Callable[[Call], bytes]:
    def answer(call: Call) -> bytes:
        body = msgspec.json.decode(allow(call).partition(b"\r\n\r\n")[2])
        return response(msgspec.json.encode(body | {"decisions": change(body["decisions"])}))

    return answer


@pytest.mark.parametrize(
    "change", [lambda d: d[:1], lambda d: d * 2, lambda _: [], lambda d: d[::-1], lambda d: [d[0], d[0]]]
)
def test_plan_with_other_decisions_is_denied_whole(
    sidecar: RawSidecar, decider: RemoteDecider, change: Callable[[list[Any]], list[Any]]
) -> None:
    sidecar.answer = plan_with(change)
    steps = [REQUEST, Request(TOKEN_PRINCIPAL, "restart-deployment", "staging/web")]
    assert [each.effect for each in decider.decide_plan(steps)] == [Effect.DENY] * 2


def test_plan_of_two_principals_is_denied(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    steps = [REQUEST, Request(Principal("other"), "restart-deployment", "staging/web")]
    decisions = decider.decide_plan(steps)
    assert [each.effect for each in decisions] == [Effect.DENY] * 2
    assert "one principal" in decisions[0].reason
    assert sidecar.calls == []


def test_outcome_is_recorded(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    decider.record_outcome(Outcome("event-1", "failed", "ValueError"))
    assert sidecar.calls[0].path == "/v1/outcome"
    assert sidecar.calls[0].json == {"audit_id": "event-1", "status": "failed", "detail": "ValueError"}


@pytest.mark.parametrize("raw", [response(b"{}"), error("503 No", "audit_unavailable", "disk full"), None])
def test_outcome_that_is_not_recorded_raises(
    sidecar: RawSidecar, decider: RemoteDecider, raw: bytes | None
) -> None:
    sidecar.answer = lambda _: raw
    with pytest.raises(AuditError, match="the outcome is not recorded"):
        decider.record_outcome(Outcome("event-1", "succeeded"))


def test_closed_decider_denies(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    decider.close()
    decider.close()
    assert decider.decide(REQUEST).reason == "the connection to the sidecar was closed"
    assert asyncio.run(decider.adecide(REQUEST)).effect is Effect.DENY
    assert decider.decide_plan([REQUEST])[0].effect is Effect.DENY
    with pytest.raises(AuditError):
        decider.record_outcome(Outcome("e", "succeeded"))


def test_close_ends_calls_in_flight_with_a_deny(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    arrived = threading.Semaphore(0)

    async def script(_call: Call, _writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await asyncio.Event().wait()

    sidecar.script = script
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(decider.decide, REQUEST), pool.submit(asyncio.run, decider.adecide(REQUEST))]
        assert arrived.acquire(timeout=10)
        assert arrived.acquire(timeout=10)
        decider.close()
        for each in waiting:
            decision = each.result(10)
            assert decision.effect is Effect.DENY
            assert "closed" in decision.reason


def test_decider_can_be_awaited_on_several_loops(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert isinstance(decider, AsyncDecider)

    async def many() -> list[Decision]:
        return await asyncio.gather(*(decider.adecide(REQUEST) for _ in range(10)))

    for _ in range(2):
        assert {each.effect.value for each in asyncio.run(many())} == {"allow"}
    sidecar.answer = lambda _: None
    assert asyncio.run(decider.adecide(REQUEST)).effect is Effect.DENY


def test_deadline_holds_though_the_loop_is_stuck(sidecar: RawSidecar) -> None:
    remote = RemoteDecider(sidecar.url, TOKEN, deadline_s=0.1)
    stuck, end = threading.Event(), threading.Event()

    async def block() -> None:  # a loop that does not get its turn
        stuck.set()
        end.wait(30)

    remote._loop.submit(block())
    assert stuck.wait(10)
    decisions = [remote.decide(REQUEST), asyncio.run(remote.adecide(REQUEST))]
    end.set()
    assert [each.reason for each in decisions] == ["sidecar did not answer within 0.1 s"] * 2
    assert remote.decide(REQUEST).effect is Effect.ALLOW
    remote.close()


def test_cancelled_call_stays_cancelled(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    sidecar.script = silent

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(decider.adecide(REQUEST), 0.1)

    asyncio.run(main())


def test_eight_threads_share_one_decider(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    def work(number: int) -> set[str]:
        seen = set()
        for index in range(15):
            request = Request(TOKEN_PRINCIPAL, "restart-deployment", f"staging/{number}", {"index": index})
            decision = decider.decide(request)
            assert (decision.resource, decision.params) == (f"staging/{number}", {"index": index})
            seen.add(decision.effect.value)
        return seen

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(work, range(8))) == {"allow"}
    assert len(sidecar.calls) == 120
    assert sidecar.connections <= 8


def in_child(task: Callable[[], bool]) -> bool:
    """Run the task in a forked child and tell whether it returned True there."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if task() else 1
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child_asks_on_connections_of_its_own(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert decider.decide(REQUEST).effect is Effect.ALLOW

    def task() -> bool:
        return all(decider.decide(REQUEST).effect is Effect.ALLOW for _ in range(3))

    assert in_child(task)
    assert decider.decide(REQUEST).effect is Effect.ALLOW
    assert [call.connection for call in sidecar.calls] == [1, 2, 2, 2, 1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_during_a_call_does_not_hold_the_child_up(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    arrived = threading.Event()
    answered = asyncio.Event()

    async def script(call: Call, writer: asyncio.StreamWriter) -> None:
        if call.number == 1:
            arrived.set()
            await answered.wait()
        writer.write(allow(call))
        await writer.drain()
        answered.set()

    sidecar.script = script
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(decider.decide, REQUEST)
        assert arrived.wait(10)
        assert in_child(lambda: decider.decide(REQUEST).effect is Effect.ALLOW)
        assert first.result(10).effect is Effect.ALLOW


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_child_of_a_fresh_decider_works(sidecar: RawSidecar, decider: RemoteDecider) -> None:
    assert in_child(lambda: decider.decide(REQUEST).effect is Effect.ALLOW)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8787", "ftp://127.0.0.1", "file:///etc/passwd", "unix:/x", "http://", "http://[", "http://h:99999",
     "http://user:pw@127.0.0.1", "http://127.0.0.1/?x=1", "http://127.0.0.1/#x", "http://127.0.0.1/a b", "http://h\n"],
)  # fmt: skip
def test_address_that_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RemoteDecider(url, TOKEN)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "é", "\x00"])
def test_token_that_cannot_stand_in_a_header_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RemoteDecider("http://127.0.0.1:1", token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("knob", ["deadline_s", "breaker_failures", "breaker_open_s"])
def test_number_that_is_not_above_zero_is_refused(knob: str) -> None:
    with pytest.raises(ConfigError):
        RemoteDecider("http://127.0.0.1:1", TOKEN, **{knob: 0})  # type: ignore[arg-type]  # by name


# The law: no failure of the connection and no garbage ever yields an allow, except for what was asked.


@pytest.fixture(scope="module")
def liar() -> Iterator[tuple[RawSidecar, RemoteDecider]]:
    with RawSidecar() as server:
        remote = RemoteDecider(server.url, TOKEN, deadline_s=5.0, breaker_failures=10**9)
        yield server, remote
        remote.close()


def speaking(make: Callable[[Call], bytes]) -> Callable[[Call, asyncio.StreamWriter], Awaitable[None]]:
    async def script(call: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(make(call))
        await writer.drain()

    return script


def assert_no_undue_allow(decision: Decision) -> None:
    if decision.effect is Effect.ALLOW:
        assert decision.action.partition("@")[0] == "restart-deployment"
        assert decision.resource == "staging/api"
        assert msgspec.json.encode(decision.params, order="sorted") == msgspec.json.encode(
            ASKED, order="sorted"
        )


edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)),
    min_size=1,
    max_size=3,
)


def edited(raw: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for where, length, new in changes:
        at = int(where * len(raw))
        raw = raw[:at] + new + raw[at + length :]
    return raw


law = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@law
@given(changes=edits)
def test_edited_allow_allows_only_what_was_asked(
    liar: tuple[RawSidecar, RemoteDecider], changes: list[tuple[float, int, bytes]]
) -> None:
    sidecar, remote = liar
    sidecar.script = speaking(lambda call: edited(allow(call), changes))
    assert_no_undue_allow(remote.decide(REQUEST))


@law
@given(changes=edits.map(lambda each: each[:1]))
def test_edited_deny_never_allows(
    liar: tuple[RawSidecar, RemoteDecider], changes: list[tuple[float, int, bytes]]
) -> None:
    sidecar, remote = liar
    sidecar.script = speaking(lambda call: edited(allow(call, effect="deny"), changes))
    assert remote.decide(REQUEST).effect is Effect.DENY


@law
@given(raw=st.binary(max_size=300), has_head=st.booleans())
def test_garbage_never_allows(liar: tuple[RawSidecar, RemoteDecider], raw: bytes, has_head: bool) -> None:  # noqa: FBT001 - drawn
    sidecar, remote = liar
    sidecar.script = speaking(lambda _: response(raw) if has_head else raw)
    assert remote.decide(REQUEST).effect is Effect.DENY


scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["allow", "", "a@1"])
)
values: st.SearchStrategy[Any] = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.sampled_from(sorted(ASKED)), scalars, max_size=4)
)
FIELDS = [*sorted(Decision.__struct_fields__), "request_id", "decision"]


@law
@given(changes=st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3))
def test_reply_with_other_values_allows_only_what_was_asked(
    liar: tuple[RawSidecar, RemoteDecider], changes: dict[str, Any]
) -> None:
    sidecar, remote = liar

    def answer(call: Call) -> bytes:
        outer = {name: value for name, value in changes.items() if name in ("request_id", "decision")}
        inner = {name: value for name, value in changes.items() if name not in outer}
        return reply(call, **({"decision": decision_for(call, **inner)} | outer))

    sidecar.script = speaking(answer)
    decision = remote.decide(REQUEST)
    assert_no_undue_allow(decision)
    if {"request_id", "decision"} & set(changes):
        assert decision.effect is Effect.DENY


SCRIPT = """
import os, sys
from agentguard.clients import RemoteDecider
from agentguard.core import TOKEN_PRINCIPAL, Request
decider = RemoteDecider(sys.argv[1], "t")
request = Request(TOKEN_PRINCIPAL, "restart-deployment", "staging/api")
print(decider.decide(request).effect, flush=True)
pid = os.fork()
print(decider.decide(request).effect, flush=True)
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_program_that_forgets_to_close_ends_quietly_and_its_child_too(sidecar: RawSidecar) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-W", "ignore::DeprecationWarning", "-c", SCRIPT, sidecar.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["allow"] * 3


def test_import_of_the_room_stays_light() -> None:
    code = "import sys, agentguard.clients; sys.exit(bool({'aiohttp', 'asyncio', 're2', 'ssl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_room_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        agentguard.clients.Nothing  # noqa: B018 - asking is the test
