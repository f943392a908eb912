"""The proxy and the resolver, running: an event loop in a thread of its own, on sockets that it is given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import KernelError
from agentguard.kernel.egress._proxy import Limits, Proxy, Wanted
from agentguard.kernel.egress._resolver import Datagrams, Resolver, plain_receive, plain_send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Self

    from agentguard.kernel.egress._gate import Gate
    from agentguard.kernel.egress._resolver import Receive, Send
    from agentguard.kernel.egress._upstream import Upstream

    _Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_START_S, _END_S = 5.0, 2.0
_BACKLOG = 256


class Sockets(msgspec.Struct, frozen=True):
    """What is listened on: the proxy's, the resolver's for TCP and for UDP."""

    proxy: tuple[socket.socket, ...]
    dns_tcp: tuple[socket.socket, ...]
    dns_udp: tuple[socket.socket, ...]

    def ports(self, family: int) -> tuple[int, int]:
        """Return the ports of the proxy and of the resolver for a family of addresses; 0 where it has none."""
        return _port(self.proxy, family), _port(self.dns_udp, family)

    def close(self) -> None:
        """Close them. Idempotent."""
        for each in (*self.proxy, *self.dns_tcp, *self.dns_udp):
            each.close()


def _until_cancelled(serve: _Serve) -> _Serve:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The end of the service is no error of a connection; asyncio would report one that is cancelled.
        try:
            await serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()

    return run


def _port(sockets: Sequence[socket.socket], family: int) -> int:
    return next((each.getsockname()[1] for each in sockets if each.family == family), 0)


def loopback_sockets() -> Sockets:
    """Return sockets on free ports of 127.0.0.1, and of ::1 where the system has it.

    Raises:
        KernelError: not even on 127.0.0.1 (`egress_unavailable`).
    """
    proxy, tcp, udp = [], [], []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            proxy.append(socket.create_server((host, 0), family=family, backlog=_BACKLOG))
            one, other = _same_port(family, host)
        except OSError as error:
            if family == socket.AF_INET:
                raise KernelError(
                    f"the egress proxy cannot listen: {(error.strerror or str(error)).lower()}",
                    code="egress_unavailable",
                    hint="the loopback interface must be up, with a free port",
                ) from None
            continue
        tcp.append(one)
        udp.append(other)
    return Sockets(tuple(proxy), tuple(tcp), tuple(udp))


def _same_port(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    # One port for both, as the programs in the kernel do not tell them apart.
    for _ in range(64):
        tcp = socket.create_server((host, 0), family=family, backlog=_BACKLOG)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.bind((host, tcp.getsockname()[1]))
        except OSError:
            tcp.close()
            udp.close()
            continue
        return tcp, udp
    raise OSError(98, "no port is free for both TCP and UDP")


class Egress:
    """Serves one agent from `start` until `stop`. Closes its sockets: then what is sent to them is refused."""

    def __init__(
        self,
        gate: Gate,
        upstream: Upstream,
        sockets: Sockets,
        find_wanted: Callable[[asyncio.StreamWriter], Wanted | None],
        *,
        limits: Limits | None = None,
        receive: Receive = plain_receive,
        send: Send = plain_send,
    ) -> None:
        self.sockets = sockets
        self._proxy = Proxy(gate, upstream, find_wanted, limits=limits)
        self._resolver = Resolver(gate, upstream)
        self._receive, self._send = receive, send
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-egress", daemon=True)

    def start(self) -> None:
        """Return when it listens.

        Raises:
            KernelError: it does not (`egress_unavailable`).
        """
        self._thread.start()
        if not self._ready.wait(_START_S) or not self._thread.is_alive():
            raise KernelError("the egress proxy did not start", code="egress_unavailable")

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self.sockets.close()
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            for listener, serve in (
                *((each, self._proxy.serve) for each in self.sockets.proxy),
                *((each, self._resolver.serve_tcp) for each in self.sockets.dns_tcp),
            ):
                await stack.enter_async_context(
                    await asyncio.start_server(_until_cancelled(serve), sock=listener, backlog=_BACKLOG)
                )
            for each in self.sockets.dns_udp:
                stack.callback(Datagrams(self._resolver, each, receive=self._receive, send=self._send).close)
            self._ready.set()
            await self._ended.wait()
            running = asyncio.all_tasks() - {asyncio.current_task()}
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=_END_S)

    def stop(self) -> None:
        """End every connection and close the sockets. Idempotent."""
        if self._loop is not None and self._ended is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ended.set)
        if self._thread.ident is not None:
            self._thread.join()
        self.sockets.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
