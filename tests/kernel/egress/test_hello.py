from __future__ import annotations

import contextlib
import functools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.kernel.egress._hello import MAX_HELLO, HelloError, read_hello


@functools.cache
def real_hello(name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def two(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def made_hello(*extensions: tuple[int, bytes], tail: bytes = b"") -> bytes:
    body = bytes(34) + b"\0" + two(b"\x13\x01") + b"\1\0"
    body += two(b"".join(kind.to_bytes(2, "big") + two(data) for kind, data in extensions)) + tail
    return b"\x16\3\1" + two(b"\1" + len(body).to_bytes(3, "big") + body)


def server(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, two(b"".join(bytes([kind]) + two(name) for name in names))


@pytest.mark.parametrize("name", ["example.com", "a.very.deep.example.com", None])
def test_hello_of_a_real_client_tells_its_name(name: str | None) -> None:
    data = real_hello(name)
    hello = read_hello(data)
    assert hello is not None
    assert (hello.name, hello.is_encrypted) == (name or "", False)
    # In pieces of any size it is not complete until it is.
    assert all(read_hello(data[:size]) is None for size in range(0, len(data), 7))


def test_hello_in_several_records_is_put_together() -> None:
    whole = real_hello("example.com")[5:]
    pieces = b"".join(b"\x16\3\1" + two(whole[at : at + 40]) for at in range(0, len(whole), 40))
    hello = read_hello(pieces)
    assert hello is not None
    assert hello.name == "example.com"


@pytest.mark.parametrize("kind", [0xFE0D, 0xFFCE])
def test_encrypted_hello_is_said_to_be_one(kind: int) -> None:
    hello = read_hello(made_hello(server(b"outer.example"), (kind, b"\0" * 20)))
    assert hello is not None
    assert (hello.name, hello.is_encrypted) == ("outer.example", True)


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\3\1\0\2\2\x28",
        b"\x16\2\1\0\4\1\0\0\0",
        b"\x16\3\1\0\0",
        b"\x16\3\1\0\4\2\0\0\0",
        b"\x16\3\1\x40\1" + bytes(20),
        b"\x16\3\1\0\4\1\xff\xff\xff",
        b"\x16\3\1\0\5\1\xff\xff\xff\0",
        b"\x16\3\1\0\1\1" * 70,
        made_hello(server(b"a.example"), server(b"b.example")),
        made_hello(server(b"a.example", b"b.example")),
        made_hello(server(b"a.example", kind=1)),
        made_hello((0, two(b"\0" + two(b"a.example")) + b"x")),
        made_hello((0, b"")),
        made_hello(server("bücher.example".encode())),
        made_hello(server(b"a.example"), tail=b"x"),
    ],
    ids=range(15),
)
def test_what_two_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(HelloError):
        read_hello(data)


def test_hello_without_extensions_has_no_name() -> None:
    body = bytes(34) + b"\0" + two(b"\x13\x01") + b"\1\0"
    hello = read_hello(b"\x16\3\1" + two(b"\1" + len(body).to_bytes(3, "big") + body))
    assert hello is not None
    assert hello.name == ""


@given(st.binary(max_size=600))
def test_any_bytes_are_a_hello_or_an_error_or_not_complete(data: bytes) -> None:
    for each in (data, b"\x16\3\1" + two(b"\1\0" + data), made_hello((0, data[:200]), (43, data[200:]))):
        try:
            hello = read_hello(each)
        except HelloError:
            continue
        assert hello is None or len(hello.name) <= MAX_HELLO


@given(st.integers(0, 516), st.integers(0, 255))
def test_any_byte_of_a_real_hello_changed_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(real_hello("example.com"))
    data[at % len(data)] = value
    with contextlib.suppress(HelloError):
        read_hello(bytes(data))
