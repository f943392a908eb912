"""Slack: messages of blocks to an incoming webhook or by an app, and clicks on buttons that Slack has signed.

After Slack's documentation: "Sending messages using incoming webhooks", `chat.postMessage`, "Block Kit" and
"Verifying requests from Slack" (signature version v0).
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from agentguard.core import NotifyError
from agentguard.notify._channel import DeliveryError
from agentguard.notify._post import post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.notify._message import Message

_ICONS = {"critical": "🛑", "high": "⚠️", "medium": "🔶", "low": "🔹", "info": "ℹ️"}  # noqa: RUF001 - as people know it
_MAX_BLOCK = 2_900
_WINDOW_S = 300
_MAX_KNOWN = 10_000
_MAX_CLICK_BYTES = 256 * 1024
APPROVE, DENY = "agentguard_approve", "agentguard_deny"


def blocks_of(message: Message, *, clicks: bool) -> dict[str, Any]:
    """Return the message as Slack takes it; with `clicks` its buttons vote at once, else they open the page."""
    icon = _ICONS[message.notice.severity.value]
    found: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"{icon} {message.chat}"[:_MAX_BLOCK]}}
    ]
    elements: list[dict[str, Any]] = []
    if clicks and message.buttons:
        value = f"{message.notice.approval}:{message.notice.edition}"
        elements += [
            _button("Approve", APPROVE, "primary", value=value),
            _button("Deny", DENY, "danger", value=value),
        ]
    else:
        elements += [
            _button(each.label, f"link_{number}", "", url=each.url)
            for number, each in enumerate(message.buttons)
        ]
    if message.url:
        elements.append(_button("Open", "open", "", url=message.url))
    if elements:
        found.append({"type": "actions", "elements": elements})
    return {"text": message.subject, "blocks": found}


def _button(label: str, action: str, style: str, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "button",
        "text": {"type": "plain_text", "text": label},
        "action_id": action,
        **more,
    }
    return {**made, "style": style} if style else made


class SlackWebhook:
    """Posts to an incoming webhook."""

    kind = "slack"

    def __init__(self, name: str, url: str) -> None:
        self.name, self._url = name, url

    def takes(self, message: Message) -> bool:  # noqa: ARG002 - as `Channel`
        """Take everything."""
        return True

    def send(self, message: Message) -> None:
        """Post a message; see `Channel.send`."""
        post(self._url, msgspec.json.encode(blocks_of(message, clicks=False)), {})


class SlackApp:
    """Posts as an app to a channel; with `clicks` its buttons vote."""

    kind = "slack"

    def __init__(self, name: str, *, token: str, channel: str, api: str, clicks: bool) -> None:
        self.name = name
        self._token, self._channel, self._clicks = token, channel, clicks
        self._url = f"{api}/chat.postMessage"

    def takes(self, message: Message) -> bool:  # noqa: ARG002 - as `Channel`
        """Take everything."""
        return True

    def send(self, message: Message) -> None:
        """Post a message; see `Channel.send`."""
        body = {"channel": self._channel, "unfurl_links": False, **blocks_of(message, clicks=self._clicks)}
        _, answer = post(self._url, msgspec.json.encode(body), {"Authorization": f"Bearer {self._token}"})
        try:
            said = msgspec.json.decode(answer, type=dict[str, Any])
        except msgspec.MsgspecError:
            raise DeliveryError("answered something else than Slack does") from None
        if said.get("ok") is not True:
            reason = str(said.get("error", "unknown"))[:100]
            passing = reason in {
                "ratelimited",
                "internal_error",
                "fatal_error",
                "service_unavailable",
                "request_timeout",
            }
            raise DeliveryError(f"Slack refused it: {reason}", permanent=not passing)


class Click(msgspec.Struct, frozen=True):
    """A click on a button: who (a person's name), on which approval and edition, and what it says.

    `answer_to` is where Slack takes a word to who clicked; empty where it is nowhere of Slack's.
    """

    person: str
    approval: str
    edition: int
    approves: bool
    answer_to: str = ""


class SlackClicks:
    """Reads clicks on buttons, from requests that Slack has signed.

    `people` are names of persons by Slack's user ids, `answers` how addresses of Slack begin that take a word back. Each request counts once within its window of five minutes.
    """

    def __init__(
        self,
        signing_secret: str,
        people: Mapping[str, str],
        *,
        answers: str = "https://hooks.slack.com/",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret, self._people, self._clock = signing_secret.encode(), dict(people), clock
        self._answers = answers
        self._lock = threading.Lock()
        self._known: dict[bytes, float] = {}

    def read(self, body: bytes, *, timestamp: str, signature: str) -> Click | None:
        """Return what was clicked; None for a click on what only opens a page.

        Raises:
            NotifyError: it is not from Slack (`slack_signature`), too old or sent again (`slack_replayed`), nobody
                known (`slack_person`), or nothing of ours (`slack_payload`).
        """
        self._check(body, timestamp, signature)
        return self._click(body)

    def _check(self, body: bytes, timestamp: str, signature: str) -> None:
        expected = (
            "v0="
            + hmac.new(self._secret, b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        )
        if len(body) > _MAX_CLICK_BYTES or not hmac.compare_digest(
            expected.encode(), signature.encode("utf-8", "replace")
        ):
            raise NotifyError("the request is not signed by Slack", code="slack_signature")
        now = self._clock()
        if not timestamp.isdigit() or abs(now - int(timestamp)) > _WINDOW_S:
            raise NotifyError("the request is too old, or from the future", code="slack_replayed")
        with self._lock:
            self._known = {key: until for key, until in self._known.items() if now < until}
            key = hashlib.sha256(expected.encode()).digest()
            if key in self._known or len(self._known) >= _MAX_KNOWN:
                raise NotifyError("the request was sent again", code="slack_replayed")
            self._known[key] = now + 2 * _WINDOW_S

    def _click(self, body: bytes) -> Click | None:
        try:
            payload = msgspec.json.decode(
                parse_qs(body.decode(), strict_parsing=True)["payload"][0], type=dict[str, Any]
            )
            action, user = payload["actions"][0], str(payload["user"]["id"])
            name, value = str(action["action_id"]), str(action.get("value", ""))
        except (ValueError, KeyError, IndexError, TypeError, msgspec.MsgspecError):
            raise NotifyError("the request says nothing that we know", code="slack_payload") from None
        if name not in {APPROVE, DENY}:
            return None
        person = self._people.get(user)
        if person is None:
            hint = "add them to `people` of the channel in `notify.channels`"
            raise NotifyError(
                f"nobody is known by the Slack user `{user[:40]}`", code="slack_person", hint=hint
            )
        approval, _, edition = value.rpartition(":")
        if not approval or not edition.isdecimal():
            raise NotifyError("the button is none of ours", code="slack_payload")
        answer_to = str(payload.get("response_url", ""))
        if not answer_to.startswith(self._answers):
            answer_to = ""
        return Click(person, approval, int(edition), name == APPROVE, answer_to)


def answer_click(click: Click, text: str) -> None:
    """Tell who clicked what came of it, so that nobody else sees it.

    Raises:
        DeliveryError: Slack did not take it.
    """
    if click.answer_to:
        body = {"response_type": "ephemeral", "replace_original": False, "text": text}
        post(click.answer_to, msgspec.json.encode(body), {})
