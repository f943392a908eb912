"""What a provider may send on the wire, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agentguard.gateway._address import GuardedResolver
from agentguard.gateway._pool import Place, Pool
from agentguard.gateway._wire import MAX_FRAME_BYTES, SilentError, WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from agentguard.gateway._wire import Answer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASKED = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Peer:
    """A provider that answers each request with the next of its scripts; `None` closes the connection."""

    def __init__(self, script: Sequence[bytes | None]) -> None:
        self.script = list(script)
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.script and await reader.readuntil(b"\r\n\r\n"):
                said = self.script.pop(0)
                if said is None:
                    return
                writer.write(said)
                await writer.drain()
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking(*script: bytes | None) -> AsyncIterator[tuple[Pool, Peer]]:
    peer, pool = Peer(script), Pool(GuardedResolver(("127.0.0.1",)))
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield pool, peer
    finally:
        pool.close()
        server.close()
        await server.wait_closed()


async def ask(pool: Pool, peer: Peer, *, silence_s: float = 5.0, is_repeatable: bool = False) -> Answer:
    place = Place("127.0.0.1", peer.port, is_tls=False)
    return await pool.ask(place, ASKED, connect_s=5.0, silence_s=silence_s, is_repeatable=is_repeatable)


async def read(answer: Answer) -> bytes:
    parts = []
    while part := await answer.read():
        parts.append(part)
    answer.close()
    return b"".join(parts)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (CHUNKED + b"2\r\nok\r\n3;ext=1\r\n yo\r\n0\r\nX-Trailer: 1\r\n\r\n", b"ok yo"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n" + gzip.compress(b"ok"),
            b"ok",
        ),
    ],
)
def test_answers_are_read_and_their_connection_is_used_again(said: bytes, body: bytes) -> None:
    async def run() -> None:
        async with talking(said, OK, OK) as (pool, peer):
            assert await read(await ask(pool, peer)) == body
            assert await read(await ask(pool, peer)) == b"ok"
            assert await read(await ask(pool, peer)) == b"ok"
            assert peer.connections == 1

    asyncio.run(run())


def test_answer_that_ends_with_its_connection_is_whole() -> None:
    async def run() -> None:
        async with talking(b"HTTP/1.1 200 OK\r\n\r\nall of it", None) as (pool, peer):
            answer = await ask(pool, peer)
            assert await answer.read() == b"all of it"
            answer.close()
        async with talking(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK) as (
            pool,
            peer,
        ):
            assert await read(await ask(pool, peer)) == b"ok"
            assert await read(await ask(pool, peer)) == b"ok"
            assert peer.connections == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * (MAX_FRAME_BYTES + 1) + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 0123456789\r\n" * (MAX_FRAME_BYTES // 8) + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: " + b"a" * (MAX_FRAME_BYTES * 2),
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_FRAME_BYTES // 16),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_what_is_no_answer_is_an_error_and_ends_the_connection(said: bytes) -> None:
    async def run() -> None:
        async with talking(said, OK) as (pool, peer):
            with pytest.raises(WireError):
                await ask(pool, peer)
            peer.script = [OK]
            assert await read(await ask(pool, peer)) == b"ok"
            assert peer.connections == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        CHUNKED + b"2\r\nok\r\n-1\r\n",
        CHUNKED + b"2\r\nok\r\n" + b"0" * (MAX_FRAME_BYTES * 16),
        CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: " + b"a" * (MAX_FRAME_BYTES * 16),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"
        + gzip.compress(b"ok")[:12],
    ],
)
def test_body_that_breaks_is_an_error(said: bytes) -> None:
    async def run() -> None:
        async with talking(said) as (pool, peer):
            answer = await ask(pool, peer)
            with pytest.raises(WireError) as broken:
                await read(answer)
            assert not isinstance(broken.value, SilentError)
            answer.close()

    asyncio.run(run())


def test_what_comes_unasked_is_no_answer_to_the_next_request() -> None:
    async def run() -> None:
        async with talking(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", OK) as (pool, peer):
            assert await read(await ask(pool, peer)) == b"ok"
            assert await read(await ask(pool, peer)) == b"ok"
            assert peer.connections == 2

    asyncio.run(run())


@pytest.mark.parametrize("said", [CHUNKED + b"2\r\nok\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_silence_is_given_up(said: bytes) -> None:
    async def run() -> None:
        async with talking(said) as (pool, peer):
            with pytest.raises(SilentError):
                await read(await ask(pool, peer, silence_s=0.1))

    asyncio.run(run())


def test_kept_connection_that_was_closed_is_opened_anew_only_where_a_repetition_is_harmless() -> None:
    async def run() -> None:
        async with talking(OK, None, OK, None, OK) as (pool, peer):
            await read(await ask(pool, peer))
            assert await read(await ask(pool, peer, is_repeatable=True)) == b"ok"
            with pytest.raises(WireError):
                await ask(pool, peer)
            assert peer.connections == 2

    asyncio.run(run())


def test_answer_that_is_let_go_ends_its_connection() -> None:
    async def run() -> None:
        async with talking(CHUNKED + b"2\r\nok\r\n", OK) as (pool, peer):
            answer = await ask(pool, peer)
            answer.close()
            answer.close()
            peer.script = [OK]
            assert await read(await ask(pool, peer)) == b"ok"
            assert peer.connections == 2

    asyncio.run(run())


def test_compressed_flood_comes_in_pieces() -> None:
    packed = gzip.compress(b"\0" * (8 << 20))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)

    async def run() -> None:
        async with talking(head + packed) as (pool, peer):
            answer, size = await ask(pool, peer), 0
            while part := await answer.read():
                assert len(part) <= 256 * 1024
                size += len(part)
            assert size == 8 << 20
            answer.close()

    asyncio.run(run())
