from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.clients import EnforcementPoint
from llm_clients import World
from llm_upstream import Upstream
from scripted_decider import ScriptedDecider

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def served() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def world(served: Upstream) -> Iterator[World]:
    """Yield a provider that has heard nothing yet, and a decider that allows everything."""
    served.reset()
    decider = ScriptedDecider()
    made = World(served, decider, EnforcementPoint(decider, principal="helper"))
    yield made
    made.close()
