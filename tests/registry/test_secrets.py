"""Secret values are hidden wherever a schema calls them secret, and wherever it may have meant to."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Action, Risk
from agentguard.registry import ActionRegistry, CompiledAction, load_actions, mask_secrets

SECRET = {"type": "string", "secret": True}


def compiled(params: dict[str, Any]) -> CompiledAction:
    registry = ActionRegistry.build([Action("act", 1, "x", Risk.LOW, params)])
    found = registry.resolve("act")
    assert found is not None
    return found


PATHS: list[tuple[dict[str, Any], tuple[tuple[str, ...], ...]]] = [
    ({"properties": {"a": {"type": "string"}}}, ()),
    ({"properties": {"a": {"secret": False}}}, ()),
    ({"properties": {"a": SECRET, "b": SECRET}}, (("a",), ("b",))),
    ({"properties": {"a": {"properties": {"b": SECRET}}}}, (("a", "b"),)),
    ({"properties": {"a": {"items": SECRET}}}, (("a", "*"),)),
    ({"properties": {"a": {"prefixItems": [{}, SECRET]}}}, (("a", "*"),)),
    ({"properties": {"a": {"additionalProperties": SECRET}}}, (("a", "*"),)),
    ({"properties": {"a": {"patternProperties": {"^x": SECRET}}}}, (("a", "*"),)),
    ({"properties": {"a": {"items": {"properties": {"b": SECRET}}}}}, (("a", "*", "b"),)),
    ({"properties": {"a": {"anyOf": [{"type": "null"}, SECRET]}}}, (("a",),)),
    ({"properties": {"a": {"if": {"type": "string"}, "then": {"secret": True}}}}, (("a",),)),
    ({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": SECRET}}, (("a",),)),
    ({"properties": {"a": {"dependentSchemas": {"x": {"properties": {"y": SECRET}}}}}}, (("a", "y"),)),
    ({"allOf": [{"properties": {"a": SECRET}}], "additionalProperties": True}, (("a",),)),
    ({"properties": {"a": {"secret": True, "properties": {"b": SECRET}}}}, (("a",),)),
    ({"properties": {"a": {"properties": {"b": SECRET}, "additionalProperties": SECRET}}}, (("a", "*"),)),
    ({"additionalProperties": SECRET}, (("*",),)),
]


@pytest.mark.parametrize(("params", "paths"), PATHS)
def test_paths_of_secrets_are_found(params: dict[str, Any], paths: tuple[tuple[str, ...], ...]) -> None:
    assert compiled(params).secret_paths == paths


def test_names_declared_below_all_of_are_declared() -> None:
    params = {
        "allOf": [{"$ref": "#/$defs/d"}],
        "$defs": {"d": {"properties": {"q": {}}}},
        "properties": {"a": {}},
    }
    assert compiled(params).param_names == {"a", "q"}


def commit(value: Any) -> dict[str, str]:
    return {"c": f"{len(json.dumps(value))}"}


NESTED = {
    "properties": {
        "user": {"type": "string"},
        "auth": {"type": "object", "properties": {"kind": {}, "token": SECRET}},
        "keys": {"type": "array", "items": {"properties": {"name": {}, "value": SECRET}}},
        "env": {"additionalProperties": SECRET},
    }
}

MASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"user": "u"}, {"user": "u"}),
    ({"auth": {"kind": "k", "token": "s"}}, {"auth": {"kind": "k", "token": {"c": "3"}}}),
    ({"auth": {"kind": "k"}}, {"auth": {"kind": "k"}}),
    ({"keys": [{"name": "n", "value": "s"}, {"value": "ss"}]}, {"keys": [{"name": "n", "value": {"c": "3"}}, {"value": {"c": "4"}}]}),
    ({"env": {"A": "s", "B": ["x"]}}, {"env": {"A": {"c": "3"}, "B": {"c": "5"}}}),
    # values of another shape than declared: refused, and still no place to leak
    ({"auth": "s"}, {"auth": {"c": "3"}}),
    ({"auth": ["s"]}, {"auth": {"c": "5"}}),
    ({"keys": ["s"]}, {"keys": [{"c": "3"}]}),
    ({"keys": {"value": "s"}}, {"keys": {"value": {"c": "3"}}}),
    ({"auth": None}, {"auth": {"c": "4"}}),
    # a misspelt name
    ({"tokne": "s"}, {"tokne": {"c": "3"}}),
]  # fmt: skip


@pytest.mark.parametrize(("params", "masked"), MASKED)
def test_values_at_secret_paths_are_committed(params: dict[str, Any], masked: dict[str, Any]) -> None:
    before = copy.deepcopy(params)
    assert mask_secrets(compiled(NESTED), params, commit) == masked
    assert params == before


def test_all_values_are_committed_where_undeclared_ones_are_secret() -> None:
    action = compiled({"properties": {"a": {}}, "additionalProperties": SECRET})
    assert mask_secrets(action, {"a": 1, "b": 2}, commit) == {"a": {"c": "1"}, "b": {"c": "1"}}


def test_action_without_secrets_costs_nothing() -> None:
    params = {"path": "x"}
    action = load_actions([]).resolve("file.read")
    assert action is not None
    assert mask_secrets(action, params, commit) is params


MARK = "hunter2"
secret_values = st.recursive(
    st.just(MARK), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=4
)  # fmt: skip


@given(
    secret_values,
    secret_values,
    secret_values,
    st.dictionaries(st.sampled_from(["tokne", "x"]), secret_values),
)
def test_no_secret_is_left_whatever_its_shape(
    token: Any, value: Any, env: Any, other: dict[str, Any]
) -> None:
    params = {"user": "u", "auth": {"token": token}, "keys": [{"value": value}], "env": {"A": env}, **other}
    assert MARK not in json.dumps(mask_secrets(compiled(NESTED), params, commit))
