"""Mail over SMTP (RFC 5321), protected by STARTTLS (RFC 3207) or TLS, as text and HTML."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Literal

from agentguard.notify._channel import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.notify._message import Message

_DEADLINE_S = 20.0
_PERMANENT = 500


class Email:
    """Sends mail to fixed recipients, and to the people that a notice names.

    A server that offers no STARTTLS where it was asked for gets nothing.
    """

    kind = "email"

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        sender: str,
        recipients: tuple[str, ...],
        people: Mapping[str, str],
        security: Literal["starttls", "tls", "none"] = "starttls",
        login: tuple[str, str] | None = None,
        ca_file: str | None = None,
    ) -> None:
        self.name = name
        self._host, self._port, self._sender = host, port, sender
        self._recipients, self._people = recipients, dict(people)
        self._security, self._login = security, login
        self._ca_file = ca_file

    def takes(self, message: Message) -> bool:
        """Tell whether anybody here is to read it."""
        return bool(self._to(message))

    def send(self, message: Message) -> None:
        """Send a mail; see `Channel.send`."""
        mail = self._mail(message)
        try:
            with self._connect() as server:
                if self._login is not None:
                    server.login(*self._login)
                refused = server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise DeliveryError(
                "every recipient was refused", permanent=min(codes, default=0) >= _PERMANENT
            ) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryError(
                "the server offers no protection (STARTTLS) or no login", permanent=True
            ) from None
        except smtplib.SMTPAuthenticationError:
            raise DeliveryError("the server refuses the login", permanent=True) from None
        except smtplib.SMTPResponseException as error:
            permanent = error.smtp_code >= _PERMANENT
            raise DeliveryError(f"the server answered with {error.smtp_code}", permanent=permanent) from None
        except ssl.SSLError as error:
            raise DeliveryError(f"the connection is not protected: {error.reason or 'TLS failed'}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"cannot be reached: {type(error).__name__}") from None
        if refused:
            # It was taken for the others; to send it again would tell them twice.
            raise DeliveryError(f"{len(refused)} of the recipients were refused", permanent=True)

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            context.load_verify_locations(self._ca_file)
        if self._security == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_DEADLINE_S, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=_DEADLINE_S)
        try:
            if self._security == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"], mail["From"] = message.subject, self._sender
        mail["To"] = ", ".join(self._to(message))
        mail["Date"] = format_datetime(message.notice.at)
        # The same for the same notice, so that a mail that came twice is one in a thread.
        mail["Message-ID"] = make_msgid(idstring=message.notice.id.replace(":", "-"), domain="agentguard")
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail

    def _to(self, message: Message) -> list[str]:
        notice = message.notice
        named = [self._people[name] for name in notice.people if name in self._people]
        if notice.everyone:
            named = list(self._people.values())
        return list(dict.fromkeys((*named, *self._recipients)))
