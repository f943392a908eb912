"""Who may be addressed, and from where a browser may post: defence against DNS rebinding and forged forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.server._http import HttpError

if TYPE_CHECKING:
    from starlette.types import Scope

    from agentguard.server._http import Headers

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "[::1]"))
_HTTP_PORT = 80


class HostGuard:
    """Lets a request through whose `Host` is one of `allowed`.

    A name is allowed with our port; one that is not loopback also without, as a proxy passes it on; one that
    is written with a port is allowed as written. A stranger's name that resolves to this machine is none of
    these, so no page can reach us by it.
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = tuple(host.lower() for host in allowed)
        self._of_port: dict[int, frozenset[bytes]] = {}

    def check(self, host: bytes, scope: Scope) -> None:
        """Pass, or raise HttpError 421."""
        port = scope["server"][1] if scope.get("server") else 0
        hosts = self._of_port.get(port)
        if hosts is None:
            spellings = (each for name in self._allowed for each in _spellings(name, port))
            hosts = self._of_port[port] = frozenset(each.encode() for each in spellings)
        if host not in hosts and host.lower() not in hosts:
            raise HttpError(
                421,
                "host_not_allowed",
                "this server does not answer to that host",
                hint="use http://127.0.0.1, or add the host to `server.allowed_hosts`",
            )


def _spellings(name: str, port: int) -> tuple[str, ...]:
    if ":" in name.rpartition("]")[2]:
        return (name,)
    # Port 80 is left out of `Host` by those who speak http (RFC 9110, section 4.2.1).
    bare = (name,) if name not in _LOOPBACK or port == _HTTP_PORT else ()
    return (f"{name}:{port}", *bare)


def require_same_origin(headers: Headers, scope: Scope) -> None:
    """Pass for a form that our own page posted.

    Raises:
        HttpError: 403; `Origin` is another's, or there is neither it nor `Sec-Fetch-Site: same-origin`.
    """
    # A proxy that ends TLS passes on what a page of ours on https posted; nobody else has that origin.
    own = {scheme + b"://" + headers.host.lower() for scheme in (scope["scheme"].encode(), b"https")}
    is_own = headers.origin.lower() in own if headers.origin else headers.fetch_site == b"same-origin"
    if not is_own or headers.fetch_site not in (b"", b"same-origin"):
        raise HttpError(403, "origin_not_allowed", "the form was not posted by a page of this server")
