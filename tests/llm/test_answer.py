from __future__ import annotations

import json
from typing import Any

import pytest

import llm_upstream_wire as wire
from agentguard.llm import PASS, Answer, UnreadableError, Verdict, Wire
from llm_upstream_wire import Reply, ToolUse

WHOLE = {Wire.CHAT: wire.chat, Wire.RESPONSES: wire.response, Wire.MESSAGES: wire.message}
TWO = Reply(tools=(ToolUse("first", {"x": 1}), ToolUse("second", {"y": 2})))
every_wire = pytest.mark.parametrize("kind", list(WHOLE), ids=lambda kind: kind.value)


def answer(kind: Wire, reply: Reply = TWO) -> Answer:
    return Answer(kind, json.dumps(WHOLE[kind]({"model": "m"}, reply)).encode())


@every_wire
def test_an_answer_names_its_calls_and_stays_as_it_came(kind: Wire) -> None:
    found = answer(kind)
    assert [(tool.name, tool.arguments) for tool in found.tools] == [
        ("first", {"x": 1}),
        ("second", {"y": 2}),
    ]
    assert found.texts() == ["Hello there, how can I help?"]
    found.decide([PASS, PASS])
    assert not found.is_changed
    assert found.content() == json.dumps(WHOLE[kind]({"model": "m"}, TWO)).encode()


@every_wire
def test_a_refused_call_becomes_a_text(kind: Wire) -> None:
    found = answer(kind)
    found.decide([Verdict(refusal="[no]"), Verdict(arguments={"z": 3})])
    again = Answer(kind, found.content())
    assert [(tool.name, tool.arguments) for tool in again.tools] == [("second", {"z": 3})]
    assert "[no]" in "".join(again.texts())


@every_wire
def test_an_answer_whose_calls_are_all_refused_ends_as_one_without(kind: Wire) -> None:
    found = answer(kind)
    found.decide([Verdict(refusal="[no]")] * 2)
    body = json.loads(found.content())
    assert Answer(kind, found.content()).tools == []
    ends = {Wire.CHAT: ("choices", "stop"), Wire.MESSAGES: ("stop_reason", "end_turn")}
    if kind is Wire.CHAT:
        assert body["choices"][0]["finish_reason"] == "stop"
        assert "tool_calls" not in body["choices"][0]["message"]
    elif kind is Wire.MESSAGES:
        assert body[ends[kind][0]] == ends[kind][1]


@every_wire
def test_texts_are_edited(kind: Wire) -> None:
    found = answer(kind)
    found.edit(str.upper)
    assert Answer(kind, found.content()).texts() == ["HELLO THERE, HOW CAN I HELP?"]


@every_wire
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a": NaN}'])
def test_what_nobody_can_read_is_no_answer(kind: Wire, content: bytes) -> None:
    with pytest.raises(UnreadableError):
        Answer(kind, content)


@pytest.mark.parametrize(
    "arguments", ["{", "[]", "1", '{"a": NaN}', "null"], ids=["broken", "list", "number", "nan", "null"]
)
def test_arguments_that_are_no_object_are_nobodys(arguments: str) -> None:
    for kind in (Wire.CHAT, Wire.RESPONSES):
        assert answer(kind, Reply(tools=(ToolUse("f", arguments),))).tools[0].arguments is None


def item(**fields: Any) -> Answer:
    return Answer(Wire.RESPONSES, json.dumps({"output": [{"id": "i1", **fields}]}).encode())


@pytest.mark.parametrize(
    ("fields", "name", "arguments"),
    [
        ({"type": "local_shell_call", "action": {"command": ["ls"]}}, "local_shell", {"action": {"command": ["ls"]}}),
        ({"type": "apply_patch_call", "operation": {"type": "x"}}, "apply_patch", {"operation": {"type": "x"}}),
        ({"type": "custom_tool_call", "name": "sql", "input": "drop"}, "sql", {"input": "drop"}),
        ({"type": "mcp_approval_request", "name": "pay", "arguments": '{"a":1}'}, "pay", {"a": 1}),
        ({"type": "of_the_future_call", "do": 1}, "of_the_future", {"do": 1}),
    ],
)  # fmt: skip
def test_whatever_the_caller_is_to_carry_out_is_a_call(
    fields: dict[str, Any], name: str, arguments: dict[str, Any]
) -> None:
    found = item(**fields)
    assert [(tool.name, tool.arguments) for tool in found.tools] == [(name, arguments)]
    found.decide([Verdict(arguments=dict.fromkeys(arguments, "changed"))])
    assert Answer(Wire.RESPONSES, found.content()).tools[0].arguments in (
        dict.fromkeys(arguments, "changed"),
        {"input": "changed"},
    )


@pytest.mark.parametrize("kind", ["reasoning", "web_search_call", "function_call_output", "mcp_call"])
def test_what_the_provider_ran_itself_is_no_call(kind: str) -> None:
    assert item(type=kind).tools == []


@pytest.mark.parametrize(("kind", "is_call"), [("tool_use", True), ("server_tool_use", False), ("mcp_tool_use", False), ("new_tool_use", True)])  # fmt: skip
def test_blocks_that_the_caller_carries_out_are_calls(kind: str, is_call: bool) -> None:  # noqa: FBT001 - a table
    content = json.dumps({"content": [{"type": kind, "id": "t", "name": "n", "input": {}}]}).encode()
    assert bool(Answer(Wire.MESSAGES, content).tools) is is_call


def test_older_function_calls_are_calls() -> None:
    message = {"role": "assistant", "content": None, "function_call": {"name": "old", "arguments": "{}"}}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "function_call"}]}
    found = Answer(Wire.CHAT, json.dumps(body).encode())
    assert [tool.name for tool in found.tools] == ["old"]
    found.decide([Verdict(refusal="[no]")])
    choice = json.loads(found.content())["choices"][0]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "[no]"},
        "finish_reason": "stop",
    }
