from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import re2

from agentguard.policy import ParamCondition
from agentguard.policy._sample import sample_condition, sample_params, sample_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "abc",
        "a+",
        "a{3}",
        "[a-z]+",
        "[^a]x",
        "[^/]*",
        "(a|b)c",
        "^reg/.*$",
        r"\d+\.\w",
        r"\s",
        "a?",
        ".",
        "[0-9]{2,4}",
        r"[\d]",
        r"[^\d]",
        r"[^\s]",
        r"[^\w]",
        "[^a-z]",
        "(?:x)(y)",
    ],
)
def test_sample_of_a_pattern_matches_it(pattern: str) -> None:
    sample = sample_pattern(pattern)
    assert sample is not None
    assert re2.fullmatch(pattern, sample) is not None


@pytest.mark.parametrize("pattern", ["(", r"\pN", r"\C", "(?P<n>a)(?P=n)"])
def test_pattern_that_is_too_hard_has_no_sample(pattern: str) -> None:
    assert sample_pattern(pattern) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"n": {"type": "integer", "minimum": 3, "maximum": 9}}, "required": ["n"]},
        {"properties": {"n": {"type": "number", "exclusiveMinimum": 3}}, "required": ["n"]},
        {"properties": {"n": {"type": "integer", "maximum": -2}}, "required": ["n"]},
        {"properties": {"s": {"type": "string", "minLength": 5}}, "required": ["s"]},
        {"properties": {"s": {"type": "string", "pattern": "^x-[0-9]+$"}}, "required": ["s"]},
        {"properties": {"s": {"enum": ["u", "v"]}}, "required": ["s"]},
        {"properties": {"s": {"const": 7}}, "required": ["s"]},
        {"properties": {"s": {"type": ["boolean", "null"]}}, "required": ["s"]},
        {"properties": {"s": {"type": "null"}}, "required": ["s"]},
        {
            "properties": {"s": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
            "required": ["s"],
        },
        {
            "properties": {
                "o": {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k"]}
            },
            "required": ["o"],
        },
        {"properties": {"s": True}, "required": ["s"]},
        {"examples": [{"a": 1}]},
    ],
)
def test_sample_parameters_pass_the_schema(schema: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid({"type": "object", **schema}, sample_params(schema))


def test_samples_of_a_condition_lie_at_and_beside_its_bounds() -> None:
    assert {1, 0, 2, 5, 4, 6} <= set(sample_condition(ParamCondition(min=1, max=5)))
    assert sample_condition((1, 2)) == [1, 2, 2, 3, "another"]
    assert "x" in sample_condition(ParamCondition(equals="x"))
    assert "reg" in sample_condition(ParamCondition(pattern="reg"))
    assert None not in sample_condition(ParamCondition(pattern=r"\pN"))
