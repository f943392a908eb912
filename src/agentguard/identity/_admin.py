"""How a person gets in: the admin token, and login codes that stand for it once."""

from __future__ import annotations

import hmac
import re
import secrets
import threading
import time
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.identity._state import StateFolder

_NAME = "admin-token"
_TOKEN = re.compile(r"agadm_[A-Za-z0-9_-]{43}", re.ASCII)
_CODE_TTL_S = 300.0
_MAX_CODES = 16


class AdminToken:
    """The project's admin token: 256 random bits, made at the first start, readable by this user alone.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: the file does not hold such a token.
    """

    def __init__(self, state: StateFolder) -> None:
        data = state.read_or_create(_NAME, _make)
        text = data.decode("ascii", "replace").removesuffix("\n")
        if _TOKEN.fullmatch(text) is None:
            raise state.corrupt(_NAME, "move it away; a new one is made")
        self._text = text
        self._digest = sha256(text.encode()).digest()

    def reveal(self) -> str:
        """Return the token itself, for the command line of the same user."""
        return self._text

    def matches(self, candidate: str) -> bool:
        """Tell whether `candidate` is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(_digest(candidate), self._digest)


def _make() -> bytes:
    return f"agadm_{secrets.token_urlsafe(32)}\n".encode()


class LoginCodes:
    """Codes that log in once within five minutes, kept in memory; the oldest of more than 16 is dropped."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._codes: dict[bytes, float] = {}

    def issue(self) -> str:
        """Return a new code (256 random bits), for a link."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            self._codes[_digest(code)] = self._now() + _CODE_TTL_S
            while len(self._codes) > _MAX_CODES:
                del self._codes[next(iter(self._codes))]
        return code

    def redeem(self, code: str) -> bool:
        """Tell whether `code` logs in; it does not do so again."""
        digest = _digest(code)
        with self._lock:
            now = self._now()
            self._codes = {each: until for each, until in self._codes.items() if now < until}
            # All are compared, so the time says nothing about which.
            found = [each for each in self._codes if hmac.compare_digest(each, digest)]
            for each in found:
                del self._codes[each]
        return bool(found)


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
