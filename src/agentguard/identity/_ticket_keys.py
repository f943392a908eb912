"""The keys of a project's execution tickets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from joserfc.jwk import OKPKey

from agentguard.identity._keys import KeyRing
from agentguard.identity._limits import LEEWAY_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.identity._state import StateFolder

MAX_TICKET_TTL_S = 60
_FILE = "ticket-keys.json"


class TicketKeys:
    """The Ed25519 keys that sign execution tickets, and nothing else.

    They are not those of tokens: an executor is given the public halves to keep, a token may be signed with a
    secret that both sides share, and no mix-up of the two can make one pass as the other. A retired key verifies
    for as long as its last ticket lives.

    Raises:
        ConfigError: the state folder cannot be used.
        IntegrityError: the key file is damaged.
    """

    def __init__(self, state: StateFolder, *, now: Callable[[], float] = time.time) -> None:
        self.issuer = f"agentguard:{state.project_id}"
        self.now = now
        self._ring = KeyRing(state, _FILE, keep_s=MAX_TICKET_TTL_S + LEEWAY_S, now=now)

    def current(self) -> tuple[str, OKPKey]:
        """Return the id and the private key that sign now, rotated or not by another process."""
        key_id, key = self._ring.current()
        assert isinstance(key, OKPKey)
        return key_id, key

    def find(self, key_id: str) -> OKPKey | None:
        """Return the key of that id if it verifies, looked up anew if another process may have made it."""
        found = self._ring.verification_key(key_id)
        if found is None:
            self._ring.refresh()
            found = self._ring.verification_key(key_id)
        return found.key if found is not None and isinstance(found.key, OKPKey) else None

    def rotate(self) -> str:
        """Make a new key for new tickets and return its id; tickets of the old one last until they expire."""
        return self._ring.rotate()

    def jwks(self) -> dict[str, Any]:
        """Return the public keys as a JWK Set (RFC 7517), with the `issuer` whose tickets they verify."""
        keys = []
        for key_id in self._ring.public_keys():
            found = self.find(key_id)
            if found is not None:
                keys.append({**found.as_dict(private=False), "kid": key_id, "alg": "Ed25519", "use": "sig"})
        return {"issuer": self.issuer, "keys": keys}
