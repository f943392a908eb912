"""The steps of an approval as the pages word them."""

from __future__ import annotations

from typing import Any

import pytest

from agentguard.console import view_of
from agentguard.core import Step, StepKind
from approval_scene import START, draft


@pytest.mark.parametrize(
    ("kind", "details", "what"),
    [
        (StepKind.ESCALATED, {"people": ["eli"], "groups": ["leads"]}, "escalated to eli, group leads"),
        (StepKind.ESCALATED, {}, "escalated"),
        (StepKind.DELEGATED, {"to": "eli"}, "vote given away to eli"),
        (StepKind.DEFERRED, {"for_s": 90.0}, "deferred for 1.5 min"),
        (StepKind.REVIEWED, {"justified": True}, "reviewed: justified"),
        (StepKind.REVIEWED, {"justified": False}, "reviewed: not justified"),
        (StepKind.FINISHED, {"outcome": "failed"}, "finished: failed"),
        (StepKind.VOTED, {"approves": False}, "voted against it"),
    ],
)
def test_a_step_says_to_whom_how_long_and_with_which_word(
    kind: StepKind, details: dict[str, Any], what: str
) -> None:
    approval = draft(steps=(Step(kind, START, "dana", details=details),))
    assert view_of(approval).steps[0].what == what
