"""The proxy that an agent's TCP goes through: it looks whom a connection is for, and dials that by itself.

TLS is not opened: the name in its first message is read, and what goes on in it is between the two ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import time
from typing import TYPE_CHECKING

import msgspec

from agentguard.kernel.egress._addresses import Address
from agentguard.kernel.egress._denial import allow_host
from agentguard.kernel.egress._layout import NetEffect
from agentguard.kernel.egress._opening import Opening, OpeningError, read_opening
from agentguard.kernel.egress._requests import RequestWatch
from agentguard.kernel.egress._upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.kernel.egress._gate import Gate
    from agentguard.kernel.egress._upstream import Upstream

_DIAL_S, _DIALS_S = 5.0, 15.0
_IDLE_S = 900.0
_PIECE = 65536
_MOST_TRIED = 6
# Alert, fatal, access_denied (RFC 8446, 6.2).
_TLS_DENIED = bytes((0x15, 3, 1, 0, 2, 2, 49))
_SWITCHING = b" 101 "
_STATUS_SIZE = 13


class Wanted(msgspec.Struct, frozen=True):
    """Where a redirected connection wanted to go, and which process made it (0 where that is not known)."""

    address: Address
    port: int
    pid: int = 0


class Limits(msgspec.Struct, frozen=True):
    """What one agent may take of the proxy: connections at once, and seconds until one must say whom it is for."""

    connections: int = 512
    opening_s: float = 10.0
    idle_s: float = _IDLE_S


class _DeniedError(Exception):
    def __init__(self, target: str, reason: str, *, kind: str, told: bool = False, allow: str = "") -> None:
        super().__init__(reason)
        self.target, self.kind, self.told, self.allow = target, kind, told, allow


class Proxy:
    """Serves connections. `find_wanted` says where one wanted to go, and knows only the agent's. For one event loop."""

    def __init__(
        self,
        gate: Gate,
        upstream: Upstream,
        find_wanted: Callable[[asyncio.StreamWriter], Wanted | None],
        *,
        limits: Limits | None = None,
    ) -> None:
        self._gate, self._upstream, self._find_wanted = gate, upstream, find_wanted
        self._limits = limits or Limits()
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        wanted = self._find_wanted(writer) if self.open < self._limits.connections else None
        if wanted is None:
            # Not of the agent's, or one too many: nothing is said to it.
            writer.transport.abort()
            return
        self.open += 1
        try:
            await self._serve(reader, writer, wanted)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self.open -= 1
            await _finish(writer)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: Wanted
    ) -> None:
        try:
            if await self._goes_by_address(wanted):
                await self._join(reader, writer, await self._dial([wanted.address], wanted.port), None)
                return
            await self._serve_by_name(reader, writer, wanted)
        except _DeniedError as denied:
            if not denied.told:
                self._gate.deny(denied.target, str(denied), allow=denied.allow, pid=wanted.pid)
            await _say_denied(writer, denied)

    async def _goes_by_address(self, wanted: Wanted) -> bool:
        effect = self._gate.effect(wanted.address, wanted.port)
        target = _target(str(wanted.address), wanted.port)
        if effect is NetEffect.DENY:
            raise _DeniedError(target, "a rule denies this address", kind="unknown")
        if effect is NetEffect.ASK and not await self._gate.approves_address(
            wanted.address, wanted.port, wanted.pid
        ):
            raise _DeniedError(target, "it was not approved", kind="unknown", told=True)
        return effect is not NetEffect.NONE

    async def _serve_by_name(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: Wanted
    ) -> None:
        opening = await self._open(reader, wanted, None)
        if opening is None:
            return
        port = opening.port or wanted.port
        await self._check(opening, port, wanted)
        if opening.kind == "tunnel":
            assert opening.name is not None
            outer = opening.name
            if len(opening.data) > opening.head_size:
                raise _DeniedError(_target(outer, port), "it speaks before the tunnel is open", kind="http")
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            opening = await self._open(reader, wanted, outer)
            if opening is None:
                return
        assert opening.name is not None
        watch = RequestWatch(opening.name) if opening.kind == "http" else None
        if watch is not None and (reason := watch.feed(opening.data)):
            raise _DeniedError(_target(opening.name, port), reason, kind="http")
        upstream = await self._dial(await self._addresses(opening, port), port)
        upstream[1].write(opening.data)
        await self._join(reader, writer, upstream, watch)

    async def _open(self, reader: asyncio.StreamReader, wanted: Wanted, inside: str | None) -> Opening | None:
        try:
            return await read_opening(reader, inside=inside, seconds=self._limits.opening_s)
        except OpeningError as error:
            target = _target(inside or str(wanted.address), wanted.port)
            allow = "" if inside or error.kind != "unknown" else allow_host(str(wanted.address), wanted.port)
            raise _DeniedError(target, str(error), kind=error.kind, allow=allow) from None

    async def _check(self, opening: Opening, port: int, wanted: Wanted) -> None:
        if opening.name is None:
            raise _DeniedError(
                _target(opening.host, port), "it names an address, and addresses are not reached by the proxy",
                kind=opening.kind, allow=_allow_address(opening.host, port),
            )  # fmt: skip
        if not await self._gate.allows_host(opening.name, port, wanted.pid):
            raise _DeniedError(
                _target(opening.name, port), "no rule allows this name", kind=opening.kind, told=True
            )

    async def _addresses(self, opening: Opening, port: int) -> list[Address]:
        assert opening.name is not None
        try:
            found = await self._upstream.addresses(opening.name)
        except UpstreamError as error:
            raise _DeniedError(_target(opening.name, port), str(error), kind=opening.kind) from None
        kept = [each for each in found if not self._gate.is_denied(each, port)]
        if not kept:
            raise _DeniedError(
                _target(opening.name, port), "a rule denies the address that it has", kind=opening.kind
            )
        return kept

    async def _dial(
        self, addresses: list[Address], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(_DIALS_S):
            error: Exception = ConnectionRefusedError()
            for each in addresses[:_MOST_TRIED]:
                try:
                    async with asyncio.timeout(_DIAL_S):
                        return await asyncio.open_connection(str(each), port, limit=_PIECE)
                except (OSError, TimeoutError) as failed:
                    error = failed
            raise error

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        watch: RequestWatch | None,
    ) -> None:
        pump = _Pump(self._limits.idle_s)
        out = asyncio.create_task(pump.run(reader, upstream[1], watch))
        back = asyncio.create_task(
            pump.run(upstream[0], writer, None, must_switch=watch is not None and watch.upgraded)
        )
        try:
            done, _ = await asyncio.wait((out, back), return_when=asyncio.FIRST_EXCEPTION)
            for each in done:
                each.result()
        finally:
            for task in (out, back):
                task.cancel()
            # What was written is still sent.
            upstream[1].close()
            await asyncio.gather(out, back, return_exceptions=True)
            await _finish(upstream[1])


class _Pump:
    """Copies both ways until both ends are done, or nothing has moved either way for a while."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._moved = time.monotonic()

    async def run(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        watch: RequestWatch | None,
        *,
        must_switch: bool = False,
    ) -> None:
        if must_switch:
            await self._switch(source, target)
        while piece := await self._read(source):
            if watch is not None and (reason := watch.feed(piece)):
                raise ConnectionAbortedError(reason)
            target.write(piece)
            async with asyncio.timeout(self._idle_s):
                await target.drain()
        with contextlib.suppress(OSError):
            target.write_eof()

    async def _switch(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._idle_s):
            status = await source.readexactly(_STATUS_SIZE)
        target.write(status)
        if status[8:13] != _SWITCHING:
            # It stays HTTP, and what the client sends now was not read as such.
            raise ConnectionAbortedError("the protocol was not changed")

    async def _read(self, source: asyncio.StreamReader) -> bytes:
        while True:
            left = self._moved + self._idle_s - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                async with asyncio.timeout(left):
                    piece = await source.read(_PIECE)
            except TimeoutError:
                continue
            self._moved = time.monotonic()
            return piece


async def _finish(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
            return
    writer.transport.abort()


async def _say_denied(writer: asyncio.StreamWriter, denied: _DeniedError) -> None:
    if denied.kind == "tls":
        writer.write(_TLS_DENIED)
    elif denied.kind in {"http", "tunnel"}:
        body = f"agentguard: {denied.target} is denied: {denied}\n".encode("ascii", "replace")
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.drain()


def _target(host: str, port: int) -> str:
    return f"tcp [{host}]:{port}" if ":" in host else f"tcp {host}:{port}"


def _allow_address(host: str, port: int) -> str:
    with contextlib.suppress(ValueError):
        return allow_host(str(ipaddress.ip_address(host)), port)
    return ""
