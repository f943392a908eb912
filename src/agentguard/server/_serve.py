"""Runs the application under uvicorn until a signal, and leaves nothing half done."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib.util
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from agentguard.core import AuditError, ConfigError
from agentguard.server._app import App, create_app
from agentguard.server._protocol import protocol_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from agentguard.server._services import Services

_log = logging.getLogger("agentguard.server")
# What is in flight has this long to finish: a decision takes microseconds, its record on disk milliseconds.
SHUTDOWN_TIMEOUT_S = 10
# New objects between two collections; a call makes a few hundred, nearly all of which need none.
_COLLECT_AFTER = 10_000
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be had (`address_unavailable`).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        in_use = error.errno == errno.EADDRINUSE
        what = "is in use" if in_use else f"cannot be listened on: {(error.strerror or 'unknown').lower()}"
        hint = "stop what listens there, or choose another port" if in_use else "choose another address"
        raise ConfigError(f"`{host}:{port}` {what}", code="address_unavailable", hint=hint) from None
    listener.setblocking(False)
    return listener


def serve(
    services: Services,
    *,
    sockets: Sequence[socket.socket] = (),
    on_started: Callable[[str], None] | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code, 0.

    Requests in flight are finished (for at most 10 s), streams ended, then the decider is
    closed and the log flushed and its head signed. The same signal a second time ends the process at once;
    what was decided is in the log by then, whose head lags as after a crash. `sockets` are listening ones in
    place of the settings' address; `on_started` is called with the base URL once connections are taken.

    Raises:
        ConfigError: the address cannot be had (`address_unavailable`).
        AuditError: at the end, the last records may not be on the disk, or have no signed head.
    """
    listeners = list(sockets) or [listen(services.settings.host, services.settings.port)]
    server = build_server(services, listeners[0], on_started)
    # What was loaded lives as long as the process: to look at it in each collection costs a thirtieth of a call.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    with _signals(server):
        try:
            server.run(sockets=listeners)
        finally:
            server.app.close()
            _close(services)
    return 0


def _close(services: Services) -> None:
    """Put on record what was refused, close what decides, then flush the log and sign its head."""
    try:
        services.rejections.flush()
    except AuditError as error:
        _log.error("the last refused requests could not be recorded: %s", error)
    services.decider.close()
    services.audit.close()


def build_server(
    services: Services, listener: socket.socket, on_started: Callable[[str], None] | None = None
) -> Server:
    """Return a server that is not running yet; setting its `should_exit` ends it."""
    settings = services.settings
    app = create_app(services)
    config = uvicorn.Config(
        app,
        http=protocol_class(header_deadline_s=settings.read_timeout_s, on_reject=app.reject),
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        # What is malformed is counted and noted in the audit log; a warning each would let a peer flood ours.
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )
    return Server(config, app, base_url(listener), on_started)


def base_url(listener: socket.socket) -> str:
    """Return `http://host:port` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _signals(server: Server) -> Iterator[None]:
    # Ours stay while the log is closed, so that a late signal does not cut that short.
    try:
        previous = {number: signal.signal(number, server.handle_exit) for number in _SIGNALS}
    except ValueError:  # not the main thread: somebody else has the signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Server(uvicorn.Server):
    """uvicorn's server that ends streams first, and leaves signals to `serve`."""

    def __init__(
        self, config: uvicorn.Config, app: App, url: str, on_started: Callable[[str], None] | None
    ) -> None:
        super().__init__(config)
        self.app = app
        self._url = url
        self._on_started = on_started
        self._seen: set[int] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started(self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then wait for what is in flight."""
        self.app.end_streams()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone: uvicorn's own would raise them again at the end, so that the exit is not 0."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End gracefully; at once, if the same signal comes again."""
        del frame
        if sig in self._seen:
            # A supervisor may send SIGTERM on top of a terminal's SIGINT; only a repeated one is impatience.
            os._exit(128 + sig)
        self._seen.add(sig)
        self.should_exit = True
