"""Any program: the notice as JSON, signed after the Standard Webhooks specification 1.0 (symmetric, `v1`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import ConfigError
from agentguard.notify._post import post

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.notify._message import Message

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64


class Webhook:
    """Posts notices to one address.

    Raises:
        ConfigError: the secret is none: `whsec_` and 24 to 64 bytes in base64.
    """

    kind = "webhook"

    def __init__(self, name: str, *, url: str, secret: str, clock: Callable[[], float] = time.time) -> None:
        self.name, self._url, self._clock = name, url, clock
        try:
            self._key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (ValueError, binascii.Error):
            self._key = b""
        if not secret.startswith(_PREFIX) or not _LEAST <= len(self._key) <= _MOST:
            hint = "make one: `python -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'`"
            raise ConfigError(f"the secret of channel `{name}` is none", code="notify_secret", hint=hint)

    def takes(self, message: Message) -> bool:  # noqa: ARG002 - as `Channel`
        """Take everything."""
        return True

    def send(self, message: Message) -> None:
        """Post a notice; see `Channel.send`."""
        body, stamp = msgspec.json.encode(body_of(message)), str(int(self._clock()))
        headers = {
            "webhook-id": message.notice.id,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._key, message.notice.id, stamp, body),
        }
        post(self._url, body, headers)


def signature(key: bytes, notice_id: str, timestamp: str, body: bytes) -> str:
    """Return the header `webhook-signature`: HMAC-SHA256 over id, time and body."""
    signed = hmac.new(key, f"{notice_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def body_of(message: Message) -> dict[str, Any]:
    """Return the notice as its receiver gets it."""
    notice = message.notice
    return {
        "type": notice.kind.value,
        "timestamp": notice.at.isoformat(),
        "data": {
            "id": notice.id,
            "severity": notice.severity.value,
            "title": notice.title,
            "fields": dict(notice.fields),
            "approval": notice.approval,
            "url": message.url,
        },
    }
