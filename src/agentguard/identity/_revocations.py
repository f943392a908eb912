"""Which tokens count no more, although their signature and their time are good."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.core import IdentityError
from agentguard.identity._limits import LEEWAY_S, MAX_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentguard.identity._state import StateFolder

_NAME = "revocations.json"
_HINT = "restore it, or move the state folder's token keys and revocations away, which voids every token"
_KEEP_S = MAX_TTL_S + LEEWAY_S


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One revocation, made at `at`, of no use after `until` (Unix seconds): the tokens are expired then."""

    at: float
    until: float
    jti: str | None = None
    principal: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    entries: tuple[_Entry, ...]


class Revocations:
    """The revoked tokens, shared by all processes through the state folder.

    The file is replaced as a whole under a lock, so it is never half written. Once it has existed it must
    exist: without it nobody knows what was revoked, so every token is refused.
    """

    def __init__(self, state: StateFolder, *, must_exist: bool, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now
        self._lock = threading.Lock()
        if not must_exist:
            state.read_or_create(_NAME, lambda: msgspec.json.encode(_File(version=1, entries=())))
        self.generation = 0  # counts how often the content has changed
        self._seen: tuple[int, int, int] | None = None
        self._jtis: frozenset[str] = frozenset()
        self._principals: dict[str, float] = {}
        self.refresh()

    def revoke(self, *, jti: str | None = None, principal: str | None = None) -> None:
        """Revoke one token, or all that were issued until now to, through or on behalf of a principal.

        It is on the disk when this returns; other processes see it within a second.

        Raises:
            IdentityError: not exactly one of both is given (`revocation_invalid`), or what is revoked already
                cannot be read (`revocations_unavailable`).
            ConfigError: the file cannot be written; nothing is revoked then.
        """
        if bool(jti) == bool(principal):
            raise IdentityError("name one token or one principal to revoke", code="revocation_invalid")
        with self._state.locked(_NAME):
            now = self._now()
            kept = [
                entry
                for entry in self._read()
                if now < entry.until and (entry.jti, entry.principal) != (jti, principal)
            ]
            fresh = _Entry(at=now, until=now + _KEEP_S, jti=jti, principal=principal)
            self._state.write(_NAME, msgspec.json.encode(_File(version=1, entries=(*kept, fresh))))
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it has changed.

        Raises:
            IdentityError: it is gone, unreadable or damaged (`revocations_unavailable`).
        """
        seen = self._state.signature(_NAME)
        if seen is not None and seen == self._seen:
            return
        with self._lock:
            entries = self._read()
            self._jtis = frozenset(entry.jti for entry in entries if entry.jti)
            self._principals = {entry.principal: entry.at for entry in entries if entry.principal}
            self._seen = seen
            self.generation += 1

    def is_revoked(self, jti: str, principals: Iterable[str], issued_at: float) -> bool:
        """Tell whether the token is revoked, or was issued before one of its principals was."""
        if jti in self._jtis:
            return True
        return any(issued_at <= self._principals.get(each, float("-inf")) for each in principals)

    def _read(self) -> tuple[_Entry, ...]:
        try:
            return msgspec.json.decode(self._state.read(_NAME), type=_File).entries
        except FileNotFoundError:
            raise _unavailable("is gone") from None
        except msgspec.MsgspecError:
            raise _unavailable("is damaged") from None


def _unavailable(what: str) -> IdentityError:
    return IdentityError(f"the list of revoked tokens {what}", code="revocations_unavailable", hint=_HINT)
