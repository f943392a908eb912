"""What comes back: links and clicks, read and checked."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.backends import SqliteOutbox
from agentguard.core import NotifyError
from agentguard.notify import Click, SlackClicks, VoteLinks, answer_click
from notify_world import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_770_000_000.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = SqliteOutbox(tmp_path / "outbox.sqlite")
    yield made
    made.close()


def links(outbox: SqliteOutbox, *, key: bytes = b"k" * 32, now: float = NOW) -> VoteLinks:
    return VoteLinks(key, outbox, ttl_s=3600, clock=lambda: now)


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(NotifyError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_link_says_what_it_was_made_for_and_is_used_once(outbox: SqliteOutbox) -> None:
    subject = links(outbox)
    token = subject.issue("ap-1", 2, approves=True)
    link = subject.read(token)
    assert (link.approval, link.edition, link.approves) == ("ap-1", 2, True)
    assert subject.read(token) == link
    subject.spend(link)
    assert code_of(subject.spend, link) == "link_used"
    assert code_of(links(outbox).spend, link) == "link_used"


def test_link_ends(outbox: SqliteOutbox) -> None:
    token = links(outbox).issue("ap-1", 0, approves=True)
    assert code_of(links(outbox, now=NOW + 3600).read, token) == "link_expired"


def test_link_of_another_project_is_none_of_ours(outbox: SqliteOutbox) -> None:
    token = links(outbox, key=b"x" * 32).issue("ap-1", 0, approves=True)
    assert code_of(links(outbox).read, token) == "link_invalid"


def test_changed_link_is_none_of_ours(outbox: SqliteOutbox) -> None:
    subject = links(outbox)
    token = subject.issue("ap-1", 0, approves=False)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        # The last character of base64 without padding holds bits that count for nothing.
        if subject_reads(subject, changed):
            assert subject.read(changed) == subject.read(token)


def subject_reads(subject: VoteLinks, token: str) -> bool:
    try:
        subject.read(token)
    except NotifyError:
        return False
    return True


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    subject = VoteLinks(b"k" * 32, None, ttl_s=60)  # type: ignore[arg-type]  # nothing is spent
    assert not subject_reads(subject, text)


PEOPLE = {"U1": "dana"}


def click(**changes: Any) -> bytes:
    payload = {
        "type": "block_actions",
        "user": {"id": "U1"},
        "actions": [{"action_id": "agentguard_approve", "value": "ap-1:2"}],
        "response_url": "https://hooks.slack.com/actions/1",
        **changes,
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def read(
    clicks: SlackClicks, body: bytes, *, at: float = NOW, key: str = "s3cret", timestamp: str | None = None
) -> Click | None:
    stamp = str(int(at)) if timestamp is None else timestamp
    signed = hmac.new(key.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return clicks.read(body, timestamp=stamp, signature=f"v0={signed}")


def clicks() -> SlackClicks:
    return SlackClicks("s3cret", PEOPLE, clock=lambda: NOW)


def test_signature_is_slacks_own_example() -> None:
    """The example of "Verifying requests from Slack"."""
    body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    subject = SlackClicks("8f742231b10e8888abcd99yyyzzz85a5", {}, clock=lambda: 1_531_420_618.0)
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    # It is Slack's, and no click.
    assert code_of(subject.read, body, timestamp="1531420618", signature=signature) == "slack_payload"


def test_click_is_a_persons_vote_on_what_they_saw() -> None:
    assert read(clicks(), click()) == Click(
        "dana", "ap-1", 2, approves=True, answer_to="https://hooks.slack.com/actions/1"
    )
    denied = click(
        actions=[{"action_id": "agentguard_deny", "value": "ap-1:0"}], response_url="https://evil.example/"
    )
    assert read(clicks(), denied) == Click("dana", "ap-1", 0, approves=False)


def test_click_on_a_link_is_nothing() -> None:
    assert read(clicks(), click(actions=[{"action_id": "open"}])) is None


@pytest.mark.parametrize(
    ("body", "options", "code"),
    [
        (click(), {"key": "other"}, "slack_signature"),
        (click(), {"at": NOW - 301}, "slack_replayed"),
        (click(), {"at": NOW + 301}, "slack_replayed"),
        (click(), {"timestamp": "soon"}, "slack_replayed"),
        (click(user={"id": "U2"}), {}, "slack_person"),
        (click(user={}), {}, "slack_payload"),
        (click(actions=[]), {}, "slack_payload"),
        (click(actions=[{"action_id": "agentguard_approve", "value": "nonsense"}]), {}, "slack_payload"),
        (click(actions=[{"action_id": "agentguard_approve", "value": ":1"}]), {}, "slack_payload"),
        (b"payload=[1]", {}, "slack_payload"),
        (b"payload=%ff", {}, "slack_payload"),
        (b"", {}, "slack_payload"),
        (b"x" * 300_000, {}, "slack_signature"),
    ],
)
def test_click_that_proves_nothing_is_refused(body: bytes, options: dict[str, Any], code: str) -> None:
    assert code_of(read, clicks(), body, **options) == code


def test_click_that_is_sent_again_is_refused() -> None:
    subject = clicks()
    read(subject, click())
    assert code_of(read, subject, click()) == "slack_replayed"


def test_who_clicked_is_told_alone() -> None:
    with receiving() as receiver:
        answer_click(Click("dana", "ap-1", 0, approves=True, answer_to=receiver.url), "counted")
        answer_click(Click("dana", "ap-1", 0, approves=True), "to nobody")
    [got] = receiver.got
    assert got.json() == {"response_type": "ephemeral", "replace_original": False, "text": "counted"}
