"""The resolver that an agent talks to, whichever it means: it answers for allowed names, and for no other at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from agentguard.kernel._dns import DnsMessage
from agentguard.kernel.egress._names import normal_name
from agentguard.kernel.egress._upstream import ADDRESSES, Looked, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from agentguard.kernel.egress._gate import Gate
    from agentguard.kernel.egress._upstream import Upstream

_MAX_QUERY = 4096
_PLAIN_UDP, _LARGEST_UDP = 512, 1232
_AT_ONCE = 256
_TCP_AT_ONCE, _TCP_IDLE_S = 64, 10.0
# What these say of a service is for encrypted hellos and for addresses of ours to be passed by.
_WITHHELD = frozenset((dns.rdatatype.HTTPS, dns.rdatatype.SVCB))
_NEVER = frozenset((dns.rdatatype.ANY, dns.rdatatype.AXFR, dns.rdatatype.IXFR))
_REMOTE_ERROR = "the resolvers cannot be reached"


class Resolver:
    """Answers over UDP and TCP. For one event loop."""

    def __init__(self, gate: Gate, upstream: Upstream) -> None:
        self._gate, self._upstream = gate, upstream
        self._tcp = 0

    async def answer(self, wire: bytes, *, most: int | None = None) -> bytes | None:
        """Return the answer to a packet, at most `most` bytes long; None for what is no question."""
        if len(wire) > _MAX_QUERY:
            return None
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError, IndexError, AssertionError):
            return None
        if query.flags & dns.flags.QR:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        code, text = await self._fill(query, response)
        response.set_rcode(code)
        if text and query.edns >= 0:
            response.use_edns(
                0, payload=_LARGEST_UDP, options=[dns.edns.EDEOption(dns.edns.EDECode.BLOCKED, text)]
            )
        if most is not None:
            most = min(max(query.payload, _PLAIN_UDP), most)
        return _to_wire(response, most)

    async def _fill(
        self, query: dns.message.Message, response: dns.message.Message
    ) -> tuple[dns.rcode.Rcode, str]:
        if query.opcode() != dns.opcode.QUERY:
            return dns.rcode.NOTIMP, ""
        if len(query.question) != 1:
            return dns.rcode.FORMERR, ""
        asked = query.question[0]
        if asked.rdclass != dns.rdataclass.IN or asked.rdtype in _NEVER:
            return dns.rcode.REFUSED, "this kind of question is not answered"
        name = normal_name(asked.name.to_text())
        kind = dns.rdatatype.to_text(asked.rdtype)
        self._gate.on_answer(DnsMessage(name or asked.name.to_text().lower(), kind, is_answer=False))
        if name is None or not await self._gate.allows_name(name):
            return dns.rcode.NXDOMAIN, "not allowed for this agent"
        if asked.rdtype in _WITHHELD:
            return dns.rcode.NOERROR, ""
        try:
            looked = await self._upstream.look(name, asked.rdtype)
        except UpstreamError as error:
            if error.is_refused:
                self._gate.deny(f"dns {name}", str(error))
                return dns.rcode.REFUSED, "it leads to a private place"
            return dns.rcode.SERVFAIL, _REMOTE_ERROR
        _copy(looked, response, asked.rdtype)
        addresses = tuple(
            each.address for record in response.answer if record.rdtype in ADDRESSES for each in record
        )
        self._gate.on_answer(DnsMessage(name, kind, is_answer=True, addresses=addresses))
        return dns.rcode.Rcode(looked.code), ""

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection."""
        if self._tcp >= _TCP_AT_ONCE:
            writer.transport.abort()
            return
        self._tcp += 1
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE_S):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    wire = await reader.readexactly(size)
                said = await self.answer(wire)
                if said is None:
                    break
                writer.write(len(said).to_bytes(2, "big") + said)
                async with asyncio.timeout(_TCP_IDLE_S):
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tcp -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()


class Datagrams:
    """Answers what comes over one UDP socket.

    `reply_as` reads the address that a packet was sent to and answers from it, where sockets are bound to every
    address; else the kernel knows it.
    """

    def __init__(self, resolver: Resolver, bound: socket, *, receive: Receive, send: Send) -> None:
        self._resolver, self._socket = resolver, bound
        self._receive, self._send = receive, send
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        bound.setblocking(False)
        self._loop.add_reader(bound, self._on_readable)

    def _on_readable(self) -> None:
        # A few at a time: a flood must leave the loop to others.
        for _ in range(32):
            try:
                wire, whence = self._receive(self._socket, _MAX_QUERY + 1)
            except BlockingIOError:
                return
            except OSError:
                # An answer that did not arrive comes back as an error of the next call.
                continue
            if len(self._tasks) >= _AT_ONCE:
                # UDP loses packets; whoever asks will ask again.
                continue
            task = self._loop.create_task(self._reply(wire, whence))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, wire: bytes, whence: object) -> None:
        said = await self._resolver.answer(wire, most=_LARGEST_UDP)
        if said is not None:
            with contextlib.suppress(OSError):
                self._send(self._socket, said, whence)

    def close(self) -> None:
        """Stop reading, and close the socket."""
        self._loop.remove_reader(self._socket)
        for task in self._tasks:
            task.cancel()
        self._socket.close()


if TYPE_CHECKING:
    Receive = Callable[[socket, int], tuple[bytes, object]]
    Send = Callable[[socket, bytes, object], None]


def plain_receive(bound: socket, most: int) -> tuple[bytes, object]:
    """Receive one packet, and from where."""
    return bound.recvfrom(most)


def plain_send(bound: socket, wire: bytes, whence: object) -> None:
    """Send one packet back to where a question came from."""
    bound.sendto(wire, whence)  # type: ignore[call-overload]  # what `plain_receive` gave


def _copy(looked: Looked, response: dns.message.Message, kind: int) -> None:
    for record in looked.records:
        if record.rdtype in {kind, dns.rdatatype.CNAME, dns.rdatatype.DNAME}:
            response.answer.append(record)


def _to_wire(response: dns.message.Message, most: int | None) -> bytes:
    try:
        return response.to_wire(max_size=most or 0xFFFF)
    except dns.exception.TooBig:
        # Ask again over TCP.
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=0xFFFF)
