"""Outgoing mail: a Maildir in place of the internet, so that what is sent can be looked at."""

from __future__ import annotations

import mailbox
from email.message import EmailMessage
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SENDER = "deploy-agent@shop.example"


class Mail:
    """The Maildir under `root`."""

    def __init__(self, root: Path) -> None:
        self._box = mailbox.Maildir(root / "mail", create=True)

    def send(self, to: str, subject: str, body: str) -> None:
        """Deliver one message."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = SENDER, to, subject
        message.set_content(body)
        self._box.add(message)

    def recipients(self) -> list[str]:
        """Return to whom messages were sent, sorted."""
        return sorted(str(message["To"]) for message in self._box)
