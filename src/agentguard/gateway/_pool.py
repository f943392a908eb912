"""Connections to upstreams: opened to checked addresses only, and kept for the next request."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agentguard.gateway._wire import Answer, Connection, WireError

if TYPE_CHECKING:
    import ssl

    from agentguard.gateway._address import GuardedResolver

# As many as may be open: the audit log must always be able to open its files.
MAX_CONNECTIONS = 512
# Shorter than load balancers keep idle connections, so that none of theirs is used after its end.
KEEPALIVE_S = 15.0


class Place(NamedTuple):
    """Where an upstream is."""

    host: str
    port: int
    is_tls: bool


class UnreachableError(OSError):
    """There is no connection, so the upstream has not seen the request."""


class Pool:
    """Connections that are open, by place; those that carry nothing are used again, the youngest first.

    Used on one event loop.
    """

    def __init__(self, resolver: GuardedResolver) -> None:
        self._resolver = resolver
        self._free: dict[Place, list[Connection]] = {}
        self._open: dict[Connection, Place] = {}
        self._opening = 0

    async def ask(
        self, place: Place, request: bytes, *, connect_s: float, silence_s: float, is_repeatable: bool
    ) -> Answer:
        """Send a request and return its answer, whose headers have come.

        One that `is_repeatable` is sent again where a kept connection turns out to be closed.

        Raises:
            OSError: there is no connection; an `UnreachableError` or what the resolver raises.
            WireError: there is no answer.
        """
        while True:
            connection = self._kept(place) or await self._connect(place, connect_s)
            is_kept = connection.is_used
            try:
                return await connection.ask(request, silence_s)
            except WireError as error:
                if not (is_repeatable and is_kept and error.is_unseen):
                    raise

    def close(self) -> None:
        """End all connections. Idempotent."""
        for connection in list(self._open):
            connection.abort()
        self._free.clear()

    def _kept(self, place: Place) -> Connection | None:
        free = self._free.get(place)
        while free:
            connection = free.pop()
            # One that is being closed is heard of in the next turn of the loop.
            if not connection.is_closing:
                return connection
        return None

    async def _connect(self, place: Place, connect_s: float) -> Connection:
        if len(self._open) + self._opening >= MAX_CONNECTIONS and not self._make_room():
            raise UnreachableError("too many connections are open")
        self._opening += 1
        try:
            async with asyncio.timeout(connect_s):
                addresses = await self._resolver.resolve(place.host)
                connection = await self._first_of(addresses, place, connect_s)
        except TimeoutError:
            raise UnreachableError("it did not take the connection in time") from None
        finally:
            self._opening -= 1
        self._open[connection] = place
        return connection

    async def _first_of(self, addresses: list[str], place: Place, connect_s: float) -> Connection:
        """Return a connection to the first address that takes one; each gets its share of the time."""
        for number, address in enumerate(addresses):
            is_last = number + 1 == len(addresses)
            try:
                async with asyncio.timeout(None if is_last else connect_s / len(addresses)):
                    return await self._connect_to(address, place)
            except OSError:  # what runs out of time is one too
                if is_last:
                    self._resolver.forget(place.host)
                    raise
        raise UnreachableError("it has no address")

    async def _connect_to(self, address: str, place: Place) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._freed, self._lost, KEEPALIVE_S),
            address,
            place.port,
            ssl=_tls() if place.is_tls else None,
            server_hostname=place.host if place.is_tls else None,
        )
        return connection

    def _freed(self, connection: Connection) -> None:
        place = self._open.get(connection)
        if place is not None:
            self._free.setdefault(place, []).append(connection)

    def _lost(self, connection: Connection) -> None:
        place = self._open.pop(connection, None)
        if place is not None and connection in (free := self._free.get(place, [])):
            free.remove(connection)

    def _make_room(self) -> bool:
        """End a connection that carries nothing; tell whether there was one."""
        for free in self._free.values():
            if free:
                connection = free.pop(0)
                del self._open[connection]
                connection.abort()
                return True
        return False


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # Loads slowly, and whose upstreams are on this machine may never need it.
    import ssl

    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
