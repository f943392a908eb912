"""Who is asked about an attempt of a frozen agent: the project's people where a rule wants them, else the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli._approve import AskPeople
from agentguard.core import ApprovalState, ApprovalStatus, Effect, Principal
from agentguard.kernel.egress import Answer, Denial
from approval_scene import START
from scripted_decider import ScriptedDecider, decided

if TYPE_CHECKING:
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


def ask(people: People, about: Denial) -> Answer:
    return AskPeople(people, Principal("agent"), "run-1", otherwise=lambda _: Answer.KILL)(about)


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
        denial("tcp api.example.com:443"),
        denial("tcp 198.51.100.7:443", needs_approval=False, rule=""),
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
