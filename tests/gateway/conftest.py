from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import gateway_world
from llm_upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_world import GatewayWorld


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh(upstream: Upstream) -> None:
    upstream.calls.clear()
    upstream._script.clear()


@pytest.fixture
def world(tmp_path: Path, upstream: Upstream) -> Iterator[GatewayWorld]:
    with gateway_world.running(tmp_path, upstream) as running:
        yield running
