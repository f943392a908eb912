"""Parameter schemas are a strict subset of JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Action, RegistryError, Risk
from agentguard.registry import ActionRegistry


def build(params: dict[str, Any]) -> dict[str, Any]:
    registry = ActionRegistry.build(
        [Action(name="act", version=1, description="x", risk=Risk.LOW, params=params)]
    )
    return next(iter(registry)).params


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def prop(**schema: Any) -> dict[str, Any]:
    return {"properties": {"p": schema}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "array"}, "type", "must be of type object"),
    ({"type": ["object", "null"]}, "type", "must be of type object"),
    ({"properties": []}, "properties", 'is not of type "object"'),
    (prop(type="strin"), "properties.p.type", "must be one of array, boolean"),
    (prop(minimum="3"), "properties.p.minimum", 'is not of type "number"'),
    (
        prop(minumum=3),
        "properties.p.minumum",
        "unknown JSON Schema keyword `minumum`; did you mean `minimum`",
    ),
    (prop(qqqqq=3), "properties.p.qqqqq", "a keyword that nothing reads guards nothing"),
    ({"required": ["a", "a"]}, "required", "non-unique"),
    (prop(format="emial"), "properties.p.format", "nknown format"),
    (prop(**{"$ref": "https://example.com/x"}), "properties.p.$ref", "must stay in this schema"),
    (prop(**{"$ref": "#"}), "properties.p.$ref", "must stay in this schema"),
    (prop(**{"$ref": "#/$defs/q"}), "properties.p.$ref", "leads nowhere"),
    (
        prop(**{"$ref": "#/properties/p/prefixItems/1"}, prefixItems=[{}]),
        "properties.p.$ref",
        "leads nowhere",
    ),
    (prop(**{"$ref": "#/type/x"}), "properties.p.$ref", "leads nowhere"),
    (
        prop(**{"$schema": "https://json-schema.org/draft/2020-12/schema"}),
        "properties.p.$schema",
        "at the top",
    ),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$schema", "must be `https://json-schema.org"),
    ({"$schema": "https://example.com/x"}, "$schema", "must be `https://json-schema.org"),
    (prop(**{"$id": "https://example.com/x"}), "properties.p.$id", "unknown JSON Schema keyword"),
    (prop(**{"$dynamicRef": "#x"}), "properties.p.$dynamicRef", "unknown JSON Schema keyword"),
    (prop(pattern="(?=a)b"), "properties.p.pattern", "look-around"),
    (prop(pattern="(?<!a)b"), "properties.p.pattern", "look-around"),
    (prop(pattern=r"(a)\1"), "properties.p.pattern", "back-reference"),
    (prop(pattern="(a"), "properties.p.pattern", "is no regular expression"),
    (prop(pattern="(a{1000}){1000}"), "properties.p.pattern", "is no regular expression"),
    (prop(patternProperties={"(?!a)": {}}), "properties.p.patternProperties.(?!a)", "look-around"),
    (prop(secret="yes"), "properties.p.secret", "must be true or false"),
    (prop(secret=1), "properties.p.secret", "must be true or false"),
    ({"secret": True}, "secret", "cannot mark all parameters"),
    (prop(propertyNames={"secret": True}), "properties.p.propertyNames.secret", "cannot mark names"),
    ({"properties": {"a\nb": {}}}, "properties", "must be printable"),
    ({"properties": {"": {}}}, "properties", "must be printable"),
    (prop(**nested(40)), "properties.p.items", "deeply"),
    (prop(default=object()), "", "is no JSON"),
    (
        {"properties": {"p": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"items": {"$ref": "#/$defs/t"}}}},
        "",
        "refers to itself",
    ),
    (
        {
            "properties": {"p": {"$ref": "#/$defs/d0"}},
            "$defs": {
                **{
                    f"d{n}": {"prefixItems": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
                    for n in range(20)
                },
                "d20": {"type": "string"},
            },
        },
        "",
        "multiply beyond measure",
    ),
]


@pytest.mark.parametrize(("params", "field", "why"), REFUSED)
def test_wrong_schema_is_refused_with_its_field(params: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(RegistryError) as caught:
        build(params)
    assert caught.value.location is not None
    assert str(caught.value.location.field) == f"params.{field}".rstrip(".")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unwritten_parts_are_completed() -> None:
    assert build({}) == {"type": "object", "properties": {}, "additionalProperties": False}
    inner = {"type": "object", "properties": {"q": {"type": "string"}}}
    closed = {**inner, "additionalProperties": False}
    assert build(prop(**inner))["properties"]["p"] == closed
    assert build(prop(type="array", items=inner))["properties"]["p"]["items"] == closed
    assert build({"$defs": {"d": inner}})["$defs"]["d"] == closed


def test_what_is_written_stays() -> None:
    assert build({"additionalProperties": True})["additionalProperties"] is True
    assert "additionalProperties" not in build({"unevaluatedProperties": False})
    assert build(prop(type="object"))["properties"]["p"] == {"type": "object"}
    branches = {"allOf": [{"properties": {"p": {"type": "string"}}}], "additionalProperties": True}
    assert build(branches)["allOf"] == branches["allOf"]
    assert build({"properties": {"p": True}})["properties"] == {"p": True}


def test_every_keyword_of_the_subset_is_taken() -> None:
    build(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "t",
            "properties": {
                "a": {"type": "string", "pattern": "^[a-z]{1,9}$", "minLength": 1, "format": "uri"},
                "b": {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
                "c": {"oneOf": [{"const": 1}, {"enum": [2, 3]}], "deprecated": True},
                "d": {"patternProperties": {"^x-": {"secret": False}}, "dependentSchemas": {"x": True}},
                "e": {"$ref": "#/properties/c/oneOf/0"},
                "f": {"$ref": "#/$defs/a~1b"},
            },
            "$defs": {"a/b": {"type": "null"}},
            "if": {"required": ["a"]},
            "then": {"required": ["b"]},
            "examples": [{"c": 1}],
        }
    )


def test_hostile_text_costs_a_pattern_linear_time() -> None:
    registry = ActionRegistry.build(
        [Action("act", 1, "x", Risk.LOW, {"properties": {"p": {"type": "string", "pattern": "^(a+)+$"}}})]
    )
    compiled = registry.resolve("act")
    assert compiled is not None
    # Exponential for an engine that backtracks: this would not come back.
    assert compiled.check({"p": "a" * 50_000 + "!"}) is not None
