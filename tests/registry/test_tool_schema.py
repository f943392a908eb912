from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Action, Risk
from agentguard.registry import ActionRegistry
from agentguard.registry._tool_schema import MAX_NODES, import_schema


def of(schema: Any) -> tuple[Any, tuple[str, ...]]:
    """Return how the parameter `p` of that schema is kept, and the notes."""
    params, notes = import_schema({"type": "object", "properties": {"p": schema}})
    ActionRegistry.build([Action("act", 1, "acts", Risk.LOW, params)])
    return params["properties"].get("p"), notes


@pytest.mark.parametrize(
    ("schema", "kept"),
    [
        ({"type": "string", "title": "P", "example": "x", "x-order": 3}, {"type": "string"}),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"enum": ["a"], "nullable": True}, {"enum": ["a", None]}),
        ({"enum": ["a", "a", "b"]}, {"enum": ["a", "b"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"type": "integer", "format": "int64"}, {"type": "integer"}),
        ({"type": "string", "format": "password"}, {"type": "string", "secret": True}),
        ({"type": "string", "format": "byte"}, {"type": "string", "contentEncoding": "base64"}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 9, "exclusiveMaximum": False}, {"maximum": 9}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "prefixItems": [{"type": "string"}]}),
        ({"anyOf": [{"type": "string"}, True]}, {"anyOf": [{"type": "string"}, True]}),
        ({"description": "a\n\tb \u202e c"}, {"description": "a b c"}),
        ({"const": 3}, {"const": 3}),
        ({"default": {"a": 1}}, {}),
        (True, True),
    ],
)  # fmt: skip
def test_what_is_spelt_otherwise_is_rewritten(schema: Any, kept: Any) -> None:
    assert of(schema) == (kept, ())


@pytest.mark.parametrize(
    ("schema", "kept", "note"),
    [
        ({"pattern": "(?=a)b"}, {}, "p: its pattern needs look-around or is none, and is left out"),
        ({"pattern": "("}, {}, "p: its pattern needs look-around"),
        ({"format": "color"}, {}, "p: the format `color` is not known"),
        ({"type": "strin"}, {}, "p: the type `strin` is not known: any value is taken"),
        ({"minLength": -1}, {}, "p: `minLength` is no number of things"),
        ({"minimum": "3"}, {}, "p: `minimum` is no number"),
        ({"minumum": 3}, {}, "p: `minumum` is not understood"),
        ({"enum": [{"a": 1}]}, {}, "p: its `enum` is too long"),
        ({"enum": [2**70]}, {}, "p: its `enum` is too long"),
        ({"const": [1]}, {}, "p: `const` holds more than one value"),
        ({"$ref": "http://example.com/x.json"}, {}, "is not followed: any value is taken"),
        ({"$ref": "#/nowhere"}, {}, "is not followed"),
        ({"$ref": "#"}, None, "`#` refers to itself"),
        ({"patternProperties": {"(?!x)": {}}}, {"patternProperties": {}, "additionalProperties": True}, "pattern of names"),
        ("text", {}, "p: is no schema: any value is taken"),
        ({"properties": {"a\nb": {}}}, {"properties": {}, "additionalProperties": False}, "is not printable"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_left_out_and_said(schema: Any, kept: Any, note: str) -> None:
    found, notes = of(schema)
    assert kept is None or found == kept
    assert any(note in each for each in notes), notes


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}])
def test_tool_without_parameters_takes_none(schema: Any) -> None:
    assert import_schema(schema)[0] == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize("schema", [{"type": "string"}, [], "x", 3, {"properties": 3}])
def test_parameters_that_are_no_object_take_anything_or_nothing(schema: Any) -> None:
    params, notes = import_schema(schema)
    assert params["type"] == "object"
    assert notes or schema == {"properties": 3}


def test_references_are_written_out() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/definitions/x", "description": "Mine"}},
        "definitions": {"x": {"type": "string", "description": "Theirs"}},
    }
    assert import_schema(schema)[0]["properties"] == {"a": {"type": "string", "description": "Mine"}}


def test_properties_below_all_of_are_laid_together() -> None:
    schema = {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}},
        ]
    }
    params, _ = import_schema(schema)
    assert set(params["properties"]) == {"a", "b"}
    assert params["required"] == ["a"]


def test_schema_that_multiplies_is_bounded() -> None:
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, 40):
        below = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"type": "object", "properties": {"l": below, "r": below}}
    params, notes = import_schema({"properties": {"p": {"$ref": "#/$defs/d39"}}, "$defs": definitions})
    assert str(params).count("properties") <= MAX_NODES
    assert any("too large or too deep" in note for note in notes)


def test_deep_schema_is_cut() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        schema = {"type": "object", "properties": {"p": schema}}
    params, notes = import_schema(schema)
    assert str(params).count("properties") < 30
    assert len(notes) == 1


def test_schema_that_the_validator_refuses_keeps_its_names() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {}}, "dependentRequired": 3}
    params, notes = import_schema(schema)
    assert params["properties"] == {"a": {}, "b": {}}
    assert "the schema cannot be used" in notes[-1]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "anyOf",
                    "$ref",
                    "enum",
                    "const",
                    "required",
                    "format",
                    "pattern",
                    "minimum",
                    "nullable",
                    "default",
                    "additionalProperties",
                    "patternProperties",
                    "dependentRequired",
                    "not",
                    "if",
                    "description",
                    "secret",
                    "facts",
                    "p",
                ]
            )
            | st.text(max_size=4),
            below,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(_JSON)
def test_whatever_it_is_the_registry_takes_it(schema: Any) -> None:
    params, _ = import_schema({"properties": {"p": schema}})
    ActionRegistry.build([Action("act", 1, "acts", Risk.LOW, params)])
    ActionRegistry.build([Action("act", 1, "acts", Risk.LOW, import_schema(schema)[0])])
