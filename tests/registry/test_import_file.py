from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import Access, RegistryError, Risk, Role, Sensitivity, Sink
from agentguard.registry import ImportedAction, import_tools, load_actions, merge_actions, write_actions

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import Action

PROPERTIES: dict[str, Any] = {
    "to": {"type": "string"},
    "zz": {"type": "string"},
    'a"b\\c': {"type": "string", "default": "\x07\u2028\U000e0001"},
    "n": {"type": "number", "minimum": 1e-7, "maximum": 1e22, "default": 1.0},
}
HOSTILE = {
    "name": "on: #\n`x`",
    "description": "# inferred: low (\n- name: x",
    "input_schema": {"properties": PROPERTIES},
}
SEND = {"name": "send_mail", "description": "Send: a # mail", "input_schema": {"properties": PROPERTIES}}
LIST = {
    "name": "list_mail",
    "description": "List",
    "input_schema": {"properties": {"limit": {"type": "integer"}}},
}


def tools(*definitions: dict[str, Any]) -> tuple[ImportedAction, ...]:
    return import_tools(list(definitions), format="anthropic")


def load(folder: Path, text: str) -> dict[str, Action]:
    path = folder / "a.yaml"
    path.write_text(text, encoding="utf-8")
    return {each.reference: each for each in load_actions([path], catalogue=False)}


def test_written_file_declares_what_was_inferred(tmp_path: Path) -> None:
    imported = tools(SEND, LIST, HOSTILE)
    text = write_actions(imported, source="to\nols.json")
    assert load(tmp_path, text) == {each.action.reference: each.action for each in imported}
    assert "# inferred: target (unsure: no word says what it is)" in text


def test_empty_list_makes_an_empty_file(tmp_path: Path) -> None:
    assert load(tmp_path, write_actions((), source="x")) == {}


def test_importing_again_changes_nothing() -> None:
    text = write_actions(tools(SEND, LIST, HOSTILE), source="x")
    merged = merge_actions(tools(SEND, LIST, HOSTILE), text, file="a.yaml", source="x")
    assert (merged.text, merged.kept, merged.gone) == (text, {}, ())


def corrected(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def test_corrections_outlive_an_import(tmp_path: Path) -> None:
    text = corrected(
        write_actions(tools(SEND, LIST), source="x"),
        ("risk: high", "risk: low"),
        ("access: write", "access: read"),
        ('"/zz": {role: target}', '"/zz": {role: control}'),
        ("sink: external", "sink: internal"),
        ('source: {"integrity": "untrusted"}', "source: {integrity: verified, readers: [anna]}"),
        ('tags: ["imported"]', "tags: [imported, mine]\n    resource_types: [mail]\n    reversible: true"),
        ('description: "Send: a # mail"', "description: Mine"),
    )
    text = text.replace("      source:", "      clearance: internal\n      source:", 1)
    merged = merge_actions(tools(SEND, LIST), text, file="a.yaml", source="x")
    action = load(tmp_path, merged.text)["send_mail@1"]
    assert (action.risk, action.access) == (Risk.LOW, Access.READ)
    assert action.arguments["/zz"].role is Role.CONTROL
    assert action.arguments["/to"].role is Role.TARGET
    assert action.flow is not None
    assert action.flow.source is not None
    assert (action.flow.sink, action.flow.clearance) == (Sink.INTERNAL, Sensitivity.INTERNAL)
    assert action.flow.source.readers == ("anna",)
    assert (action.resource_types, action.reversible, action.description) == (("mail",), True, "Mine")
    assert "mine" in action.tags
    assert set(merged.kept["send_mail"]) == {
        "risk", "access", "/zz", "flow.sink", "flow.source", "flow.clearance", "resource_types", "reversible",
        "description",
    }  # fmt: skip
    again = merge_actions(tools(SEND, LIST), merged.text, file="a.yaml", source="x")
    assert again.text == merged.text
    assert again.kept == merged.kept


def test_reference_to_an_action_of_another_file_stays(tmp_path: Path) -> None:
    text = corrected(
        write_actions(tools(SEND), source="x"),
        ("    params:", "    read_only_form: mail.read@1\n    params:"),
    )
    merged = merge_actions(tools(SEND), text, file="a.yaml", source="x")
    assert 'read_only_form: "mail.read@1"' in merged.text
    assert merged.kept["send_mail"] == ("read_only_form",)


def test_what_was_not_corrected_follows_the_tool(tmp_path: Path) -> None:
    text = write_actions(tools(SEND), source="x")
    changed = {**SEND, "input_schema": {"properties": {"to": {"type": "string"}, "body": {"type": "string"}}}}
    merged = merge_actions(tools(changed), text, file="a.yaml", source="x")
    action = load(tmp_path, merged.text)["send_mail@1"]
    assert set(action.params["properties"]) == {"to", "body"}
    assert set(action.arguments) == {"/to", "/body"}
    assert merged.kept == {}


def test_narrowed_parameters_stay_though_the_tool_changes(tmp_path: Path) -> None:
    text = corrected(
        write_actions(tools(LIST), source="x"), ('"type": "integer"', '"type": "integer", "maximum": 9')
    )
    changed = {**LIST, "input_schema": {"properties": {"other": {"type": "integer"}}}}
    merged = merge_actions(tools(changed), text, file="a.yaml", source="x")
    action = load(tmp_path, merged.text)["list_mail@1"]
    assert action.params["properties"]["limit"]["maximum"] == 9
    assert set(action.arguments) == {"/limit"} or set(action.arguments) == set()
    assert "params" in merged.kept["list_mail"]


def test_lines_in_another_style_count_as_corrections(tmp_path: Path) -> None:
    text = (
        "actions:\n- {name: send_mail, version: 1, description: d, risk: low, access: read,\n"
        "   arguments: {/to: {role: payload}}, params: {properties: {to: {}}}}\n"
    )
    merged = merge_actions(tools(SEND), text, file="a.yaml", source="x")
    action = load(tmp_path, merged.text)["send_mail@1"]
    assert (action.risk, action.access, action.arguments["/to"].role) == (Risk.LOW, Access.READ, Role.PAYLOAD)
    assert set(action.params["properties"]) == {"to"}


def test_what_no_tool_stands_for_any_more_stays(tmp_path: Path) -> None:
    text = write_actions(tools(SEND, LIST), source="x")
    text = corrected(text, ("version: 1", "version: 2"))
    text += "  - {name: own, version: 1, description: Own, risk: low, compensating_action: own@1, reversible: true}\n"
    text += "  - {name: send_mail, version: 1, description: Old, risk: low}\n"
    merged = merge_actions(tools(SEND), text, file="a.yaml", source="x")
    assert set(merged.gone) == {"list_mail@1", "own@1", "send_mail@1"}
    found = load(tmp_path, merged.text)
    assert set(found) == {"send_mail@2", "send_mail@1", "list_mail@1", "own@1"}
    assert found["own@1"].compensating_action == "own@1"


def test_file_that_declares_wrongly_is_refused() -> None:
    text = corrected(write_actions(tools(SEND), source="x"), ('"/zz": {role', '"/nobody": {role'))
    with pytest.raises(RegistryError, match=r"a\.yaml:\d+: .*is no parameter"):
        merge_actions(tools(SEND), text, file="a.yaml", source="x")
