from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agentguard.core import Action, Context, Principal, Resource, Risk, Sensitivity
from agentguard.policy import Facts, Rule, compile_policies, near_misses, parse_policies

FACTS = Facts(
    Principal("ann"),
    Action("probe", 1, "", Risk.LOW),
    Resource("prod/api", "d", "prod", Sensitivity.PUBLIC, listed=True),
    {"n": 1},
    Context(),
    datetime(2026, 1, 5, 12, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("written", "predicate"),
    [
        (
            {"principals": ["bob", {"role": "x"}], "resources": ["a"]},
            "principals: principal bob or principal role=x",
        ),
        (
            {"resources": [{"environment": "dev"}], "when": {"params": {"n": 2}}},
            "resources: resource environment=dev",
        ),
        ({"expires": "2026-01-01", "when": {"params": {"n": 2}}}, "expired on 2026-01-01 00:00 UTC"),
        ({"when": {"action_risk": {"min": "high"}, "params": {"n": 2}}}, "when: action risk in high.."),
        ({"when": {"params": {"n": 1, "m": 2}, "context": {"ticket": "present"}}}, "when: m is 2"),
        ({"when": {"context": {"ticket": "present"}}}, "when: context ticket present"),
        ({"when": {"time": {"days": ["tue"]}}}, "when: time in tue UTC"),
        ({"unless": {"principals": ["ann"], "params": {"n": 1}}}, "unless: principal ann and n is 1"),
    ],
)
def test_near_miss_names_the_first_predicate_that_failed(written: dict[str, Any], predicate: str) -> None:
    rule = msgspec.convert({"id": "r", "effect": "allow", **written}, Rule)
    (miss,) = near_misses(compile_policies([rule]), FACTS)
    assert miss.predicate == predicate


def test_closest_rules_come_first_and_others_are_left_out() -> None:
    written: list[dict[str, Any]] = [
        {"id": "far", "principals": ["bob"]},
        {"id": "near", "when": {"params": {"n": 2}}},
        {"id": "nearest", "unless": {"params": {"n": 1}}},
        {"id": "applies"},
        {"id": "of-another-action", "actions": ["file.*"], "principals": ["bob"]},
    ]
    policies = compile_policies(
        msgspec.convert([{"effect": "allow", **each} for each in written], list[Rule])
    )
    assert [miss.rule for miss in near_misses(policies, FACTS)] == ["nearest", "near", "far"]
    assert len(near_misses(policies, FACTS, limit=1)) == 1


def test_sequences_and_limits_say_when_they_stop_where_they_were_reached() -> None:
    policies = parse_policies(
        "version: 1\n"
        "sequences:\n"
        "  - {id: s1, effect: deny, after: {actions: [open], when: {params: {n: 2}}}, then: {actions: [probe]},"
        " unless: {actions: [close]}, within: 10m}\n"
        "  - {id: s2, effect: deny, requires: {actions: [open]}, then: {actions: [probe]}}\n"
        "  - {id: other, effect: deny, requires: {actions: [open]}, then: {actions: [close]}}\n"
        "limits: [{id: l1, effect: require_approval, of: {actions: [probe]}, count: 5, per: 1h}]\n"
    )
    assert near_misses(policies, FACTS) == ()
    assert {miss.rule: miss.predicate for miss in near_misses(policies, FACTS, history=True)} == {
        "s1": "sequence: only after open with n is 2 within 10m, unless close came between",
        "s2": "sequence: without open",
        "l1": "limit: only above 5 times in 1h",
    }
