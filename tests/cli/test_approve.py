"""Who is asked about an attempt of a frozen agent: the project's people where a rule wants them, else the terminal."""

from __future__ import annotations

import os
import pty
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli import _approve
from agentguard.cli._approve import AskPeople
from agentguard.core import ApprovalState, ApprovalStatus, Effect, Principal
from agentguard.kernel.egress import Answer, Denial
from approval_scene import START
from command_line import wait_for
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import Decision, Request


@dataclass
class People(ScriptedDecider):
    """A decider whose people say `says`; None is nobody."""

    says: ApprovalState | None = ApprovalState.APPROVED
    waited: list[str] = field(default_factory=list)

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        del trace
        self.requests.append(request)
        if self.says is None:
            return decided(request, effect=Effect.DENY)
        if not request.approval:
            return decided(request, effect=Effect.REQUIRE_APPROVAL, approval="ap-1")
        effect = Effect.ALLOW if self.says is ApprovalState.APPROVED else Effect.DENY
        return decided(request, effect=effect)

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        assert principal.id == "agent"
        assert timeout_s > 0
        self.waited.append(approval_id)
        return ApprovalStatus(approval_id, self.says or ApprovalState.PENDING, 1, START)


def denial(target: str = "tcp 198.51.100.7:443", **changes: Any) -> Denial:
    given: dict[str, Any] = {
        "kind": "connect",
        "reason": "a person has to allow it",
        "rule": "ask",
        "needs_approval": True,
    }
    return Denial(**{**given, "target": target, **changes})


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at the terminal ends the agent."""
    monkeypatch.setattr(_approve, "_say", lambda *_, **__: Answer.KILL)


def ask(people: People, about: Denial) -> Answer:
    return AskPeople(people, Principal("agent"), "run-1")(about)


@pytest.mark.parametrize(
    ("says", "answer"),
    [
        (ApprovalState.APPROVED, Answer.ONCE),
        (ApprovalState.DENIED, Answer.DENY),
        (ApprovalState.EXPIRED, Answer.DENY),
    ],
)
def test_people_decide_on_an_address_that_a_rule_wants_them_for(
    says: ApprovalState, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    people = People(says=says)
    assert ask(people, denial()) is answer
    asked = people.requests[0]
    assert (asked.action, asked.resource, asked.context.session) == (
        "net.connect",
        "host:198.51.100.7:443",
        "run-1",
    )
    assert people.requests[-1].approval == "ap-1"
    assert "decide on approval ap-1" in capsys.readouterr().err
    assert [each.status for each in people.outcomes] == (["succeeded"] if answer is Answer.ONCE else [])


def test_address_of_the_newer_kind_is_named_in_brackets() -> None:
    people = People()
    assert ask(people, denial("tcp [2001:db8::1]:443")) is Answer.ONCE
    assert people.requests[0].resource == "host:[2001:db8::1]:443"


@pytest.mark.parametrize(
    "about",
    [
        denial("tcp api.example.com:443", needs_approval=False),
        denial("dns api.example.com", kind="name", needs_approval=False),
        denial("icmp 198.51.100.7:0"),
        denial("tcp 198.51.100.7:443", needs_approval=False),
        denial("/run/docker.sock", kind="unix"),
        denial("nonsense"),
    ],
)
def test_everything_else_is_asked_at_the_terminal(about: Denial) -> None:
    people = People()
    assert ask(people, about) is Answer.KILL
    assert people.requests == []


def test_where_the_policy_asks_nobody_the_terminal_is_asked() -> None:
    assert ask(People(says=None), denial()) is Answer.KILL


def test_people_decide_on_a_name_and_then_on_each_port_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    people, moment = People(), [0.0]
    asking = AskPeople(people, Principal("agent"), "run-1", clock=lambda: moment[0])
    name, web = denial("dns api.example.com", kind="name"), denial("tcp api.example.com:443")
    assert asking(name) is Answer.LOOKUP
    assert "wants dns api.example.com, for port 443: decide on approval ap-1" in capsys.readouterr().err
    first = people.requests[0]
    assert (first.resource, dict(first.params)) == (
        "host:api.example.com:443",
        {"host": "api.example.com", "port": 443, "protocol": "tcp"},
    )
    # What was approved is the connection that follows, once.
    assert asking(web) is Answer.ONCE
    assert people.waited == ["ap-1"]
    assert asking(web) is Answer.ONCE
    assert asking(denial("tcp api.example.com:8443")) is Answer.ONCE
    assert people.waited == ["ap-1"] * 3
    assert people.requests[-1].resource == "host:api.example.com:8443"
    assert asking(name) is Answer.LOOKUP
    moment[0] += 3600
    assert asking(web) is Answer.ONCE
    assert people.waited == ["ap-1"] * 5


def test_name_that_people_do_not_allow_stays_shut(capsys: pytest.CaptureFixture[str]) -> None:
    people = People(says=ApprovalState.DENIED)
    assert ask(people, denial("dns api.example.com", kind="name")) is Answer.DENY
    # One question, though the name has more ports.
    assert people.waited == ["ap-1"]
    assert "approval ap-1 was not given" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["dns evil.example.com", "tcp evil.example.com:443"])
def test_what_a_rule_forbids_is_asked_nowhere(target: str) -> None:
    @dataclass
    class Forbidding(People):
        def decide(self, request: Request, *, trace: bool = False) -> Decision:
            del trace
            return decided(request, effect=Effect.DENY, rule="no-evil")

    kind = "name" if target.startswith("dns") else "connect"
    assert ask(Forbidding(), denial(target, kind=kind)) is Answer.DENY


@dataclass
class Slow(People):
    """People who say it when `said` is set, if ever."""

    said: threading.Event = field(default_factory=threading.Event)

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        assert self.said.wait(10)
        return super().wait_approval(approval_id, principal=principal, timeout_s=timeout_s)


class Terminal:
    """A terminal, and a person at its other end."""

    def __init__(self) -> None:
        self.person, self._agents = pty.openpty()
        self.path = os.ttyname(self._agents)

    def close(self) -> None:
        os.close(self.person)
        os.close(self._agents)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.undo()
    made = Terminal()
    yield made
    made.close()


NAME = denial("dns api.example.com", kind="name", rule="", needs_approval=True)


def test_first_word_counts_where_no_rule_is_about_the_name(desk: Terminal) -> None:
    people = Slow()
    asking = AskPeople(people, Principal("agent"), "run-1", terminal=desk.path)
    os.write(desk.person, b"r\n")
    assert asking(NAME) is Answer.RUN
    # What people say later lets nothing through, and that is on record.
    people.said.set()
    wait_for(lambda: people.outcomes)
    assert [each.status for each in people.outcomes] == ["refused"]


def test_people_s_word_ends_the_question_at_the_terminal(desk: Terminal) -> None:
    people = Slow()
    asking = AskPeople(people, Principal("agent"), "run-1", terminal=desk.path)
    timer = threading.Timer(0.2, people.said.set)
    timer.start()
    assert asking(NAME) is Answer.LOOKUP
    assert b"the agent is frozen: it wants dns api.example.com" in os.read(desk.person, 1000)
    timer.join()


def test_terminal_has_no_say_where_a_rule_wants_people(desk: Terminal) -> None:
    people = Slow(says=ApprovalState.DENIED)
    os.write(desk.person, b"r\n")
    people.said.set()
    about = denial("dns api.example.com", kind="name")
    assert AskPeople(people, Principal("agent"), "run-1", terminal=desk.path)(about) is Answer.DENY


def test_without_terminal_and_people_it_stays_denied(desk: Terminal) -> None:
    del desk
    people = People(says=None)
    assert AskPeople(people, Principal("agent"), "run-1", terminal="/dev/null")(NAME) is Answer.DENY


def test_run_that_is_over_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.enforcement._hold._SHORT_SLICE_S", 0.01)

    class Nobody(People):
        def wait_approval(
            self, approval_id: str, *, principal: Principal, timeout_s: float
        ) -> ApprovalStatus:
            time.sleep(timeout_s)
            return super().wait_approval(approval_id, principal=principal, timeout_s=timeout_s)

    asking = AskPeople(Nobody(says=ApprovalState.PENDING), Principal("agent"), "run-1")
    answers: list[Answer] = []
    asker = threading.Thread(target=lambda: answers.append(asking(denial())))
    asker.start()
    asking.close()
    asker.join(10)
    assert answers == [Answer.DENY]
    assert asking(denial()) is Answer.DENY
