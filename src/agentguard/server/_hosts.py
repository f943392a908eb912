"""Who may be addressed, and from where a browser may post: defence against DNS rebinding and forged forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.server._http import HttpError

if TYPE_CHECKING:
    from starlette.types import Scope

    from agentguard.server._http import Headers

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class HostGuard:
    """Lets a request through whose `Host` is loopback with our port, or one of `allowed` as written.

    A name of a stranger's that resolves to this machine is none of these, so no page can reach us by it.
    """

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        self._allowed = frozenset(host.lower().encode() for host in allowed)
        self._of_port: dict[int, frozenset[bytes]] = {}

    def check(self, host: bytes, scope: Scope) -> None:
        """Pass, or raise HttpError 421."""
        port = scope["server"][1] if scope.get("server") else 0
        hosts = self._of_port.get(port)
        if hosts is None:
            hosts = self._of_port[port] = self._allowed | _loopback(port)
        if host not in hosts and host.lower() not in hosts:
            raise HttpError(
                421,
                "host_not_allowed",
                "this server does not answer to that host",
                hint="use http://127.0.0.1",
            )


def require_same_origin(headers: Headers, scope: Scope) -> None:
    """Pass for a form that our own page posted.

    Raises:
        HttpError: 403; `Origin` is another's, or there is neither it nor `Sec-Fetch-Site: same-origin`.
    """
    own = scope["scheme"].encode() + b"://" + headers.host
    is_own = headers.origin.lower() == own.lower() if headers.origin else headers.fetch_site == b"same-origin"
    if not is_own or headers.fetch_site not in (b"", b"same-origin"):
        raise HttpError(403, "origin_not_allowed", "the form was not posted by a page of this server")


def _loopback(port: int) -> frozenset[bytes]:
    with_port = {f"{host}:{port}".encode() for host in _LOOPBACK}
    # Port 80 is left out of `Host` by those who speak http (RFC 9110, section 4.2.1).
    return frozenset(with_port | ({host.encode() for host in _LOOPBACK} if port == 80 else set()))  # noqa: PLR2004
