from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentguard.core import ConfigError, Effect
from agentguard.policy import Rule, compile_policies, compile_rule, parse_policies

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id": "Upper"}, "an id is lower case"),
    ({"id": ""}, "an id is lower case"),
    ({"id": "a" * 101}, "an id is lower case"),
    ({"principals": []}, "`principals` is empty"),
    ({"actions": []}, "`actions` is empty"),
    ({"resources": []}, "`resources` is empty"),
    ({"effect": "transform"}, "`transform` is for the effect `transform`"),
    ({"transform": [{"op": "drop", "path": "/a"}]}, "`transform` is for the effect `transform`"),
    ({"effect": "allow", "tier": "mandatory"}, "a mandatory rule cannot allow"),
    ({"tier": "mandatory", "expires": "2027-01-01"}, "a mandatory rule never expires"),
    ({"obligations": [{"a": 1, "b": 2}]}, "an obligation is one key"),
    ({"obligations": [{}]}, "an obligation is one key"),
    ({"unless": {}}, "`unless` is empty"),
    ({"principals": [""]}, "a principal's id is empty"),
    ({"principals": [{}]}, "a selector of principals is empty"),
    ({"principals": [{"role": []}]}, "a selector of principals is empty"),
    ({"principals": [{"role": ""}]}, "a selector of principals is empty"),
    ({"resources": [{}]}, "a selector of resources is empty"),
    ({"resources": [{"environment": ""}]}, "a selector of resources is empty"),
    ({"resources": [{"labels": {"a": []}}]}, "a selector of resources is empty"),
    ({"resources": ["prod/../x"]}, "`prod/../x`: resource id"),
    ({"actions": ["Scale"]}, "`Scale` is no name of an action"),
    ({"actions": ["scale me*"]}, "`scale me*` is no name of an action"),
    ({"actions": ["scale-*@1"]}, "is a glob with a version"),
    ({"unless": {"actions": ["A"]}}, "`A` is no name of an action"),
    ({"when": {"action_risk": {}}}, "action_risk needs"),
    ({"when": {"action_risk": {"min": "high", "max": "low"}}}, "action_risk needs"),
    ({"when": {"params": {"a": {}}}}, "condition on parameter `a` says nothing"),
    ({"when": {"params": {"a": {"search": True}}}}, "`search` goes with `pattern`"),
    ({"when": {"params": {"a": {"present": False, "min": 1}}}}, "contradicts itself"),
    ({"when": {"params": {"a": {"pattern": "(?=x)"}}}}, "pattern `(?=x)` cannot be used"),
    ({"when": {"params": {"a": {"pattern": "(x)\\1"}}}}, "cannot be used"),
    ({"when": {"params": {"a": {"pattern": "x" * 5000}}}}, "longer than 4096"),
    ({"when": {"params": {"/a~2": 1}}}, "path `/a~2` is no JSON pointer"),
    ({"when": {"time": {}}}, "a time window needs"),
    ({"when": {"time": {"days": []}}}, "days are mon"),
    ({"when": {"time": {"days": ["Mon"]}}}, "not `Mon`"),
    ({"when": {"time": {"days": ["mon"], "tz": "Mars/Base"}}}, "unknown time zone `Mars/Base`"),
    ({"when": {"time": {"between": ["09:00", "09:00"]}}}, "a time window is empty"),
    ({"when": {"time": {"between": ["24:00", "09:00"]}}}, "a time window is empty"),
    ({"when": {"time": {"between": ["9:00", "10:00"]}}}, "`9:00` is no time of day"),
    ({"when": {"time": {"between": ["09:00", "24:01"]}}}, "`24:01` is no time of day"),
    ({"expires": "soon"}, "`soon` is no date"),
    ({"expires": "2027-01-01T10:00:00"}, "has no time zone"),
    ({"expires": "0001-01-01T00:00:00+23:00"}, "is beyond the calendar"),
]
OPERATIONS: list[tuple[dict[str, Any], str]] = [
    ({"op": "explode", "path": "/a"}, "unknown operation `explode`"),
    ({"op": "set", "path": "/a"}, "operation `set` takes"),
    ({"op": "set", "path": "/a", "value": 1, "max": 2}, "operation `set` takes"),
    ({"op": "clamp", "path": "/a"}, "operation `clamp` takes"),
    ({"op": "clamp", "path": "/a", "min": 5, "max": 1}, "clamp has its `min` above"),
    ({"op": "drop"}, "operation `drop` takes"),
    ({"op": "drop", "path": "a"}, "path `a` is no JSON pointer"),
    ({"op": "drop", "path": "/"}, "path `/` is no JSON pointer"),
    ({"op": "drop", "path": "/~x"}, "is no JSON pointer"),
    ({"op": "keep", "path": "/a"}, "operation `keep` takes"),
    ({"op": "replace", "path": "/a", "pattern": "(", "with": ""}, "cannot be used"),
    ({"op": "read_only", "path": "/a"}, "operation `read_only` takes nothing"),
]


def refusal(rule: dict[str, Any]) -> str:
    rule = {"id": "r", "effect": "deny", **rule}
    text = '{"version": 1,\n "rules": [\n' + msgspec.json.encode(rule).decode() + "]}"
    with pytest.raises(ConfigError) as caught:
        parse_policies(text, file="rules.json")
    location = caught.value.location
    assert location is not None
    assert (location.file, location.line) == ("rules.json", 3)
    return caught.value.message


@pytest.mark.parametrize(("rule", "message"), REFUSED, ids=lambda each: str(each)[:60])
def test_rule_that_cannot_be_meant_is_refused_with_its_place(rule: dict[str, Any], message: str) -> None:
    assert message in refusal(rule)


@pytest.mark.parametrize(("operation", "message"), OPERATIONS, ids=lambda each: str(each)[:60])
def test_operation_that_cannot_be_meant_is_refused(operation: dict[str, Any], message: str) -> None:
    assert message in refusal({"effect": "transform", "transform": [operation]})


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["when", "transform"])
def test_bound_that_bounds_nothing_is_refused(where: str, bound: float) -> None:
    written: dict[str, Any] = {"id": "r", "effect": "transform", "transform": [{"op": "drop", "path": "/a"}]}
    if where == "when":
        written["when"] = {"params": {"n": {"max": bound}}}
    else:
        written["transform"] = [{"op": "clamp", "path": "/n", "max": bound}]
    with pytest.raises(ConfigError, match="not a finite number"):
        compile_rule(msgspec.convert(written, Rule))


def test_value_that_json_cannot_carry_is_not_set() -> None:
    written = {"id": "r", "effect": "transform", "transform": [{"op": "set", "path": "/a", "value": {1, 2}}]}
    with pytest.raises(ConfigError, match="that JSON can carry"):
        compile_rule(msgspec.convert(written, Rule))


def test_pattern_with_half_a_surrogate_pair_is_refused() -> None:
    rule = msgspec.convert(
        {"id": "r", "effect": "deny", "when": {"params": {"a": {"pattern": "\ud800"}}}}, Rule
    )
    with pytest.raises(ConfigError, match="surrogate"):
        compile_rule(rule)


def test_duplicate_ids_in_code_say_no_place() -> None:
    with pytest.raises(ConfigError) as caught:
        compile_policies([Rule("a", Effect.DENY), Rule("a", Effect.ALLOW)])
    assert str(caught.value) == "duplicate rule id `a`; give one of them another id"


def test_compiled_rule_says_what_it_is() -> None:
    compiled = compile_rule(Rule("a", Effect.DENY))
    assert (compiled.id, compiled.effect, compiled.reason) == ("a", Effect.DENY, "rule a")
