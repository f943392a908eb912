"""Each channel, against a server that speaks its protocol."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from agentguard.core import ConfigError, NoticeKind, Severity
from agentguard.notify import (
    Button,
    DeliveryError,
    Email,
    PagerDuty,
    SlackApp,
    SlackWebhook,
    Teams,
    Templates,
    Webhook,
)
from notify_world import AT, Post, Receiver, make_certificate, notice, post_office, receiving

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.notify import Message

BUTTONS = (
    Button("Approve", "https://guard.example.com/decide/a", approves=True),
    Button("Deny", "https://guard.example.com/decide/d", approves=False),
)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def message(**changes: Any) -> Message:
    buttons = changes.pop("buttons", BUTTONS)
    return Templates().write(notice(**changes), base_url="https://guard.example.com", buttons=buttons)


def test_slack_webhook_gets_blocks_with_escaped_text_and_links() -> None:
    with receiving() as receiver:
        SlackWebhook("ops", f"{receiver.url}/hook").send(message())
    [got] = receiver.got
    body = got.json()
    section, actions = body["blocks"]
    assert section["text"]["type"] == "mrkdwn"
    assert "&lt;b&gt;1&lt;/b&gt; &amp; 2" in section["text"]["text"]
    assert [each["url"] for each in actions["elements"]] == [
        *(each.url for each in BUTTONS),
        "https://guard.example.com/approvals/ap-1",
    ]
    assert body["text"].startswith("[AgentGuard high] approval needed")


def test_slack_app_posts_buttons_that_vote_with_its_token() -> None:
    with receiving(Receiver(lambda _: (200, {}, b'{"ok": true}'))) as receiver:
        app = SlackApp("ops", token="xoxb-1", channel="C1", api=receiver.url, clicks=True)
        app.send(message(edition=2))
    [got] = receiver.got
    assert (got.path, got.headers["authorization"]) == ("/chat.postMessage", "Bearer xoxb-1")
    body = got.json()
    elements = body["blocks"][1]["elements"]
    assert (body["channel"], [each.get("value") for each in elements[:2]]) == ("C1", ["ap-1:2"] * 2)


@pytest.mark.parametrize(
    ("answer", "permanent"),
    [
        (b'{"ok": false, "error": "channel_not_found"}', True),
        (b'{"ok": false, "error": "ratelimited"}', False),
        (b"nonsense", False),
        (b"[1]", False),
    ],
)
def test_slack_that_refuses_is_an_error(answer: bytes, *, permanent: bool) -> None:
    with receiving(Receiver(lambda _: (200, {}, answer))) as receiver:
        app = SlackApp("ops", token="xoxb-1", channel="C1", api=receiver.url, clicks=False)
        with pytest.raises(DeliveryError) as caught:
            app.send(message())
    assert caught.value.permanent is permanent


# The parts of PagerDuty's "Send an Alert Event" that it refuses an event without.
PAGERDUTY = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "properties": {
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "maxLength": 255},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "maxLength": 1024},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
            },
        },
        "links": {"type": "array", "items": {"type": "object", "required": ["href"]}},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}


@pytest.mark.parametrize(
    ("severity", "said"), [(Severity.CRITICAL, "critical"), (Severity.HIGH, "error"), (Severity.LOW, "info")]
)
def test_pagerduty_is_triggered_and_resolved_by_one_key(severity: Severity, said: str) -> None:
    with receiving(Receiver(lambda _: (202, {}, b'{"status": "success"}'))) as receiver:
        channel = PagerDuty("pager", routing_key="r" * 32, url=f"{receiver.url}/v2/enqueue")
        channel.send(message(severity=severity))
        channel.send(message(severity=severity, kind=NoticeKind.APPROVAL_DECIDED, id="ap-1:3"))
    trigger, resolve = (each.json() for each in receiver.got)
    for event in (trigger, resolve):
        jsonschema_rs.validator_for(PAGERDUTY).validate(event)
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == said


def test_teams_gets_an_adaptive_card() -> None:
    with receiving(Receiver(lambda _: (202, {}, b""))) as receiver:
        Teams("team", f"{receiver.url}/workflows/1").send(message())
    [got] = receiver.got
    [attachment] = got.json()["attachments"]
    card = attachment["content"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {each["type"] for each in card["actions"]} == {"Action.OpenUrl"}
    assert {"title": "principal", "value": "deploy-agent"} in card["body"][1]["facts"]


def test_webhook_is_signed_over_id_time_and_body() -> None:
    with receiving() as receiver:
        Webhook("mine", url=f"{receiver.url}/in", secret=SECRET, clock=lambda: 1_770_000_000.9).send(
            message()
        )
    [got] = receiver.got
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert (got.headers["webhook-id"], got.headers["webhook-timestamp"]) == ("ap-1:0", "1770000000")
    body = got.json()
    assert (body["type"], body["timestamp"], body["data"]["approval"]) == (
        "approval_pending",
        AT.isoformat(),
        "ap-1",
    )


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_!!", "k" * 32, "whsec_" + base64.b64encode(b"short").decode()]
)
def test_webhook_without_a_proper_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook("mine", url="http://127.0.0.1:1/", secret=secret)
    assert caught.value.code == "notify_secret"
    assert "k" * 32 not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "permanent", "retry_after_s"),
    [
        (404, {}, True, None),
        (401, {}, True, None),
        (302, {"Location": "http://127.0.0.1:1/"}, True, None),
        (429, {"Retry-After": "7"}, False, 7.0),
        (429, {"Retry-After": "99999999"}, False, None),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, False, None),
        (500, {}, False, None),
    ],
)
def test_answer_says_whether_to_try_again(
    status: int, headers: dict[str, str], *, permanent: bool, retry_after_s: float | None
) -> None:
    with (
        receiving(Receiver(lambda _: (status, headers, b""))) as receiver,
        pytest.raises(DeliveryError) as caught,
    ):
        SlackWebhook("ops", f"{receiver.url}/secret-path").send(message())
    assert (caught.value.permanent, caught.value.retry_after_s) == (permanent, retry_after_s)
    assert "secret-path" not in caught.value.reason
    assert len(receiver.got) == 1


def test_dead_server_is_an_error_without_its_address() -> None:
    with receiving() as receiver:
        url = f"{receiver.url}/secret-path"
    with pytest.raises(DeliveryError) as caught:
        SlackWebhook("ops", url).send(message())
    assert not caught.value.permanent
    assert "secret-path" not in caught.value.reason


def test_slow_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(_: object) -> tuple[int, dict[str, str], bytes]:
        release.wait(20)
        return 200, {}, b""

    monkeypatch.setattr("agentguard.notify._post.DEADLINE_S", 0.2)
    with receiving(Receiver(hang)) as receiver:
        with pytest.raises(DeliveryError, match="no answer within"):
            SlackWebhook("ops", receiver.url).send(message())
        release.set()


def test_endless_answer_is_not_read_to_its_end() -> None:
    with receiving(Receiver(lambda _: (200, {}, b"x" * 10_000_000))) as receiver:
        SlackWebhook("ops", receiver.url).send(message())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def email(post: Post, certificate: Any, **changes: Any) -> Email:
    given: dict[str, Any] = {
        "host": "localhost", "port": post.port, "sender": "guard@example.com", "recipients": ("ops@example.com",),
        "people": {"dana": "dana@example.com"}, "ca_file": str(certificate[0]),
    }  # fmt: skip
    return Email("mail", **{**given, **changes})


def test_mail_goes_out_after_starttls_and_login_as_text_and_html(certificate: Any) -> None:
    login = ("guard", "secret")
    with post_office(Post(), tls=certificate[1], login=login) as post:
        email(post, certificate, login=login).send(message(people=("dana", "nobody")))
    [(sender, recipients, mail)] = post.mails
    assert (sender, recipients) == ("guard@example.com", ["dana@example.com", "ops@example.com"])
    assert mail["Subject"].startswith("[AgentGuard high]")
    text, html = (part.get_content() for part in mail.iter_parts())  # type: ignore[attr-defined]  # the modern class
    assert "https://guard.example.com/decide/a" in text
    assert "&lt;b&gt;1&lt;/b&gt;" in html
    assert "<b>1</b>" not in html


def test_title_with_a_line_break_adds_no_header(certificate: Any) -> None:
    with post_office(Post(), tls=certificate[1]) as post:
        email(post, certificate).send(message(title="x\r\nBcc: eve@example.com\r\n\r\nhello"))
    [(_, recipients, mail)] = post.mails
    assert recipients == ["ops@example.com"]
    assert mail["Bcc"] is None


def test_server_without_starttls_gets_nothing(certificate: Any) -> None:
    with post_office(Post()) as post, pytest.raises(DeliveryError, match="no protection") as caught:
        email(post, certificate).send(message())
    assert caught.value.permanent
    assert post.mails == []


def test_certificate_that_nobody_vouches_for_is_refused(certificate: Any) -> None:
    with post_office(Post(), tls=certificate[1]) as post, pytest.raises(DeliveryError, match="not protected"):
        email(post, certificate, ca_file=None).send(message())
    assert post.mails == []


def test_unprotected_mail_on_this_machine_is_possible(certificate: Any) -> None:
    with post_office(Post()) as post:
        email(post, certificate, security="none").send(message())
    assert len(post.mails) == 1


@pytest.mark.parametrize(
    ("post", "login", "said", "permanent"),
    [
        (Post(refuse="451 later"), None, "451", False),
        (Post(refuse="554 never"), None, "554", True),
        (Post(refuse_recipients=("ops@example.com",)), None, "every recipient", True),
        (Post(), ("guard", "wrong"), "refuses the login", True),
    ],
)
def test_refused_mail_says_whether_to_try_again(
    certificate: Any, post: Post, login: tuple[str, str] | None, *, said: str, permanent: bool
) -> None:
    known = ("guard", "secret") if login else None
    with (
        post_office(post, tls=certificate[1], login=known),
        pytest.raises(DeliveryError, match=said) as caught,
    ):
        email(post, certificate, login=login).send(message())
    assert caught.value.permanent is permanent
    assert "wrong" not in caught.value.reason


def test_some_recipients_refused_is_a_dead_letter_and_no_second_mail(certificate: Any) -> None:
    post = Post(refuse_recipients=("dana@example.com",))
    with (
        post_office(post, tls=certificate[1]),
        pytest.raises(DeliveryError, match="1 of the recipients") as caught,
    ):
        email(post, certificate).send(message(people=("dana",)))
    assert caught.value.permanent
    assert len(post.mails) == 1


def test_mail_for_nobody_here_is_not_taken(certificate: Any) -> None:
    channel = email(Post(), certificate, recipients=())
    assert not channel.takes(message(people=("eli",)))
    assert channel.takes(message(people=("dana",)))
    assert channel.takes(message(everyone=True))


def test_dead_mail_server_is_an_error(certificate: Any) -> None:
    with post_office(Post()) as post:
        pass
    with pytest.raises(DeliveryError, match="cannot be reached"):
        email(post, certificate).send(message())


def test_template_of_the_project_takes_the_place_of_ours_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "subject.txt").write_text("{{ severity }}! {{ title }}")
    (tmp_path / "chat.txt").write_text("{{ nothing.of.the.kind }}")
    (tmp_path / "html.html").write_text("{{ ''.__class__.__mro__ }}")
    (tmp_path / "text.txt").write_text("{% if %}")
    templates = Templates(tmp_path)
    templates.write(notice(), base_url="")
    written = templates.write(notice(), base_url="")
    assert written.subject == "high! approval needed: deploy-agent restart on prod/api"
    assert "deploy-agent" in written.chat
    assert "A link only shows" in written.html
    assert caplog.text.count("`chat.txt` cannot be used") == 1
    [problem] = templates.problems()
    assert problem.startswith("template `text.txt`: ")


def test_hostile_title_is_one_visible_line() -> None:
    written = message(title="a\nb\u202ec\x1b[2J")
    assert "\\u202e" in written.subject
    assert written.subject.isprintable()
