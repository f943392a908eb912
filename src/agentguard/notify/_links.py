"""Links with which a person decides: signed, for one approval and edition, for one use, and never without a login.

A mail scanner that follows a link gets a page; only a form on it, sent by somebody who has logged in, votes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import NotifyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.notify._outbox import Outbox

_CONTEXT = b"agentguard vote link v1\0"
_MAX_TOKEN = 1024


class VoteLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a link says; `until` is a Unix time."""

    id: str
    approval: str
    edition: int
    approves: bool
    until: float


class VoteLinks:
    """Makes and reads the tokens of links, with a key (32 bytes) that only this project has."""

    def __init__(
        self, key: bytes, outbox: Outbox, *, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._key, self._outbox, self._ttl_s, self._clock = key, outbox, ttl_s, clock

    def issue(self, approval: str, edition: int, *, approves: bool) -> str:
        """Return a token for a path: two parts of base64url, the claims and their HMAC-SHA256."""
        link = VoteLink(secrets.token_hex(16), approval, edition, approves, self._clock() + self._ttl_s)
        body = _encoded(msgspec.json.encode(link))
        return f"{body}.{self._sign(body)}"

    def read(self, token: str) -> VoteLink:
        """Return what a token says; it is not used up.

        Raises:
            NotifyError: it is none of ours (`link_invalid`), or too old (`link_expired`).
        """
        body, _, signature = token.partition(".")
        if len(token) > _MAX_TOKEN or not hmac.compare_digest(
            self._sign(body).encode(), signature.encode("utf-8", "replace")
        ):
            raise NotifyError(
                "this link is none of ours", code="link_invalid", hint="open the approval itself"
            )
        try:
            link = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=VoteLink)
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise NotifyError("this link is none of ours", code="link_invalid") from None
        if self._clock() >= link.until:
            raise NotifyError("this link is too old", code="link_expired", hint="open the approval itself")
        return link

    def spend(self, link: VoteLink) -> None:
        """Use a link up.

        Raises:
            NotifyError: it was used before (`link_used`).
        """
        if not self._outbox.spend_link(link.id, until=link.until):
            raise NotifyError("this link was used", code="link_used", hint="open the approval itself")

    def _sign(self, body: str) -> str:
        return _encoded(
            hmac.new(self._key, _CONTEXT + body.encode("utf-8", "replace"), hashlib.sha256).digest()
        )


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
