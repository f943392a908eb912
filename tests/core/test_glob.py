"""Globs: `*` stays within a segment, `**` crosses."""

from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Glob

MATCHES = [
    ("prod/api", "prod/api", True),
    ("prod/api", "prod/API", False),
    ("prod/api", "prod/api/x", False),
    ("prod/*", "prod/api", True),
    ("prod/*", "prod/", True),
    ("prod/*", "prod/api/x", False),
    ("prod/**", "prod/api/x", True),
    ("prod/**", "prod", False),
    ("**", "", True),
    ("**", "a/b", True),
    ("*", "a/b", False),
    ("*", "", True),
    ("", "", True),
    ("", "a", False),
    ("***", "a/b", True),
    ("a*b*c", "a-b-b-c", True),
    ("a*b*c", "a-b/b-c", False),
    ("a**c", "a/b/c", True),
    ("*/api", "prod/api", True),
    ("**/api", "eu/prod/api", True),
    ("**/api", "api", False),
    ("deploy-*", "deploy-agent", True),
    ("a.c", "abc", False),
    ("a?c", "abc", False),
    ("[ab]", "a", False),
    ("a\n*", "a\nb", True),
    ("*x", "xxx", True),
    ("a/*/c", "a//c", True),
]


@pytest.mark.parametrize(("pattern", "text", "matches"), MATCHES)
def test_glob_matches_whole_texts(pattern: str, text: str, *, matches: bool) -> None:
    assert Glob(pattern).matches(text) is matches


def test_attributes_say_what_is_literal() -> None:
    assert Glob("prod/api").is_literal
    assert not Glob("prod/*/x").is_literal
    assert Glob("prod/*/x").prefix == "prod/"
    assert Glob("prod/*").text == "prod/*"
    assert repr(Glob("a*")) == "Glob('a*')"


def oracle(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+)", pattern)
    stars = {0: "", 1: "[^/]*"}
    return re.compile(
        "".join(
            stars.get(len(part), ".*") if index % 2 else re.escape(part) for index, part in enumerate(parts)
        ),
        re.DOTALL,
    )


patterns = st.text("ab/*", max_size=8)


@given(patterns, st.text("ab/*", max_size=10))
def test_glob_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) is (oracle(pattern).fullmatch(text) is not None)


@given(patterns, st.lists(st.text("ab/", max_size=3), min_size=9, max_size=9))
def test_glob_agrees_on_texts_made_from_the_pattern(pattern: str, fillings: list[str]) -> None:
    pieces = iter(fillings)
    text = re.sub(r"\*", lambda _: next(pieces), pattern)
    assert Glob(pattern).matches(text) is (oracle(pattern).fullmatch(text) is not None)


@given(st.text(max_size=20).filter(lambda text: "*" not in text), st.text(max_size=20))
def test_text_without_stars_matches_itself_alone(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(pattern)
    assert Glob(pattern).matches(text) is (pattern == text)


LONGEST = 5
TEXTS = [
    "".join(chars) for length in range(LONGEST + 1) for chars in itertools.product("abx/", repeat=length)
]


@given(st.text("ab/*", max_size=5), st.text("ab/*", max_size=5))
def test_overlap_is_a_text_that_both_match_or_there_is_none(left: str, right: str) -> None:
    one, two = Glob(left), Glob(right)
    witness = one.overlap(two)
    if witness is not None:
        assert one.matches(witness)
        assert two.matches(witness)
    shared = next((text for text in TEXTS if one.matches(text) and two.matches(text)), None)
    if witness is None or len(witness) > LONGEST:
        assert shared is None
    else:
        assert shared is not None
        assert len(witness) == len(shared)


@given(st.text("ab/*", max_size=6), st.text("ab/*", max_size=6))
def test_overlap_does_not_depend_on_the_order(left: str, right: str) -> None:
    assert (Glob(left).overlap(Glob(right)) is None) is (Glob(right).overlap(Glob(left)) is None)


def test_hostile_pattern_and_text_cost_their_product_at_most() -> None:
    started = time.perf_counter()
    assert not Glob("*a" * 200 + "b").matches("a" * 2000)
    # A matcher that backtracks would need longer than the universe has had.
    assert time.perf_counter() - started < 5
