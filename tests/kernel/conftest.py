from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.kernel import Observer
from kernel_lab import SMALL, Lab, lab, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _needs_the_kernel(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("kernel") and (missing := why_not()):
        pytest.skip(missing)


@pytest.fixture(scope="module")
def observer() -> Iterator[Observer]:
    if missing := why_not():
        pytest.skip(missing)
    with Observer(SMALL) as made:
        yield made


@pytest.fixture
def watched(observer: Observer) -> Iterator[Lab]:
    with lab(observer) as made:
        yield made
