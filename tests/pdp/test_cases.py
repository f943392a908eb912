from __future__ import annotations

from pathlib import Path

import pytest

from agentguard.documents import read
from agentguard.pdp import CaseResult, run_cases

FOLDER = Path(__file__).parent.parent / "cases"
RESULTS = [
    pytest.param(result, id=f"{path.stem}: {result.name}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for result in run_cases(read(path, name=path.name))
]


@pytest.mark.parametrize("result", RESULTS)
def test_case_gets_the_decision_that_it_must_get(result: CaseResult) -> None:
    assert result.problems == ()


def test_there_are_enough_cases() -> None:
    assert len(RESULTS) >= 150
