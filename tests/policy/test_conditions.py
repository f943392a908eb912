from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Action, Context, Principal, Resource, Risk
from agentguard.policy import Facts, When
from agentguard.policy._conditions import compile_when, expiry, pointer
from property import oracle

FACTS = Facts(
    Principal("p"),
    Action("a", 1, "", Risk.LOW),
    Resource("r", "r"),
    {},
    Context(),
    datetime(2026, 1, 5, tzinfo=UTC),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "a", "ab"])
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=1), st.dictionaries(st.just("x"), SCALARS, max_size=1))
CONDITIONS = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.fixed_dictionaries({"min": st.integers(-3, 3)}, optional={"max": st.integers(-3, 3)}),
    st.fixed_dictionaries({"equals": SCALARS}),
    st.fixed_dictionaries(
        {"in": st.lists(SCALARS, min_size=1, max_size=3)}, optional={"present": st.just(True)}
    ),
    st.fixed_dictionaries(
        {"pattern": st.sampled_from(["a.*", "b", "", "[^a]+"])}, optional={"search": st.booleans()}
    ),
    st.fixed_dictionaries({"present": st.booleans()}),
)


@given(condition=CONDITIONS, params=st.dictionaries(st.just("n"), VALUES), unknown=st.booleans())
def test_condition_agrees_with_the_oracle(condition: Any, params: dict[str, Any], unknown: bool) -> None:  # noqa: FBT001
    when = msgspec.convert({"params": {"n": condition}}, When)
    (predicate,) = compile_when(when, unknown=unknown)
    facts = msgspec.structs.replace(FACTS, params=params)
    assert predicate.test(facts) is oracle.param_holds(when.params["n"], "n", params, strict=unknown)


@given(
    start=st.integers(0, 1439),
    end=st.integers(0, 1440),
    days=st.sets(st.sampled_from(oracle.WEEK), min_size=1),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
    minute=st.integers(0, 60 * 24 * 366),
)
def test_window_agrees_with_the_oracle(start: int, end: int, days: set[str], zone: str, minute: int) -> None:
    if start == end:
        return
    between = [f"{each // 60:02}:{each % 60:02}" for each in (start, end)]
    when = msgspec.convert({"time": {"days": sorted(days), "between": between, "tz": zone}}, When)
    (predicate,) = compile_when(when, unknown=False)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    assert when.time is not None
    assert predicate.test(msgspec.structs.replace(FACTS, now=now)) is oracle.in_window(when.time, now)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ({"min": 1}, "n in 1.."),
        ({"max": 2.5}, "n in ..2.5"),
        ({"present": True, "pattern": "a"}, "n present and matches `a`"),
        ({"pattern": "a", "search": True}, "n contains `a`"),
        ({"present": False}, "n absent"),
        ({"in": [1, "a"]}, "n in [1, 'a']"),
        (None, "n is None"),
    ],
)
def test_condition_says_in_words_what_it_asks(condition: Any, text: str) -> None:
    (predicate,) = compile_when(msgspec.convert({"params": {"n": condition}}, When), unknown=False)
    assert (predicate.name, predicate.text) == ("params.n", text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T10:00:00Z", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        ("2027-01-31T10:00:00+02:00", datetime(2027, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_expiry_is_a_moment_in_utc(text: str, moment: datetime) -> None:
    assert expiry(text) == moment


def test_pointer_escapes_are_read_in_the_order_of_the_rfc() -> None:
    assert pointer("/a~01/b~1c") == ("a~1", "b/c")
    assert pointer("a/b") == ("a/b",)
