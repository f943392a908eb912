from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Action, RegistryError, Risk
from agentguard.registry import ActionRegistry


def build(params: dict[str, Any]) -> ActionRegistry:
    return ActionRegistry.build([Action("act", 1, "acts", Risk.LOW, params)])


def test_parameter_says_what_it_holds() -> None:
    item = {"type": "object", "properties": {"q": {"type": "string", "facts": "sql"}}}
    properties = {"url": {"facts": "url"}, "many": {"type": "array", "items": item}}
    assert len(build({"properties": properties})) == 1


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"properties": {"a": {"facts": "sqll"}}}, "one of the known sources"),
        ({"properties": {"a": {"facts": ["sql"]}}}, "one of the known sources"),
        ({"facts": "sql"}, "in a parameter"),
        ({"properties": {"a": {"anyOf": [{"facts": "sql"}]}}}, "in a parameter"),
        ({"properties": {"a": {"additionalProperties": {"facts": "sql"}}}}, "in a parameter"),
        ({"$defs": {"a": {"facts": "sql"}}}, "in a parameter"),
    ],
)
def test_source_that_would_not_be_read_is_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(RegistryError) as caught:
        build(params)
    assert says in str(caught.value)
