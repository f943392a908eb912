"""Taking notices and delivering them, whatever fails in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.backends import SqliteOutbox
from agentguard.config import NotifySettings
from agentguard.core import Event, EventKind, NoticeKind, NotifyError, Severity
from agentguard.events import InProcessBus
from agentguard.notify import AlertNotices, DeliveryError, OutboxNotifier, Routing, Templates, VoteLinks
from notify_world import AT, Receiver, notice, receiving, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentguard.notify import Channel, Message


class Line:
    """A channel that fails as often as it is told to, and then takes what it is sent."""

    kind = "slack"

    def __init__(
        self, name: str = "line", *, fails: list[Exception] | None = None, takes: bool = True
    ) -> None:
        self.name, self.fails, self._takes = name, list(fails or ()), takes
        self.sent: list[Message] = []
        self.tries = 0

    def takes(self, message: Message) -> bool:
        del message
        return self._takes

    def send(self, message: Message) -> None:
        self.tries += 1
        if self.fails:
            raise self.fails.pop(0)
        self.sent.append(message)


class Stuck(Line):
    """A channel that never comes back while it is held."""

    def __init__(self) -> None:
        super().__init__("stuck")
        self.free = threading.Event()

    def send(self, message: Message) -> None:
        self.free.wait(20)
        super().send(message)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqliteOutbox]:
    made = SqliteOutbox(tmp_path / "outbox.sqlite")
    yield made
    made.close()


@pytest.fixture
def open_notifier(outbox: SqliteOutbox) -> Iterator[Callable[..., OutboxNotifier]]:
    opened: list[OutboxNotifier] = []

    def open_it(*channels: Channel, **more: Any) -> OutboxNotifier:
        routes = more.pop(
            "routes", {severity: tuple(each.name for each in channels) for severity in Severity}
        )
        settings = NotifySettings(routes=routes)
        kinds = {each.name: each.kind for each in channels}
        made = OutboxNotifier(
            channels, routing=Routing(settings, kinds), outbox=outbox, templates=Templates(), **more
        )
        opened.append(made)
        return made

    yield open_it
    for each in opened:
        each.close()


def test_notice_is_delivered_once_over_each_channel(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    lines = Line("one"), Line("two")
    notifier = open_notifier(*lines)
    for _ in range(3):
        notifier.notify(notice())
    wait_until(lambda: all(line.sent for line in lines))
    wait_until(lambda: outbox.counts() == {("one", "sent"): 1, ("two", "sent"): 1})
    assert [line.tries for line in lines] == [1, 1]


def test_failed_delivery_is_tried_again(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    line = Line(fails=[DeliveryError("busy", retry_after_s=0.01), RuntimeError("a fault of ours")])
    clock = [time.time()]
    notifier = open_notifier(line, clock=lambda: clock[0])
    notifier.notify(notice())
    wait_until(lambda: line.tries == 1)
    clock[0] += 10
    notifier.wake()
    wait_until(lambda: line.tries == 2)
    assert outbox.counts() == {("line", "waiting"): 1}
    clock[0] += 10
    notifier.wake()
    wait_until(lambda: line.sent)


@pytest.mark.parametrize(
    ("error", "give_up_after_s"),
    [(DeliveryError("no such place", permanent=True), 86_400.0), (DeliveryError("busy"), 1.0)],
)
def test_given_up_delivery_is_a_dead_letter_until_it_is_revived(
    open_notifier: Callable[..., OutboxNotifier],
    outbox: SqliteOutbox,
    error: DeliveryError,
    give_up_after_s: float,
) -> None:
    line = Line(fails=[error])
    notifier = open_notifier(line, give_up_after_s=give_up_after_s)
    notifier.notify(notice())
    wait_until(outbox.dead)
    [dead] = outbox.dead()
    assert (dead.reason, dead.attempts, dead.notice) == (error.reason, 1, notice())
    assert outbox.revive([dead.number, 999], now=time.time()) == 1
    notifier.wake()
    wait_until(lambda: line.sent)
    assert outbox.dead() == []


def test_dead_letter_can_be_dropped(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    open_notifier(Line(fails=[DeliveryError("no", permanent=True)])).notify(notice())
    wait_until(outbox.dead)
    assert outbox.drop([each.number for each in outbox.dead()]) == 1
    assert outbox.counts() == {}


def test_stuck_channel_keeps_no_other_waiting_nor_who_tells(
    open_notifier: Callable[..., OutboxNotifier],
) -> None:
    stuck, line = Stuck(), Line()
    notifier = open_notifier(stuck, line)
    for number in range(5):
        notifier.notify(notice(number))
    wait_until(lambda: len(line.sent) == 5)
    assert stuck.sent == []
    stuck.free.set()


def test_same_alert_is_told_once_in_a_while_and_each_approval_always(
    open_notifier: Callable[..., OutboxNotifier],
) -> None:
    line, clock = Line(), [1000.0]
    notifier = open_notifier(line, clock=lambda: clock[0], repeat_after_s=300)
    for number, later in ((1, 0), (2, 10), (3, 289), (4, 2)):
        clock[0] += later
        notifier.notify(notice(id=f"event:{number}", kind=NoticeKind.ALERT, approval=""))
    notifier.notify(notice(7))
    notifier.notify(notice(8, title=notice(7).title))
    wait_until(lambda: len(line.sent) == 4)
    assert [each.notice.id for each in line.sent] == ["event:1", "event:4", "ap-7:0", "ap-8:0"]


def test_channel_that_is_for_nobody_counts_as_told(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    line = Line(takes=False)
    open_notifier(line).notify(notice())
    wait_until(lambda: outbox.counts() == {("line", "sent"): 1})
    assert line.tries == 0


def test_pending_approval_carries_links_that_vote(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    line = Line()
    links = VoteLinks(b"k" * 32, outbox, ttl_s=60)
    notifier = open_notifier(line, links=links, base_url="https://guard.example.com")
    notifier.notify(notice(edition=3))
    notifier.notify(notice(id="ap-1:2", kind=NoticeKind.APPROVAL_DECIDED))
    wait_until(lambda: len(line.sent) == 2)
    pending, decided = line.sent
    assert [each.approves for each in pending.buttons] == [True, False]
    token = pending.buttons[1].url.rpartition("/")[2]
    link = links.read(token)
    assert (link.approval, link.edition, link.approves) == ("ap-1", 3, False)
    assert decided.buttons == ()


def test_test_of_a_channel_says_what_came_of_it(open_notifier: Callable[..., OutboxNotifier]) -> None:
    line = Line(fails=[DeliveryError("no such place", permanent=True)])
    notifier = open_notifier(line)
    with pytest.raises(NotifyError, match="no such place") as caught:
        notifier.deliver(notice(), "line")
    assert caught.value.code == "delivery_failed"
    notifier.deliver(notice(), "line")
    assert len(line.sent) == 1
    with pytest.raises(NotifyError) as caught:
        notifier.deliver(notice(), "other")
    assert caught.value.code == "channel_unknown"


def test_closed_outbox_takes_nothing(
    open_notifier: Callable[..., OutboxNotifier], outbox: SqliteOutbox
) -> None:
    notifier = open_notifier(Line())
    notifier.close()
    outbox.close()
    with pytest.raises(NotifyError):
        notifier.notify(notice())


_PROCESS = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from agentguard.backends import SqliteOutbox
from agentguard.config import NotifySettings, SlackSettings
from agentguard.notify import OutboxNotifier, Routing, SlackWebhook, Templates
from notify_world import notice
outbox = SqliteOutbox(Path(sys.argv[1]))
notifier = OutboxNotifier([SlackWebhook("ops", sys.argv[2])], routing=Routing(NotifySettings(), {"ops": "slack"}),
    outbox=outbox, templates=Templates())
if sys.stdin.readline() == "tell\\n":
    for number in range(20):
        notifier.notify(notice(number))
        print(number, flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
def test_what_was_taken_outlives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROCESS, str(tmp_path / "outbox.sqlite")]
    broken = threading.Event()
    broken.set()

    def answer(_: object) -> tuple[int, dict[str, str], bytes]:
        return (503, {"Retry-After": "1"}, b"") if broken.is_set() else (200, {}, b"")

    with receiving(Receiver(answer)) as receiver:
        process = subprocess.Popen(
            [*command, receiver.url, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("tell\n")
        process.stdin.flush()
        taken = [int(process.stdout.readline()) for _ in range(7)]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        broken.clear()
        receiver.got.clear()
        again = subprocess.Popen([*command, receiver.url, *sys.path], stdin=subprocess.PIPE, text=True)
        wait_until(lambda: {json_title(each.body) for each in receiver.got} >= set(taken))
        again.communicate("end\nend\n")


def json_title(body: bytes) -> int:
    import json

    url = json.loads(body)["blocks"][1]["elements"][-1]["url"]
    return int(url.rpartition("-")[2])


def alert(**payload: Any) -> Event:
    return Event("e1", EventKind.ALERT, AT, "agent", "run-1", payload)


def test_alerts_on_the_bus_are_told_by_their_severity(open_notifier: Callable[..., OutboxNotifier]) -> None:
    line, bus = Line(), InProcessBus()
    notices = AlertNotices(bus, open_notifier(line))
    bus.publish([
        alert(action="truth.contradicted", severity="critical", reason="claimed this, but did that", resource="file:/etc/shadow"),
        alert(action="something.else", reason="nobody said how bad"),
        Event("e2", EventKind.FILE, AT, "agent", "run-1", {"severity": "critical"}),
    ])  # fmt: skip
    notices.close()
    wait_until(lambda: line.sent)
    [message] = line.sent
    assert (message.notice.severity, message.notice.kind) == (Severity.CRITICAL, NoticeKind.ALERT)
    assert "claimed this, but did that" in message.subject
    assert ("resource", "file:/etc/shadow") in message.notice.fields
