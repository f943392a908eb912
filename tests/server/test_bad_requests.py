"""What a sidecar is sent by the careless and the hostile: the right status, one shape, and a note of it."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.config import ServerSettings
from sidecar import ADMIN, AGENT, REQUEST_ID, World, raw, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CALL = {"request_id": REQUEST_ID, "action": "a", "resource": "staging/x"}
GOOD = json.dumps(CALL).encode()
BEARER = {"Authorization": f"Bearer {AGENT}"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    settings = ServerSettings(port=0, max_body_bytes=4096, read_timeout_s=0.4)
    with running(World(settings=settings)) as made:
        yield made


def assert_is_error(headers: Mapping[str, str], body: bytes, code: str) -> None:
    error = json.loads(body)["error"]
    assert error["code"] == code
    assert error["message"]
    assert set(error) <= {"code", "message", "hint"}
    assert headers["content-type"] == "application/json"
    assert_is_guarded(headers)


def assert_is_guarded(headers: Mapping[str, str]) -> None:
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


BAD: list[tuple[str, str, str, bytes | None, dict[str, str], int, str]] = [
    ("no token", "POST", "/v1/check", GOOD, {}, 401, "token_missing"),
    ("wrong token", "POST", "/v1/check", GOOD, {"Authorization": "Bearer x"}, 401, "token_signature"),
    ("expired", "POST", "/v1/check", GOOD, {"Authorization": "Bearer expired"}, 401, "token_expired"),
    ("basic auth", "POST", "/v1/check", GOOD, {"Authorization": "Basic eDp5"}, 401, "token_missing"),
    ("admin checks", "POST", "/v1/check", GOOD, {"Authorization": f"Bearer {ADMIN}"}, 401, "token_signature"),
    ("no json", "POST", "/v1/check", b"{", BEARER, 400, "json_invalid"),
    ("empty", "POST", "/v1/check", b"", BEARER, 400, "json_invalid"),
    ("array", "POST", "/v1/check", b"[]", BEARER, 400, "shape_invalid"),
    ("missing field", "POST", "/v1/check", b"{}", BEARER, 400, "shape_invalid"),
    ("unknown field", "POST", "/v1/check", GOOD[:-1] + b',"x":1}', BEARER, 400, "shape_invalid"),
    ("wrong type", "POST", "/v1/check", GOOD[:-1] + b',"params":[]}', BEARER, 400, "shape_invalid"),
    ("duplicate key", "POST", "/v1/check", GOOD[:-1] + b',"action":"b"}', BEARER, 400, "json_invalid"),
    ("escaped twin", "POST", "/v1/check", GOOD[:-1] + b',"\\u0061ction":"b"}', BEARER, 400, "json_invalid"),
    (
        "deep twin",
        "POST",
        "/v1/check",
        GOOD[:-1] + b',"params":{"a":[{"b":1,"b":2}]}}',
        BEARER,
        400,
        "json_invalid",
    ),
    ("no utf-8", "POST", "/v1/check", GOOD[:-1] + b',"params":{"a":"\xff"}}', BEARER, 400, "json_invalid"),
    ("utf-16", "POST", "/v1/check", GOOD.decode().encode("utf-16"), BEARER, 400, "json_invalid"),
    (
        "surrogate",
        "POST",
        "/v1/check",
        GOOD[:-1] + b',"params":{"a":"\\ud800"}}',
        BEARER,
        400,
        "json_invalid",
    ),
    ("nan", "POST", "/v1/check", GOOD[:-1] + b',"params":{"a":NaN}}', BEARER, 400, "json_invalid"),
    ("infinity", "POST", "/v1/check", GOOD[:-1] + b',"params":{"a":1e999}}', BEARER, 400, "shape_invalid"),
    ("too deep", "POST", "/v1/check", b'{"params":' + b"[" * 3000, BEARER, 400, "json_invalid"),
    ("too long", "POST", "/v1/check", b" " * 5000, BEARER, 413, "body_too_large"),
    ("long plan", "POST", "/v1/check/plan", b" " * 5000, BEARER, 413, "body_too_large"),
    ("no outcome", "POST", "/v1/outcome", b'{"audit_id":"a","status":"fine"}', BEARER, 400, "shape_invalid"),
    ("get check", "GET", "/v1/check", None, BEARER, 405, "method_not_allowed"),
    ("delete audit", "DELETE", "/v1/audit", None, BEARER, 405, "method_not_allowed"),
    ("options", "OPTIONS", "/v1/check", None, {"Origin": "http://evil.example"}, 405, "method_not_allowed"),
    ("unknown", "GET", "/v1/nothing", None, {}, 404, "route_unknown"),
    ("trailing slash", "POST", "/v1/check/", GOOD, BEARER, 404, "route_unknown"),
    ("dots", "GET", "/static/../__init__.py", None, {}, 404, "route_unknown"),
    ("encoded dots", "GET", "/static/%2e%2e%2f__init__.py", None, {}, 404, "route_unknown"),
    ("agent reads", "GET", "/v1/audit", None, BEARER, 403, "agent_may_only_check"),
    ("agent lists", "GET", "/v1/actions", None, BEARER, 403, "agent_may_only_check"),
    ("agent watches", "GET", "/events", None, BEARER, 403, "agent_may_only_check"),
    ("nobody reads", "GET", "/v1/audit", None, {}, 401, "admin_token_needed"),
    ("nobody watches", "GET", "/events", None, {}, 401, "admin_token_needed"),
    ("old cookie", "GET", "/v1/audit", None, {"Cookie": "agentguard_session=x"}, 401, "admin_token_needed"),
    ("rebinding", "GET", "/healthz", None, {"Host": "evil.example"}, 421, "host_not_allowed"),
    (
        "rebinding, port",
        "POST",
        "/v1/check",
        GOOD,
        {**BEARER, "Host": "evil.example:8787"},
        421,
        "host_not_allowed",
    ),
    ("no port", "GET", "/healthz", None, {"Host": "127.0.0.1"}, 421, "host_not_allowed"),
    ("other port", "GET", "/healthz", None, {"Host": "127.0.0.1:1"}, 421, "host_not_allowed"),
    (
        "foreign login",
        "POST",
        "/login",
        b"token=x",
        {"Origin": "http://evil.example"},
        403,
        "origin_not_allowed",
    ),
    ("null login", "POST", "/login", b"token=x", {"Origin": "null"}, 403, "origin_not_allowed"),
    ("bare login", "POST", "/login", b"token=x", {}, 403, "origin_not_allowed"),
]


@pytest.mark.parametrize("case", BAD, ids=[case[0] for case in BAD])
def test_bad_request_gets_its_status_in_the_one_shape(world: World, case: tuple[Any, ...]) -> None:
    _, method, path, body, headers, status, code = case
    records = len(world.log.records)
    world.rejected.seen.clear()
    reply = world.ask(method, path, body, headers=headers)
    assert reply.status == status, reply.body
    assert_is_error(reply.headers, reply.body, code)
    assert len(world.log.records) == records
    noted = [(kind, size) for _, kind, size in world.rejected.seen]
    assert noted == ([] if status in (404, 405) else [(code, noted[0][1])])
    if status == 401:
        assert reply.headers["www-authenticate"].startswith("Bearer")
    if status == 405:
        assert reply.headers["allow"]


def test_a_rejected_body_is_handed_on_whole(world: World) -> None:
    world.rejected.seen.clear()
    world.ask("POST", "/v1/check", b"not json", headers=BEARER)
    assert world.rejected.seen == [("127.0.0.1", "json_invalid", b"not json")]


def parts_of(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def request(world: World, *lines: str, body: bytes = b"", start: str = "POST /v1/check HTTP/1.1") -> bytes:
    head = [start, f"Host: 127.0.0.1:{world.port}", f"Authorization: Bearer {AGENT}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


RAW = [
    ("garbage", lambda _: b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "http_invalid"),
    ("two lengths", lambda w: request(w, "Content-Length: 5", "Content-Length: 6", body=b"hello!"), 400, "http_invalid"),
    ("length and chunks", lambda w: request(w, "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, "http_invalid"),
    ("negative length", lambda w: request(w, "Content-Length: -1"), 400, "http_invalid"),
    ("bad chunk", lambda w: request(w, "Transfer-Encoding: chunked", "Connection: close", body=b"zz\r\n"), 400, "http_invalid"),
    ("two hosts", lambda w: request(w, "Host: evil.example", "Connection: close", "Content-Length: 0"), 400, "header_repeated"),
    ("two tokens", lambda w: request(w, "Authorization: Bearer x", "Connection: close", "Content-Length: 0"), 400, "header_repeated"),
    ("long headers", lambda w: request(w, *[f"X-{i}: {'x' * 900}" for i in range(40)])[:-2], 431, "headers_too_large"),
    ("lying length", lambda w: request(w, "Content-Length: 99999999999999999999", body=b"x"), 400, "http_invalid"),
    ("long length", lambda w: request(w, "Content-Length: 4097", body=b"x"), 413, "body_too_large"),
    ("long chunks", lambda w: request(w, "Transfer-Encoding: chunked", body=b"800\r\n" + b"x" * 2048 + b"\r\n" + (b"800\r\n" + b"x" * 2048 + b"\r\n") * 3), 413, "body_too_large"),
    ("slow headers", lambda _: b"POST /v1/check HTTP/1.1\r\nHost:", 408, "headers_slow"),
    ("slow body", lambda w: request(w, "Content-Length: 100", body=b"{"), 408, "body_slow"),
    ("slow chunks", lambda w: request(w, "Transfer-Encoding: chunked", body=b"1\r\n{\r\n"), 408, "body_slow"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "status", "code"), [case[1:] for case in RAW], ids=[case[0] for case in RAW]
)
def test_bad_bytes_get_their_status_and_the_connection_ends(
    world: World, build: Any, status: int, code: str
) -> None:
    world.rejected.seen.clear()
    start = time.monotonic()
    answer = raw(world.port, build(world))
    assert time.monotonic() - start < 5
    got, headers, body = parts_of(answer)
    assert got == status, answer
    assert headers["connection"] == "close"
    assert_is_error(headers, body, code)
    assert code in [kind for _, kind, _ in world.rejected.seen]


def test_a_connection_that_says_nothing_is_closed(world: World) -> None:
    assert raw(world.port, b"") == b""


def test_headers_that_trickle_are_not_waited_for(world: World) -> None:
    # Each piece alone would be in time: the deadline is for all of them.
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        start = time.monotonic()
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        connection.settimeout(0.05)
        received = b""
        while not received and time.monotonic() - start < 5:
            try:
                connection.sendall(b"X: y\r\n")
                received = connection.recv(65536)
            except TimeoutError:
                continue
    assert parts_of(received)[0] == 408


def test_a_slow_client_does_not_hold_up_others(world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as slow:
        slow.sendall(request(world, "Content-Length: 100", body=b"{"))
        assert world.check().status == 200


def test_a_client_that_leaves_is_noted(world: World) -> None:
    world.rejected.seen.clear()
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall(request(world, "Content-Length: 100", body=b"{"))
    wait_for(lambda: bool(world.rejected.seen))
    assert world.rejected.seen[0][1] in ("client_gone", "body_slow")


def test_rejections_that_cannot_be_recorded_do_not_change_the_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(world.rejected, "record", fail)
    assert world.ask("POST", "/v1/check", b"{", headers=BEARER).status == 400


@pytest.mark.parametrize(
    ("start", "lines", "status"),
    [
        ("GET /healthz HTTP/1.0", (), 200),
        ("GET /healthz HTTP/1.1", ("Connection: Upgrade, close", "Upgrade: websocket"), 200),
        ("GET /healthz HTTP/1.1", ("Connection: close", "Upgrade: h2c"), 200),
        ("HEAD /healthz HTTP/1.0", (), 200),
        ("GET /%2e%2e/healthz HTTP/1.0", (), 404),
        ("GET //healthz HTTP/1.0", (), 404),
        ("GET /healthz\xff HTTP/1.0", (), 400),
        ("GET healthz HTTP/1.0", (), 400),
        ("TRACE /healthz HTTP/1.0", (), 405),
        ("HEAD /events HTTP/1.0", (), 405),
        ("GET /healthz HTTP/3.7", (), 400),
    ],
)
def test_odd_requests_are_answered(world: World, start: str, lines: tuple[str, ...], status: int) -> None:
    data = request(world, *lines, start=start).decode().encode("latin-1")
    assert parts_of(raw(world.port, data))[0] == status


def test_a_body_is_asked_for_before_it_is_sent(world: World) -> None:
    head = request(world, f"Content-Length: {len(GOOD)}", "Expect: 100-continue", "Connection: close")
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(GOOD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    first = request(world, f"Content-Length: {len(GOOD)}", body=GOOD)
    last = request(world, "Connection: close", start="GET /healthz HTTP/1.1")
    answer = raw(world.port, first * 3 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.endswith(b'{"status":"up"}')


def test_connections_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.server._protocol.MAX_CONNECTIONS", 0)
    status, headers, body = parts_of(raw(world.port, b""))
    assert status == 503
    assert_is_error(headers, body, "connections_exhausted")


def test_each_good_answer_is_guarded(world: World) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/login", "/static/live.js"):
        reply = world.ask("GET", path)
        assert reply.status == 200, path
        assert_is_guarded(reply.headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_loopback_hosts_are_answered(world: World, host: str) -> None:
    assert world.ask("GET", "/healthz", headers={"Host": f"{host}:{world.port}"}).status == 200


def test_configured_hosts_are_answered() -> None:
    settings = ServerSettings(port=0, allowed_hosts=("guard.internal", "other.internal:9000"))
    with running(World(settings=settings)) as world:
        statuses = {
            host: world.ask("GET", "/healthz", headers={"Host": host}).status
            for host in (
                "guard.internal",
                f"guard.internal:{world.port}",
                "other.internal:9000",
                "other.internal",
            )
        }
    assert statuses == {
        "guard.internal": 200,
        f"guard.internal:{world.port}": 200,
        "other.internal:9000": 200,
        "other.internal": 421,
    }
