from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from agentguard.core import Glob
from agentguard.gateway import Upstream
from agentguard.gateway._door import find_door
from agentguard.gateway._health import FAILURES, OPEN_S, Health

CHAT = find_door("POST", "/openai/v1/chat/completions")


@dataclass
class HandClock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def upstream(name: str, *, order: int = 1, weight: int = 1, models: str = "**") -> Upstream:
    return Upstream(name, "openai", "https://h", "k", (Glob(models),), "openai", order, weight)


def health(*upstreams: Upstream) -> tuple[Health, HandClock]:
    clock = HandClock()
    return Health(upstreams, clock=clock, choose=random.Random(7)), clock


def names(made: Health, model: str = "gpt-5.4") -> list[str]:
    return [each.name for each in made.candidates(made.known(CHAT, model))]


def test_lower_order_comes_first_and_weights_share_among_equals() -> None:
    made, _ = health(upstream("a", weight=9), upstream("b"), upstream("c", order=2))
    first = Counter(names(made)[0] for _ in range(2_000))
    assert 1_700 < first["a"] < 1_900
    assert first["c"] == 0
    assert {names(made)[2] for _ in range(50)} == {"c"}


def test_only_who_serves_the_model_is_asked() -> None:
    made, _ = health(upstream("a", models="gpt-*"), upstream("b", models="o*"))
    assert (names(made), names(made, "o3"), names(made, "x")) == (["a"], ["b"], [])


def test_upstream_that_fails_repeatedly_is_left_alone_then_tried_by_one_call() -> None:
    made, clock = health(upstream("a"), upstream("b", order=2))
    for _ in range(FAILURES):
        assert names(made) == ["a", "b"]
        made.failed("a")
    assert names(made) == ["b"]
    clock.now += OPEN_S
    assert names(made) == ["a", "b"]
    made.begins("a")
    assert names(made) == ["b"]
    made.succeeded("a")
    assert names(made) == ["a", "b"]


def test_failures_count_only_in_a_row() -> None:
    made, _ = health(upstream("a"))
    for _ in range(FAILURES * 3):
        made.failed("a")
        made.succeeded("a")
    assert names(made) == ["a"]
