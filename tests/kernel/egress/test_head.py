from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.kernel.egress._head import MAX_HEAD, HeadError, read_head
from agentguard.kernel.egress._requests import RequestWatch

HOST = b"\r\nHost: example.com\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "form", "host", "port"),
    [
        (b"GET / HTTP/1.1" + HOST, "path", "example.com", None),
        (b"GET / HTTP/1.1\r\nhost:Example.com:8080 \r\n\r\n", "path", "Example.com", 8080),
        (b"OPTIONS * HTTP/1.1" + HOST, "path", "example.com", None),
        (b"GET http://example.com/x HTTP/1.1" + HOST, "whole", "example.com", 80),
        (
            b"GET http://EXAMPLE.com.:81/x HTTP/1.0\r\nHost: example.com:81\r\n\r\n",
            "whole",
            "EXAMPLE.com.",
            81,
        ),
        (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", "tunnel", "example.com", 443),
        (b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n", "tunnel", "2001:db8::1", 443),
    ],
)
def test_request_says_whom_it_is_for(data: bytes, form: str, host: str, port: int | None) -> None:
    head = read_head(data + b"more")
    assert head is not None
    assert (head.form, head.host, head.port, head.size) == (form, host, port, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\0\0\0\1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.example:99999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
        b"GET http://a.example/ HTTP/1.1" + HOST,
        b"GET http://example.com:81/ HTTP/1.1" + HOST,
        b"GET https://example.com/ HTTP/1.1" + HOST,
        b"GET http://[::1/ HTTP/1.1" + HOST,
        b"GET http://u@example.com/ HTTP/1.1" + HOST,
        b"GET /\x00 HTTP/1.1" + HOST,
        b"GET / HTTP/2.0" + HOST,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com HTTP/1.1\r\n\r\n",
        b"G" * 40 + b" / HTTP/1.1" + HOST,
        b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD + HOST,
        b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD,
    ],
    ids=range(23),
)
def test_what_does_not_say_it_in_one_way_is_refused(data: bytes) -> None:
    with pytest.raises(HeadError):
        read_head(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_an_error_or_not_complete(data: bytes) -> None:
    for each in (
        data,
        b"GET " + data,
        b"GET / HTTP/1.1\r\nHost: " + data + b"\r\n\r\n",
        b"CONNECT " + data + b" HTTP/1.1\r\n\r\n",
    ):
        try:
            read_head(each)
        except HeadError:
            continue


FIRST = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nbody"


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (FIRST * 3, ""),
        (b"GET http://example.com/ HTTP/1.1" + HOST, ""),
        (b"GET / HTTP/1.1\r\nHost: example.com:80\r\n\r\n", ""),
        (b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", "for another host"),
        (b"GET / HTTP/1.1\r\n\r\n", "for another host"),
        (b"GET / HTTP/1.1\r\nHost: example.com\r\nHost: other.example\r\n\r\n", "for another host"),
        (b"GET http://other.example/ HTTP/1.1" + HOST, "for another host"),
        (b"CONNECT other.example:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", "tunnel"),
        (
            b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\nHost: example.com\r\n\r\n",
            "changes the protocol",
        ),
        (b"\0\1\2", "no HTTP request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 150_000 + b"\r\n", "too long"),
    ],
    ids=range(11),
)
def test_later_request_must_be_for_the_same_host(then: bytes, why: str) -> None:
    for size in (1, 7, 100_000):
        watch = RequestWatch("example.com")
        assert watch.feed(FIRST) == ""
        said = ""
        for at in range(0, len(then), size):
            said = said or watch.feed(then[at : at + size])
        assert why in said
        assert bool(why) == bool(said)


def test_after_a_change_of_protocol_nothing_is_read() -> None:
    watch = RequestWatch("example.com")
    assert watch.feed(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade" + HOST) == ""
    assert watch.upgraded
    assert watch.feed(b"\0\1\2") == ""


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_stream_is_passed_on_or_stopped(pieces: list[bytes]) -> None:
    watch = RequestWatch("example.com")
    watch.feed(FIRST)
    for each in pieces:
        if watch.feed(each):
            break
