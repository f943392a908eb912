"""Actions are checked when they are declared and looked up by reference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Action, Location, RegistryError, Risk
from agentguard.registry import ActionRegistry


def action(name: str = "scale-deployment", version: int = 1, **fields: Any) -> Action:
    return Action(name=name, version=version, description="scales", risk=Risk.MEDIUM, **fields)


def test_name_resolves_to_the_newest_version_and_reference_to_its_own() -> None:
    registry = ActionRegistry.build([action(version=2), action(version=10), action(version=1)])
    newest = registry.resolve("scale-deployment")
    assert newest is not None
    assert newest.reference == "scale-deployment@10"
    assert newest.risk_weight == 2
    second = registry.resolve("scale-deployment@2")
    assert second is not None
    assert second.action.version == 2
    assert registry.resolve("scale-deployment@3") is None
    assert registry.resolve("drop-database") is None
    assert registry.names() == ["scale-deployment"]
    assert [each.version for each in registry] == [1, 2, 10]
    assert len(registry) == 3
    assert repr(newest) == "CompiledAction('scale-deployment@10')"


def test_digest_depends_on_the_content_and_not_on_the_order() -> None:
    one, two = action("a-b"), action("c-d", params={"properties": {"x": {"type": "string"}}})
    digest = ActionRegistry.build([one, two]).digest
    assert digest.startswith("sha256:")
    assert len(digest) == 71
    assert ActionRegistry.build([two, one]).digest == digest
    assert ActionRegistry.build([one]).digest != digest
    assert ActionRegistry.build([one, action("c-d")]).digest != digest


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "Scale"}, "name", "kebab-case"),
    ({"name": "scale@1"}, "name", "must not hold a version"),
    ({"name": ""}, "name", "kebab-case"),
    ({"version": 0}, "version", "must be 1 to 999999"),
    ({"version": 1_000_000}, "version", "must be 1 to 999999"),
    ({"description": "  "}, "description", "must say what the action does"),
    ({"tags": ("a", "a")}, "tags[1]", "`a` stands twice"),
    ({"prechecks": ("",)}, "prechecks[0]", "must be printable"),
    ({"required_privileges": ("a\nb",)}, "required_privileges[0]", "must be printable"),
    ({"resource_types": ("Pod",)}, "resource_types[0]", "must be a type or a URI scheme"),
    ({"compensating_action": "scale-deployment@1"}, "reversible", "set it to true"),
    ({"read_only_form": "rollout-status@1"}, "read_only_form", "must name a declared action"),
    ({"read_only_form": "scale-deployment"}, "read_only_form", "write the version, as `scale-deployment@1`"),
    ({"read_only_form": "scale-deployment@1"}, "read_only_form", "is the action itself"),
    (
        {"reversible": True, "compensating_action": "undo@1"},
        "compensating_action",
        "must name a declared action as `name@version`, not `undo@1`",
    ),
]


@pytest.mark.parametrize(("fields", "field", "why"), BAD)
def test_wrong_declaration_is_refused_with_its_field(fields: dict[str, Any], field: str, why: str) -> None:
    wrong = Action(
        **{"name": "scale-deployment", "version": 1, "description": "x", "risk": Risk.LOW, **fields}
    )
    with pytest.raises(RegistryError) as caught:
        ActionRegistry.build([wrong])
    assert caught.value.location is not None
    assert caught.value.location.field == field
    assert why in str(caught.value)
    assert wrong.name in str(caught.value)


def test_source_names_the_file_and_line() -> None:
    sources = {"scale-deployment@1": Location("a.yaml", 7, "actions[2]")}
    with pytest.raises(RegistryError) as caught:
        ActionRegistry.build([action(params={"minumum": 1})], sources=sources)
    assert caught.value.location == Location("a.yaml", 7, "actions[2].params.minumum")


def test_two_actions_of_one_reference_are_refused() -> None:
    with pytest.raises(RegistryError, match="`scale-deployment@1` is declared twice"):
        ActionRegistry.build([action(), action()])


def test_read_only_form_that_requires_more_is_refused() -> None:
    status = action("rollout-status", params={"properties": {"pod": {}}, "required": ["pod"]})
    with pytest.raises(RegistryError, match="requires `pod`, which is no parameter here"):
        ActionRegistry.build([status, action(read_only_form="rollout-status@1")])


def test_example_that_is_not_valid_is_refused() -> None:
    params = {"properties": {"n": {"type": "integer"}}, "examples": [{"n": 1}, {"n": "x"}]}
    with pytest.raises(RegistryError, match=r"params\.examples\[1\]: is no valid example: parameter `n`"):
        ActionRegistry.build([action(params=params)])


CLOSED: dict[str, Any] = {
    "properties": {
        "replicas": {"type": "integer", "minimum": 0, "maximum": 5, "multipleOf": 1},
        "above": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "mode": {"enum": ["on", "off", 3]},
        "kind": {"const": "pod"},
        "mail": {"type": "string", "format": "email"},
        "either": {"type": ["string", "null"]},
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
        },
        "has": {"type": "array", "contains": {"const": 1}},
        "spec": {
            "type": "object",
            "properties": {"port": {"type": "integer", "maximum": 10}},
            "required": ["port"],
        },
        "map": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 1},
        "names": {"type": "object", "propertyNames": {"pattern": "^a"}, "minProperties": 1},
        "form": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
        "one": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        "non": {"not": {"type": "integer"}},
        "password": {"type": "string", "secret": True, "enum": ["hunter22"]},
        "ref": {"$ref": "#/$defs/small"},
        "all": {"allOf": [{"type": "integer"}, {"minimum": 3}]},
    },
    "$defs": {"small": {"type": "integer", "maximum": 3}},
    "required": ["replicas"],
}

REASONS: list[tuple[dict[str, Any], str]] = [
    ({}, "parameter `replicas` is missing"),
    ({"replicas": "x"}, "parameter `replicas` must be of type integer"),
    ({"replicas": 6}, "parameter `replicas` must be at most 5"),
    ({"replicas": -1}, "parameter `replicas` must be at least 0"),
    ({"replicas": True}, "parameter `replicas` must be of type integer"),
    ({"replicas": 2**80}, "parameter `replicas` must be at most 5"),
    ({"above": 0}, "parameter `above` must be above 0"),
    ({"above": 1}, "parameter `above` must be below 1"),
    ({"name": "a"}, "parameter `name` must have at least 2 characters"),
    ({"name": "abcde"}, "parameter `name` must have at most 4 characters"),
    ({"name": "AB"}, "parameter `name` must match `^[a-z]+$`"),
    ({"name": "ab\n"}, "parameter `name` must match `^[a-z]+$`"),
    ({"mode": "auto"}, "parameter `mode` must be one of on, off, 3"),
    ({"kind": "node"}, "parameter `kind` must be `pod`"),
    ({"mail": "nobody"}, "parameter `mail` must be of format `email`"),
    ({"either": 3}, "parameter `either` must be of type null or string"),
    ({"tags": []}, "parameter `tags` must have at least 1 items"),
    ({"tags": ["a", "b", "c"]}, "parameter `tags` must have at most 2 items"),
    ({"tags": ["a", "a"]}, "parameter `tags` must not repeat an item"),
    ({"tags": ["a", 3]}, "parameter `tags[1]` must be of type string"),
    ({"has": [2]}, "parameter `has` lacks an item that it must contain"),
    ({"spec": {}}, "parameter `spec.port` is missing"),
    ({"spec": {"port": 11}}, "parameter `spec.port` must be at most 10"),
    ({"spec": {"port": 1, "prot": 2}}, "unknown parameter `prot` in `spec`"),
    ({"map": {"some-token": "x"}}, "parameter `map.*` must be of type integer"),
    ({"map": {"a": 1, "b": 2}}, "parameter `map` must have at most 1 entries"),
    ({"names": {}}, "parameter `names` must have at least 1 entries"),
    ({"names": {"zebra": 1}}, "parameter `names` has a name that is not allowed"),
    ({"form": "x"}, "parameter `form` matches none of the forms that it may have"),
    ({"one": 3}, "parameter `one` must match exactly one of the forms that it may have"),
    ({"non": 3}, "parameter `non` has a form that is ruled out"),
    ({"password": "letmein"}, "parameter `password` has a value that is not allowed"),
    ({"all": 2}, "parameter `all` must be at least 3"),
    ({"ref": 4}, "parameter `ref` must be at most 3"),
    ({"x\n<b>": 1}, "unknown parameter, whose name is not shown"),
    ({"x" * 50: 1}, "unknown parameter, whose name is not shown"),
    ({"sekret": 1}, "unknown parameter `sekret`; the action takes `above`, "),
    ({"abc": 1, "name": "abc"}, "unknown parameter, whose name is not shown"),
    ({"xsekretx": 1, "tags": ["sekret"]}, "unknown parameter, whose name is not shown"),
    ({"name": "\ud800"}, "the parameters hold a value that JSON cannot carry"),
    ({"name": object()}, "the parameters hold a value that JSON cannot carry"),
]


@pytest.mark.parametrize(("params", "reason"), REASONS)
def test_refusal_names_the_field_and_what_was_expected(params: dict[str, Any], reason: str) -> None:
    compiled = ActionRegistry.build([action(params=CLOSED)]).resolve("scale-deployment")
    assert compiled is not None
    full = params if not params or "replicas" in params else {"replicas": 1, **params}
    said = compiled.check(full)
    assert said is not None
    assert said.startswith(reason)


def test_keyword_without_words_of_its_own_is_named() -> None:
    params = {"properties": {"x": {"if": {"const": 1}, "then": False}}}
    compiled = ActionRegistry.build([action(params=params)]).resolve("scale-deployment")
    assert compiled is not None
    assert "parameter `x` does not satisfy" in str(compiled.check({"x": 1}))
    assert compiled.check({"x": 2}) is None


def test_parameter_that_another_one_needs_is_named() -> None:
    params = {"properties": {"x": {}, "y": {}}, "dependentRequired": {"x": ["y"]}}
    compiled = ActionRegistry.build([action(params=params)]).resolve("scale-deployment")
    assert compiled is not None
    assert compiled.check({"x": 2}) == "parameter `y` is missing"


def test_limit_behind_a_reference_at_the_root_is_explained() -> None:
    params = {"properties": {}, "allOf": [{"$ref": "#/$defs/few"}], "$defs": {"few": {"minProperties": 1}}}
    compiled = ActionRegistry.build([action(params=params)]).resolve("scale-deployment")
    assert compiled is not None
    assert str(compiled.check({})).startswith("the parameters ")


def test_valid_parameters_pass_and_stay_as_they_are() -> None:
    compiled = ActionRegistry.build([action(params=CLOSED)]).resolve("scale-deployment")
    assert compiled is not None
    params = {"replicas": 3, "spec": {"port": 1}, "password": "hunter22"}
    assert compiled.check(params) is None
    assert params == {"replicas": 3, "spec": {"port": 1}, "password": "hunter22"}


def test_action_without_parameters_refuses_all() -> None:
    compiled = ActionRegistry.build([action()]).resolve("scale-deployment")
    assert compiled is not None
    assert compiled.check({}) is None
    assert compiled.check({"x": 1}) == "unknown parameter `x`"
    assert compiled.param_names == frozenset()


MARK = "QZQZ"
values = st.recursive(
    st.text(alphabet="abc ", max_size=3).map(lambda text: f"{MARK}{text}") | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["port", "a", "x"]), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*CLOSED["properties"], "other"]) | st.just(f"x{MARK}a"), values))
def test_reason_never_holds_a_value(params: dict[str, Any]) -> None:
    compiled = ActionRegistry.build([action(params=CLOSED)]).resolve("scale-deployment")
    assert compiled is not None
    reason = compiled.check(params)
    if reason is not None:
        assert "\n" not in reason
        planted = [text for text in _texts(params) if text.strip() != MARK]
        assert not any(text in reason for text in planted)


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
