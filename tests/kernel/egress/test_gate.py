"""What a person's word about a name lets through: of which port, and for how long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentguard.kernel._rules import DomainRule
from agentguard.kernel.egress._approval import ONCE_S, Answer, Approvals
from agentguard.kernel.egress._gate import Gate

if TYPE_CHECKING:
    from agentguard.kernel.egress._denial import Denial


class Freezer:
    def freeze(self, seconds: float = 0) -> None:
        del seconds

    def thaw(self) -> None:
        pass

    def kill(self) -> None:
        pass


class Desk:
    """A gate with nothing allowed, and who answers as `answers` say; everything else is denied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]) -> None:
        self.asked: list[str] = []
        self.denied: list[str] = []
        self.now = 1000.0
        self.answers = answers
        monkeypatch.setattr("agentguard.kernel.egress._gate.time.monotonic", lambda: self.now)
        self.gate = Gate((), (), on_denial=lambda each: self.denied.append(each.target))
        self.gate.ask_with(Approvals(Freezer(), self.ask, clock=lambda: self.now))

    def ask(self, denial: Denial) -> Answer:
        assert denial.needs_approval
        self.asked.append(denial.target)
        return self.answers.get(denial.target, Answer.DENY)

    def looks_up(self, name: str) -> bool:
        return asyncio.run(self.gate.allows_name(name))

    def reaches(self, name: str, port: int) -> bool:
        return asyncio.run(self.gate.allows_host(name, port))


def test_name_that_may_be_looked_up_is_asked_about_for_each_port(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, {"dns a.example": Answer.LOOKUP, "tcp a.example:443": Answer.ONCE})
    assert desk.looks_up("a.example")
    assert desk.reaches("a.example", 443)
    assert not desk.reaches("a.example", 22)
    assert desk.asked == ["dns a.example", "tcp a.example:443", "tcp a.example:22"]
    assert desk.denied == ["tcp a.example:22"]
    desk.now += ONCE_S
    assert desk.looks_up("a.example")
    assert desk.asked[-1] == "dns a.example"


@pytest.mark.parametrize("answer", [Answer.ONCE, Answer.RUN])
def test_word_about_one_port_is_none_about_another(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    desk = Desk(monkeypatch, {"tcp a.example:443": answer})
    assert desk.reaches("a.example", 443)
    assert desk.looks_up("a.example")
    assert not desk.reaches("a.example", 8443)
    assert not desk.reaches("b.example", 443)


@pytest.mark.parametrize(("answer", "later"), [(Answer.ONCE, "shut"), (Answer.RUN, "open")])
def test_word_about_a_name_is_about_all_its_ports_for_its_time(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, later: str
) -> None:
    desk = Desk(monkeypatch, {"dns a.example": answer})
    assert desk.looks_up("a.example")
    assert desk.reaches("a.example", 8443)
    assert desk.asked == ["dns a.example"]
    desk.now += ONCE_S
    desk.answers.clear()
    assert desk.reaches("a.example", 8443) is (later == "open")


def test_rule_against_a_name_is_named_and_only_one_that_asks_is_asked_about() -> None:
    asked: list[Denial] = []
    denied: list[Denial] = []

    def ask(denial: Denial) -> Answer:
        asked.append(denial)
        return Answer.DENY

    gate = Gate(
        (),
        (),
        shut=(
            DomainRule("*.Shut.example", (), "no-shut", "deny"),
            DomainRule("*", (), "ask-first", "require_approval"),
            DomainRule("b.example", (22,), "no-port", "deny"),
        ),
        on_denial=denied.append,
    )
    gate.ask_with(Approvals(Freezer(), ask))
    for name in ("a.shut.example", "b.example"):
        assert asyncio.run(gate.allows_name(name)) is False
    assert asyncio.run(gate.allows_host("b.example", 22)) is False
    assert [(each.target, each.rule) for each in asked] == [("dns b.example", "ask-first")]
    assert [(each.rule, each.reason, each.allow) for each in denied] == [
        ("no-shut", "rule `no-shut` denies this name", ""),
        ("ask-first", "rule `ask-first` asks for an approval", ""),
        ("no-port", "rule `no-port` denies this name", ""),
    ]
