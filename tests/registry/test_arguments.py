from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import (
    ARGUMENT_KINDS,
    Access,
    Action,
    AgentGuardError,
    Argument,
    RegistryError,
    Risk,
    Role,
)
from agentguard.registry import ActionRegistry, load_actions

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "name: send\nversion: 1\ndescription: Send\nrisk: high\naccess: write\n"
PARAMS = """params:
  properties:
    to: {type: array, items: {type: string}}
    body: {type: string}
    a/b: {type: string}
    headers: {type: object, additionalProperties: {type: string}}
    any: {}
    lines:
      type: array
      items: {$ref: "#/$defs/line"}
    choice: {anyOf: [{type: object, properties: {id: {type: string}}}, {type: string}]}
    named: {type: object, patternProperties: {"^x-": {type: string}}}
    pair: {type: array, prefixItems: [{type: string}, {type: object, properties: {k: {type: string}}}]}
  $defs:
    line: {type: object, properties: {sku: {type: string}, lines: {type: array, items: {$ref: "#/$defs/line"}}}}
"""


def declare(folder: Path, pointer: str, value: str = "{role: target}") -> Action:
    path = folder / "a.yaml"
    path.write_text(
        HEAD
        + PARAMS.replace(', lines: {type: array, items: {$ref: "#/$defs/line"}}', "")
        + f'arguments:\n  "{pointer}": {value}\n',
        encoding="utf-8",
    )
    found = load_actions([path]).resolve("send")
    assert found is not None
    return found.action


@pytest.mark.parametrize(
    "pointer",
    [
        "/to",
        "/to/*",
        "/a~1b",
        "/headers/*",
        "/headers/x",
        "/any/what/ever",
        "/lines/*/sku",
        "/choice/id",
        "/named/x-a",
        "/named/*",
        "/pair/*",
        "/pair/*/k",
    ],
)
def test_pointer_into_the_parameters_is_accepted(tmp_path: Path, pointer: str) -> None:
    action = declare(tmp_path, pointer, "{role: target, kind: recipient}")
    assert action.access is Access.WRITE
    assert action.arguments == {pointer: Argument(Role.TARGET, "recipient")}


@pytest.mark.parametrize(
    ("pointer", "value", "error"),
    [
        (
            "to",
            "{role: target}",
            "arguments.to: must be a JSON pointer, as `/to` or `/items/*/id`; write `/to`",
        ),
        ("", "{role: target}", "must be a JSON pointer"),
        ("/a~2b", "{role: target}", "must be a JSON pointer"),
        ("/nobody", "{role: target}", "arguments./nobody: is no parameter; see `params`"),
        ("/body/x", "{role: target}", "is no parameter"),
        ("/lines/*/skuu", "{role: target}", "is no parameter"),
        ("/to", "{role: aim}", "arguments.role: must be one of `target`, `payload`, `control`"),
        (
            "/to",
            "{role: target, kind: recipent}",
            "must be one of the known kinds of argument; did you mean `recipient`",
        ),
        ("/to", "{role: target, why: x}", "unknown key `why`"),
        ("/to", "{kind: url}", "missing required field `role`"),
    ],
)
def test_wrong_argument_is_refused_with_its_line(
    tmp_path: Path, pointer: str, value: str, error: str
) -> None:
    with pytest.raises(AgentGuardError) as caught:
        declare(tmp_path, pointer, value)
    assert error in str(caught.value)
    assert caught.value.location is not None
    assert caught.value.location.line is not None


def test_references_that_multiply_are_refused_not_followed() -> None:
    below: dict[str, Any] = {"type": "object", "properties": {"x": {"type": "string"}}}
    defs = {"d0": below}
    for level in range(1, 20):
        defs[f"d{level}"] = {"allOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
    params = {"properties": {"p": {"$ref": "#/$defs/d19"}}, "$defs": defs}
    action = Action("send", 1, "Send", Risk.LOW, params, arguments={"/p/x": Argument(Role.TARGET)})
    with pytest.raises(RegistryError, match="multiply beyond measure"):
        ActionRegistry.build([action])


def test_actions_without_roles_have_the_digest_that_they_had() -> None:
    action = Action("send", 1, "Send", Risk.LOW)
    assert action.access is None
    assert "arguments" not in str(msgspec.to_builtins(action))
    with_roles = Action("send", 1, "Send", Risk.LOW, access=Access.READ)
    assert ActionRegistry.build([action]).digest != ActionRegistry.build([with_roles]).digest


def test_every_kind_is_in_the_documents() -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs/actions.md").read_text(encoding="utf-8")
    for kind, meaning in ARGUMENT_KINDS.items():
        assert f"| `{kind}` | {meaning} |" in text
