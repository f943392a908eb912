from __future__ import annotations

import http.server
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

import gateway_world
import sidecar
from agentguard.core import AttemptState, Effect
from llm_upstream import KEY, Reply, ToolUse, Upstream
from scripted_decider import decided

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_world import GatewayWorld

HELLO: Any = [{"role": "user", "content": "Hello"}]
BODY = {"model": "gpt-5.4", "messages": HELLO}
CHAT = "/openai/v1/chat/completions"
MESSAGES = "/anthropic/v1/messages"


def outcomes(world: GatewayWorld) -> list[tuple[str, str]]:
    return [(each.status, each.detail) for each in world.decider.outcomes]


def test_safe_failures_are_sent_again_and_cost_nothing(world: GatewayWorld, upstream: Upstream) -> None:
    upstream.script(Reply(status=503), Reply(status=429, headers={"retry-after": "0"}))
    assert world.ask(CHAT, BODY).status == 200
    assert len(upstream.calls) == 3
    assert world.states() == [AttemptState.RELEASED, AttemptState.RELEASED, AttemptState.SETTLED]
    assert [status for status, _ in outcomes(world)] == ["failed", "failed", "succeeded"]
    # One decision for one upstream, however often it is asked.
    assert len(world.decider.requests) == 1


def test_last_error_of_the_provider_passes_unchanged(world: GatewayWorld, upstream: Upstream) -> None:
    import openai

    upstream.script(Reply(status=429, error="rate_limit_exceeded", headers={"retry-after": "60"}))
    with pytest.raises(openai.RateLimitError) as limited:
        world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO)
    body: Any = limited.value.body
    assert body == {
        "message": "the upstream says rate_limit_exceeded",
        "type": "rate_limit_exceeded",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert limited.value.response.headers["retry-after"] == "60"
    # Nobody waits a minute for it here.
    assert len(upstream.calls) == 1
    assert world.states() == [AttemptState.RELEASED]


def test_refused_request_passes_with_the_providers_words_and_without_the_key(
    world: GatewayWorld, upstream: Upstream
) -> None:
    upstream.script(Reply(status=400, error=f"bad key {KEY}"), Reply(text=f"Your key is {KEY}"))
    reply = world.ask(CHAT, BODY)
    assert (reply.status, reply.code) == (400, "bad key [key]")
    assert KEY.encode() not in world.ask(CHAT, BODY).body


def test_provider_that_is_down_is_left_alone_after_a_while(tmp_path: Path) -> None:
    import openai

    with Upstream() as gone:
        port = gone.port
    with (
        Upstream() as other,
        gateway_world.running(
            tmp_path,
            other,
            upstream_settings={
                "main": {"kind": "openai", "models": ("gpt-*",), "base_url": f"http://127.0.0.1:{port}/v1"}
            },
        ) as world,
    ):
        client = world.openai()
        codes = []
        for _ in range(3):
            with pytest.raises(openai.APIStatusError) as failed:
                client.chat.completions.create(model="gpt-5.4", messages=HELLO)
            body: Any = failed.value.body
            codes.append((failed.value.status_code, body["code"]))
        assert codes == [(502, "upstream_unreachable")] * 2 + [(503, "upstream_unavailable")]
        assert set(world.states()) == {AttemptState.RELEASED}


def test_calls_fail_over_to_the_next_upstream_in_order(tmp_path: Path) -> None:
    with Upstream() as first, Upstream() as second:
        named = {
            "main": {"kind": "openai", "at": 0, "order": 1},
            "spare": {"kind": "openai", "at": 1, "order": 2},
        }
        with gateway_world.running(tmp_path, first, second, upstream_settings=named) as world:
            first.script(Reply(status=500))
            assert world.ask(CHAT, BODY).status == 200
            assert world.ask(CHAT, BODY).status == 200
        assert (len(first.calls), len(second.calls)) == (2, 1)
        assert [each.resource for each in world.decider.requests] == [
            "llm/main/gpt-5.4", "llm/spare/gpt-5.4", "llm/main/gpt-5.4",
        ]  # fmt: skip


def test_failover_to_an_upstream_that_is_denied_is_a_denial(tmp_path: Path) -> None:
    with Upstream() as first, Upstream() as second:
        named = {
            "main": {"kind": "openai", "at": 0, "order": 1},
            "spare": {"kind": "openai", "at": 1, "order": 2},
        }
        with gateway_world.running(tmp_path, first, second, upstream_settings=named) as world:
            first.script(Reply(status=500))
            world.decider.answer = lambda request: decided(
                request, effect=Effect.DENY if "spare" in request.resource else Effect.ALLOW
            )
            assert world.ask(CHAT, BODY).status == 403
        assert second.calls == []


def test_provider_that_breaks_off_is_not_asked_again_and_is_booked_as_reserved(
    world: GatewayWorld, upstream: Upstream
) -> None:
    upstream.script(Reply(cut_after=10))
    reply = world.ask(CHAT, {**BODY, "max_tokens": 100})
    assert (reply.status, reply.code) == (502, "upstream_broken")
    assert len(upstream.calls) == 1
    (entry,) = world.entries()
    assert (entry.state, entry.estimated, entry.amounts) == (AttemptState.SETTLED, True, entry.reserved)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_stream_that_breaks_off_ends_with_an_error_and_is_booked(
    world: GatewayWorld, upstream: Upstream, path: str
) -> None:
    upstream.script(Reply(cut_after=5))
    reply = world.ask(path, {**BODY, "stream": True, "max_tokens": 100}, anthropic_version="2023-06-01")
    assert reply.status == 200
    assert b'"code":"upstream_broken"' in reply.body.rpartition(b"data: ")[2]
    (entry,) = world.entries()
    assert (entry.state, entry.estimated) == (AttemptState.SETTLED, True)
    assert entry.usage.output_tokens > 0
    assert outcomes(world)[-1][0] == "failed"


def test_sdk_raises_the_error_that_a_stream_ends_with(world: GatewayWorld, upstream: Upstream) -> None:
    import anthropic
    import openai

    upstream.script(Reply(cut_after=5), Reply(cut_after=5))
    with pytest.raises(openai.APIError, match="it broke off"):
        list(world.openai().chat.completions.create(model="gpt-5.4", messages=HELLO, stream=True))
    with pytest.raises(anthropic.APIError, match="it broke off"):
        list(
            world.anthropic().messages.create(model="claude-test", max_tokens=9, messages=HELLO, stream=True)
        )


@pytest.mark.parametrize(
    "raw",
    [b"data: {broken\n\n", b"data: [1]\n\n", b"\x00\xff\n\n" + b"data: nope\n\n"],
)
def test_broken_events_end_the_stream_with_an_error(
    world: GatewayWorld, upstream: Upstream, raw: bytes
) -> None:
    upstream.script(Reply(raw=raw))
    reply = world.ask(CHAT, {**BODY, "stream": True})
    assert b"upstream_invalid" in reply.body
    assert world.states() == [AttemptState.SETTLED]


@pytest.mark.parametrize("path", [CHAT, "/openai/v1/embeddings"])
def test_answer_that_is_no_json_is_not_passed_on(world: GatewayWorld, upstream: Upstream, path: str) -> None:
    upstream.script(Reply(raw=b"<html>oh no</html>"))
    reply = world.ask(path, {**BODY, "input": "x"})
    assert (reply.status, reply.code) == (502, "upstream_invalid")
    assert world.states() == [AttemptState.SETTLED]


def test_redirect_is_not_followed(tmp_path: Path, upstream: Upstream) -> None:
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("location", f"{upstream.url}/v1/chat/completions")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    upstream.calls.clear()
    server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    named = {"main": {"kind": "openai", "base_url": f"http://127.0.0.1:{server.server_port}/v1"}}
    try:
        with gateway_world.running(tmp_path, upstream, upstream_settings=named) as world:
            reply = world.ask(CHAT, BODY)
            assert (reply.status, reply.code) == (502, "upstream_redirect")
            assert (upstream.calls, world.states()) == ([], [AttemptState.RELEASED])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_endless_stream_is_cut_and_booked(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script(Reply(endless=True, piece=20))
    with gateway_world.running(tmp_path, upstream) as world:
        reply = world.ask(CHAT, {**BODY, "stream": True, "max_tokens": 10})
        assert b'"code":"stream_overrun"' in reply.body
        (entry,) = world.entries()
        assert (entry.state, entry.overrun) == (AttemptState.SETTLED, True)
    assert upstream.calls[-1].gone.wait(10)


def test_answer_beyond_the_limit_is_cut(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script(Reply(text="x" * 5000), Reply(text="x" * 5000))
    with gateway_world.running(tmp_path, upstream, settings={"max_answer_bytes": 2000}) as world:
        whole = world.ask(CHAT, BODY)
        assert (whole.status, whole.code) == (502, "answer_too_large")
        assert b"stream_overrun" in world.ask(CHAT, {**BODY, "stream": True}).body


def test_answer_that_takes_too_long_is_given_up(tmp_path: Path, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.script(Reply(hold=gate), Reply(hold_after=(gate, 3)))
    with gateway_world.running(tmp_path, upstream, settings={"max_answer_s": 0.3}) as world:
        whole = world.ask(CHAT, BODY)
        assert (whole.status, whole.code) == (504, "answer_slow")
        assert b"answer_slow" in world.ask(CHAT, {**BODY, "stream": True}).body
        assert [detail.partition(";")[0] for _, detail in outcomes(world)] == ["it took too long"] * 2
    gate.set()


def test_silent_provider_is_given_up(tmp_path: Path, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.script(Reply(hold=gate), Reply(hold_after=(gate, 3)))
    named = {"main": {"kind": "openai", "idle_timeout_s": 0.3}}
    with gateway_world.running(tmp_path, upstream, upstream_settings=named) as world:
        whole = world.ask(CHAT, BODY)
        assert (whole.status, whole.code) == (504, "upstream_slow")
        assert b"upstream_slow" in world.ask(CHAT, {**BODY, "stream": True}).body
        assert world.states() == [AttemptState.SETTLED] * 2
    gate.set()


@pytest.mark.parametrize("stream", [False, True])
def test_agent_that_hangs_up_ends_the_call_upstream_and_it_is_booked(
    world: GatewayWorld,
    upstream: Upstream,
    stream: bool,  # noqa: FBT001 - parametrised
) -> None:
    gate = threading.Event()
    upstream.script(Reply(hold_after=(gate, 3)) if stream else Reply(hold=gate))
    client = world.openai(timeout=0.5)
    with pytest.raises(Exception, match=r"(?i)timed out"):
        list(client.chat.completions.create(model="gpt-5.4", messages=HELLO, stream=stream, max_tokens=50))
    sidecar.wait_for(lambda: len(world.decider.outcomes) == 1)
    assert outcomes(world)[0][1].startswith("the agent hung up; ")
    assert world.states() == [AttemptState.SETTLED]
    gate.set()


def test_slow_reader_holds_the_provider_back(tmp_path: Path, upstream: Upstream) -> None:
    upstream.script(Reply(endless=True, piece=10_000, text="x" * 10_000))
    limit = {"max_answer_bytes": 1024**3}
    with gateway_world.running(tmp_path, upstream, settings=limit) as world:
        client = world.openai()
        stream = client.chat.completions.create(
            model="gpt-5.4", messages=HELLO, stream=True, max_tokens=10_000_000
        )
        next(iter(stream))
        call = upstream.calls[-1]
        before, after = -1, call.sent
        while before != after:
            before = after
            threading.Event().wait(0.3)
            after = call.sent
        # What the sockets and buffers between them take, and no more.
        assert after * 10_000 < 64 * 1024**2
        stream.close()
        assert call.gone.wait(10)
        sidecar.wait_for(lambda: len(world.decider.outcomes) == 1)


def test_provider_that_lies_about_usage_is_booked_as_it_says_or_as_reserved(
    world: GatewayWorld, upstream: Upstream
) -> None:
    body = b'{"choices": [], "model": "gpt-5.4", "usage": {"prompt_tokens": -5, "completion_tokens": 1e99}}'
    upstream.script(Reply(raw=body))
    assert world.ask(CHAT, BODY).status == 200
    (entry,) = world.entries()
    assert (entry.estimated, entry.amounts) == (True, entry.reserved)


def test_compressed_answer_is_read_and_passed_on_plain(world: GatewayWorld, upstream: Upstream) -> None:
    tools = (ToolUse("send_mail", {"to": "x@example.com"}),)
    upstream.script(Reply(gzip=True, tools=tools), Reply(gzip=True, tools=tools))
    for stream in (False, True):
        reply = world.ask(CHAT, {**BODY, "stream": stream})
        assert "content-encoding" not in reply.headers
        assert b"send_mail" in reply.body
    assert [each.action for each in world.decider.requests] == ["llm.chat", "send_mail"] * 2


def test_hundred_calls_at_once_are_all_booked_once(world: GatewayWorld) -> None:
    statuses: list[int] = []

    def call() -> None:
        statuses.extend(world.ask(CHAT, BODY).status for _ in range(10))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert statuses == [200] * 100
    assert world.states() == [AttemptState.SETTLED] * 100
    assert len({entry.attempt for entry in world.entries()}) == 100


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"HTTP/1.1 999 Odd\r\nContent-Length: 0", 502, "upstream_invalid"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade", 502, "upstream_invalid"),
        (b"HTTP/1.1 400 No\r\nX-Odd: a\x01b\r\nContent-Length: 0", (400, 502), ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", 502, "upstream_unreachable"),
        (
            b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\nContent-Length: 0",
            502,
            "upstream_unreachable",
        ),
        (b"SSH-2.0-OpenSSH_9.2", 502, "upstream_unreachable"),
    ],
)
def test_odd_answer_on_the_wire_is_a_clean_error(
    tmp_path: Path, upstream: Upstream, head: bytes, status: int | tuple[int, int], code: str
) -> None:
    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(head + b"\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        where = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        named = {"odd": {"kind": "openai", "models": ("gpt-*",), "base_url": where}}
        settings = {"max_retries": 0}
        with gateway_world.running(tmp_path, upstream, upstream_settings=named, settings=settings) as world:
            reply = world.ask(CHAT, BODY)
            assert reply.status in (status if isinstance(status, tuple) else (status,))
            if code:
                assert reply.code == code
                assert [each for each, _ in outcomes(world)] == ["failed"]
        thread.join(10)
