from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel._rules import DomainRule, NetRule
from agentguard.kernel.egress import _approval
from agentguard.kernel.egress._approval import ONCE_S, Answer, Approvals
from agentguard.kernel.egress._denial import Denial, Teller, allow_path, rule_that_allows
from agentguard.kernel.egress._freezer import Freezer
from egress_lab import cgroup, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


class Held:
    """Notes what was done to the agent; the real one is in the tests that have a cgroup."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def freeze(self, seconds: float = 0) -> None:  # noqa: ARG002 - as the real one has it
        self.said.append("freeze")

    def thaw(self) -> None:
        self.said.append("thaw")

    def kill(self) -> None:
        self.said.append("kill")


def denial(target: str = "tcp 1.2.3.4:80") -> Denial:
    return Denial("connect", target, "why", pid=7, program="python")


def answering(answer: Answer) -> Callable[[Denial], Answer]:
    return lambda _: answer


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (Answer.DENY, "thaw"),
        (Answer.RUN, "thaw"),
        (Answer.ONCE, "thaw"),
        (Answer.LOOKUP, "thaw"),
        (Answer.KILL, "kill"),
    ],
)
def test_agent_is_frozen_for_the_question_and_then_thawed_or_killed(answer: Answer, then: str) -> None:
    held = Held()
    approvals = Approvals(held, answering(answer))
    assert approvals.decide(denial()) is answer
    assert held.said == ["freeze", then]
    # The same is asked once a run, and a killed agent is asked nothing more.
    assert approvals.decide(denial()) is answer
    assert len(held.said) == 2
    assert (approvals.decide(denial("tcp 5.6.7.8:80")) is Answer.KILL) == (answer is Answer.KILL)


def test_once_holds_for_a_while_and_then_is_asked_again() -> None:
    now = [0.0]
    held = Held()
    approvals = Approvals(held, answering(Answer.ONCE), clock=lambda: now[0])
    approvals.decide(denial())
    now[0] = ONCE_S - 1
    approvals.decide(denial())
    assert len(held.said) == 2
    now[0] = ONCE_S + 1
    approvals.decide(denial())
    assert len(held.said) == 4


def test_who_asks_and_fails_has_denied() -> None:
    held = Held()

    def broken(_: Denial) -> Answer:
        raise RuntimeError("no terminal")

    assert Approvals(held, broken).decide(denial()) is Answer.DENY
    assert held.said == ["freeze", "thaw"]


def test_nobody_is_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_approval, "_MOST_QUESTIONS", 2)
    held = Held()
    approvals = Approvals(held, answering(Answer.RUN))
    answers = [approvals.decide(denial(f"tcp 1.2.3.{number}:80")) for number in range(4)]
    assert answers == [Answer.RUN, Answer.RUN, Answer.DENY, Answer.DENY]


@pytest.mark.kernel
def test_frozen_process_does_nothing_and_goes_on_when_thawed() -> None:
    with cgroup() as group, subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) as busy:
        group.add(busy.pid)
        freezer = Freezer(group)
        freezer.freeze()
        assert freezer.is_frozen()

        def ticks() -> int:
            return int(Path(f"/proc/{busy.pid}/stat").read_text().split()[13])

        before = ticks()
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            assert ticks() == before
        freezer.thaw()
        wait_until(lambda: ticks() > before)
        freezer.freeze()
        freezer.kill()
        assert busy.wait(5) == -9


@pytest.mark.kernel
def test_cgroup_that_is_gone_cannot_be_frozen() -> None:
    with cgroup() as group:
        freezer = Freezer(group)
    with pytest.raises(KernelError) as caught:
        freezer.freeze()
    assert caught.value.code == "freeze_failed"


def test_flood_of_one_denial_is_told_once_a_second() -> None:
    now = [0.0]
    told: list[Denial] = []
    teller = Teller(told.append, clock=lambda: now[0])
    for _ in range(100):
        teller.note(denial())
    teller.note(denial("tcp 5.6.7.8:80"))
    now[0] = 1.5
    teller.note(denial())
    assert (len(told), teller.count) == (3, 102)
    for number in range(3000):
        teller.note(denial(f"tcp 9.9.9.9:{number}"))
    assert len(teller._last) <= 1024


@pytest.mark.parametrize(
    ("denied", "rule"),
    [
        (Denial("connect", "tcp 1.2.3.4:80", ""), NetRule("1.2.3.4/32", (80,), "allow", "approved")),
        (Denial("send", "udp [2001:db8::1]:53", ""), NetRule("2001:db8::1/128", (53,), "allow", "approved")),
        (Denial("connect", "tcp a.example:443", ""), DomainRule("a.example", (443,), "approved")),
        (Denial("name", "dns a.example", ""), DomainRule("a.example", (), "approved")),
        (Denial("socket", "raw socket (icmp)", ""), None),
    ],
)
def test_what_was_denied_names_the_rule_that_would_allow_it(denied: Denial, rule: object) -> None:
    assert rule_that_allows(denied) == rule


@pytest.mark.parametrize("path", ["@abstract", "", '/run/"x"', "/run/\n", "/run/\\"])
def test_socket_that_no_rule_can_name_has_no_line(path: str) -> None:
    assert allow_path(path) == ""


def test_sentence_says_who_what_why_and_what_to_write() -> None:
    said = Denial(
        "connect", "tcp a.example:443", "no rule allows this name", allow="--allow-domain a.example", pid=7
    ).sentence()
    assert (
        said
        == "denied: tcp a.example:443 (process 7): no rule allows this name; to allow it: --allow-domain a.example"
    )
