"""`agentguard notify`: channels of a real project, and what could not be delivered."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from command_line import sidecar
from notify_world import Receiver, receiving, wait_until

if TYPE_CHECKING:
    from command_line import Command

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def configure(agentguard: Command, url: str, *, more: str = "") -> None:
    (agentguard.folder / "hook.secret").write_text(SECRET + "\n")
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(
        config.read_text() + "notify:\n  channels:\n"
        f"    mine: {{type: webhook, url: '{url}', secret: 'file:hook.secret'}}\n{more}"
    )


def test_channels_are_listed_with_what_goes_over_them(agentguard: Command) -> None:
    assert "nobody is told anything" in agentguard("notify", "list").out
    configure(agentguard, "http://127.0.0.1:9/")
    [row] = agentguard("notify", "list", "--json").json()
    assert row == {
        "channel": "mine", "type": "webhook", "severities": ["medium", "high", "critical"], "sent": 0, "waiting": 0, "dead": 0,
    }  # fmt: skip


def test_test_says_whether_the_channel_took_it(agentguard: Command) -> None:
    with receiving() as receiver:
        configure(agentguard, receiver.url)
        assert agentguard("notify", "test", "mine").out == "mine has taken it\n"
    assert receiver.got[0].json()["type"] == "test"
    failed = agentguard("notify", "test", "mine")
    assert failed.code != 0
    assert "channel `mine`: cannot be reached" in failed.err
    assert "there are `mine`" in agentguard("notify", "test", "other").err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    a: {type: slack}\n", "either `webhook` or `token`"),
        ("    a: {type: slack, token: 'env:X'}\n", "an app posts to a channel"),
        ("    a: {type: email, host: mx.example.com, sender: a@example.com}\n", "nobody gets this mail"),
        (
            "    a: {type: email, host: mx.example.com, sender: a@x.example, recipients: [b@x.example], security: none}\n",
            "unprotected",
        ),
        (
            "    a: {type: email, host: mx.example.com, sender: a@x.example, recipients: [b@x.example], username: u}\n",
            "go together",
        ),
        ("    a: {type: teams, webhook: 'https://example.com/secret'}\n", "webhook"),
        ("  routes: {high: [nobody]}\n", "there is no channel `nobody`"),
        ("  quiet: {since: '22:00', until: '07:00', tz: Mars/Base}\n", "no time zone `Mars/Base`"),
        ("  quiet: {since: '25:00', until: '07:00'}\n", "since"),
    ],
)
def test_settings_that_cannot_work_are_refused(agentguard: Command, more: str, said: str) -> None:
    configure(agentguard, "http://127.0.0.1:9/", more=more)
    ran = agentguard("notify", "list")
    assert ran.code != 0
    assert said in ran.err


def test_missing_secret_is_named_by_its_place(agentguard: Command) -> None:
    configure(agentguard, "http://127.0.0.1:9/")
    (agentguard.folder / "hook.secret").unlink()
    assert "channel `mine` has no secret in `file:hook.secret`" in agentguard("notify", "test", "mine").err


@pytest.mark.slow
def test_sidecar_tells_of_what_needs_a_person_and_a_dead_letter_is_retried(agentguard: Command) -> None:
    answers: list[tuple[int, dict[str, str], bytes]] = [(404, {}, b"")]
    receiver = Receiver(lambda _: answers.pop() if answers else (200, {}, b""))
    with receiving(receiver):
        configure(agentguard, receiver.url)
        token = agentguard("token", "issue", "deploy-agent").out.split()[-1]
        with sidecar(agentguard.folder) as running:
            status, answer = running.check(token, "prod/api")
            assert (status, answer["decision"]["effect"]) == (200, "require_approval")
            wait_until(lambda: agentguard("notify", "dead", "list", "--json").json())
            [dead] = agentguard("notify", "dead", "list", "--json").json()
            assert (dead["channel"], dead["reason"]) == ("mine", "answered with status 404")
            assert agentguard("notify", "dead", "retry", str(dead["number"])).out == "1 will be tried again\n"
            wait_until(lambda: len(receiver.got) == 2)
        body = receiver.got[1].json()
        assert body["type"] == "approval_pending"
        assert "/approvals/" in body["data"]["url"]
    assert agentguard("notify", "dead", "list").out == "there are no dead letters\n"
    assert agentguard("notify", "dead", "drop", "999").out == "0 forgotten\n"
