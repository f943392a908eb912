"""Logins of people, at the console and on the command line: kept in memory, so a restart logs everyone out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from agentguard.identity import Account

IDLE_S = 60 * 60
ABSOLUTE_S = 12 * 60 * 60
MAX_SESSIONS = 100
COOKIE = b"agentguard_session"
# A person's token is told apart from an agent's, and from the admin's, before anything looks at it.
TOKEN_PREFIX = "agps_"  # noqa: S105 - no secret


@dataclass(slots=True)
class Session:
    """One login. `csrf` must come back with every form; times are of the monotonic clock.

    `account` is a person's, as it was at the login, or None for the holder of the admin token. `via` says whether its
    secret stands in a browser's cookie or in a header of the command line; one is no good in the other's place.
    """

    csrf: str
    started_s: float
    seen_s: float
    account: Account | None = None
    via: Literal["page", "cli"] = "page"


class Sessions:
    """Opens, finds and ends sessions. A session's secret is random (256 bits) and kept as its hash only.

    `find_account` returns the account of a name that can log in now: a session ends with its account, and when
    that gets a new password.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        find_account: Callable[[str], Account | None] = lambda _name: None,
    ) -> None:
        self._clock = clock
        self._find_account = find_account
        self._open: dict[bytes, Session] = {}

    def start(self, account: Account | None = None, *, via: Literal["page", "cli"] = "page") -> str:
        """Open a session and return its secret; beyond 100, the one unused for longest ends."""
        self._expire()
        if len(self._open) >= MAX_SESSIONS:
            del self._open[min(self._open, key=lambda key: self._open[key].seen_s)]
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        self._open[_digest(secret.encode())] = Session(secrets.token_urlsafe(32), now, now, account, via)
        return TOKEN_PREFIX + secret if via == "cli" else secret

    def find(self, cookie_header: bytes) -> Session | None:
        """Return the session that a `Cookie` header names, if it has not expired, and mark it as used.

        Raises:
            IdentityError: accounts cannot be read (`people_unavailable`).
        """
        return self._find(_digest(_cookie(cookie_header)), "page")

    def find_token(self, token: str) -> Session | None:
        """Return the session whose secret a bearer token is, as `find` does."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        return self._find(_digest(token.removeprefix(TOKEN_PREFIX).encode("utf-8", "surrogatepass")), "cli")

    def end(self, cookie_header: bytes) -> None:
        """End the session that a `Cookie` header names."""
        self._open.pop(_digest(_cookie(cookie_header)), None)

    def close(self, session: Session) -> None:
        """End a session."""
        self._open = {key: each for key, each in self._open.items() if each is not session}

    def is_open(self, session: Session) -> bool:
        """Return whether `session` still holds, and mark it as used: a page that watches is in use."""
        self._expire()
        session.seen_s = self._clock()
        return any(each is session for each in self._open.values()) and self._stands(session)

    def _find(self, key: bytes, via: str) -> Session | None:
        self._expire()
        session = self._open.get(key)
        if session is None or session.via != via:
            return None
        if not self._stands(session):
            self._open.pop(key, None)
            return None
        session.seen_s = self._clock()
        return session

    def _stands(self, session: Session) -> bool:
        """Tell whether its account is as it was at the login, and take over what the person may do now."""
        if session.account is None:
            return True
        account = self._find_account(session.account.name)
        if account is None or account.changed != session.account.changed:
            return False
        session.account = account
        return True

    def _expire(self) -> None:
        now = self._clock()
        for key, session in list(self._open.items()):
            if now - session.seen_s > IDLE_S or now - session.started_s > ABSOLUTE_S:
                del self._open[key]


class LoginThrottle:
    """Bounds how often a peer may fail to log in: `attempts` at once, one more every `refill_s` seconds."""

    def __init__(
        self, *, attempts: int = 5, refill_s: float = 12.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._refill_s = refill_s
        self._clock = clock
        self._failed: dict[str, tuple[float, float]] = {}

    def wait_s(self, peer: str) -> float:
        """Return how long `peer` has to wait before it may try; 0 is now."""
        return max(0.0, (self._level(peer) - self._attempts + 1) * self._refill_s)

    def failed(self, peer: str) -> None:
        """Count one failure of `peer`."""
        if len(self._failed) >= 1000 and peer not in self._failed:  # noqa: PLR2004 - a bound on memory
            del self._failed[next(iter(self._failed))]
        self._failed[peer] = (self._level(peer) + 1, self._clock())

    def _level(self, peer: str) -> float:
        level, since_s = self._failed.get(peer, (0.0, 0.0))
        return max(0.0, level - (self._clock() - since_s) / self._refill_s)


def set_cookie(secret: str, *, is_secure: bool) -> tuple[bytes, bytes]:
    """Return the header that hands `secret` to the browser, for this site and no script."""
    secure = b"; Secure" if is_secure else b""
    value = b"%s=%s; Path=/; HttpOnly; SameSite=Strict%s" % (COOKIE, secret.encode(), secure)
    return (b"set-cookie", value)


def drop_cookie() -> tuple[bytes, bytes]:
    """Return the header that takes the cookie back."""
    return (b"set-cookie", b"%s=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0" % COOKIE)


def csrf_matches(session: Session, given: str) -> bool:
    """Return whether a form carried the session's token."""
    return hmac.compare_digest(session.csrf.encode(), given.encode())


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _cookie(header: bytes) -> bytes:
    for part in header.split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE:
            return value
    return b""
