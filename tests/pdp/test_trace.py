from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import DocumentError
from agentguard.pdp import read_trace
from agentguard.pdp._trace import Back, Call, Opening

CALL = {"tool": "t", "args": {"a": 1}}


def events(*lines: Any) -> list[Any]:
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    return list(read_trace(text, file="t.jsonl"))


def test_own_lines_are_read() -> None:
    assert events(
        {"intent": "Do it", "tools": [], "principal": "p", "subject": "s"},
        "",
        {**CALL, "id": "1"},
        {"id": "1", "result": [1]},
        {**CALL, "result": None, "error": "no"},
    ) == [
        Opening(1, "Do it", [], "p", ("s",)),
        Call(3, "t", {"a": 1}, "1"),
        Back(4, "1", [1]),
        Call(5, "t", {"a": 1}),
        Back(5, "", None, "no"),
    ]


def test_openai_messages_are_read() -> None:
    function = {"name": "t", "arguments": '{"a": 1}'}
    assert events(
        {"role": "system", "content": "Be good"},
        {"role": "user", "content": "Do it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "tool_call_id": "1",
            "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}],
        },
        {"role": "assistant", "content": "Done"},
    ) == [Opening(2, "Do it", adds=True), Call(3, "t", {"a": 1}, "1"), Back(4, "1", "x\ny")]


def test_openai_items_are_read() -> None:
    assert events(
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Do it"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "1", "name": "t", "arguments": ""},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
    ) == [Opening(1, "Do it", adds=True), Call(3, "t", {}, "1"), Back(4, "1", "x")]


def test_anthropic_messages_are_read() -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "x"}]}
    failed = {"type": "tool_result", "tool_use_id": "2", "content": "no", "is_error": True}
    use = {"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}}
    assert events(
        {"role": "user", "content": "Do it"},
        {"role": "assistant", "content": [{"type": "text", "text": "ok"}, use]},
        {"role": "user", "content": [result, failed, {"type": "text", "text": "and more"}]},
    ) == [
        Opening(1, "Do it", adds=True),
        Call(2, "t", {"a": 1}, "1"),
        Back(3, "1", "x"),
        Back(3, "2", None, "no"),
        Opening(3, "and more", adds=True),
    ]


def test_body_of_a_request_is_read() -> None:
    messages = [
        {"role": "user", "content": "Do it"},
        {"type": "function_call", "name": "t", "arguments": "{}"},
    ]
    found = events({"model": "m", "tools": [1], "messages": messages})
    assert found == [Opening(1, tools=[1]), Opening(1, "Do it", adds=True), Call(1, "t", {})]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "t.jsonl:2: "),
        ("[]", "t.jsonl:2: is no JSON object"),
        ("text", "t.jsonl:2: is no JSON object"),
        ('{"a": 1, "a": 2}', "t.jsonl:2: duplicate key `a`"),
        ({}, "t.jsonl:2: says nothing that is known here"),
        ({"tool": "t", "arg": {}}, "t.jsonl:2: unknown key `arg`"),
        ({"intent": "x", "tool": "t"}, "t.jsonl:2: unknown key `tool`"),
        ({"intent": 3}, "t.jsonl:2: `intent` must be a text"),
        ({"intent": "x", "subject": [3]}, "t.jsonl:2: `subject` must be a text or a list"),
        ({"tool": 3}, "t.jsonl:2: `tool` must be a text"),
        ({"tool": "t", "args": []}, "t.jsonl:2: the arguments are no object"),
        ({"tool": "t", "args": "{"}, "t.jsonl:2: the arguments are no JSON"),
        ({"result": 1, "for": "x"}, "t.jsonl:2: unknown key `for`"),
        ({"error": 3}, "t.jsonl:2: `error` must be a text"),
        ({"role": "judge"}, "t.jsonl:2: is no message that is known here"),
        ({"role": "assistant", "tool_calls": [3]}, "t.jsonl:2: a call of a tool has no `function`"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "t.jsonl:2: a call names no tool"),
        ({"messages": [3]}, "t.jsonl:2: a message is no object"),
        ({"messages": {}}, "t.jsonl:2: `messages` must be a list"),
    ],
)
def test_wrong_line_is_refused_with_its_number(line: Any, error: str) -> None:
    with pytest.raises(DocumentError) as caught:
        events(CALL, line)
    assert str(caught.value).startswith(error)


def test_trace_without_a_call_or_with_too_many_is_refused() -> None:
    with pytest.raises(DocumentError, match="holds no call of a tool"):
        events({"intent": "x"})
    with pytest.raises(DocumentError, match="more than 10000 calls"):
        events(*[CALL] * 10_001)


@given(st.lists(st.dictionaries(st.sampled_from(["role", "type", "content", "tool", "args", "tool_calls", "messages", "intent"]),
                                st.none() | st.text(max_size=5) | st.lists(st.none() | st.dictionaries(st.text(max_size=4), st.none())), max_size=4), max_size=4))  # fmt: skip
def test_any_object_is_read_or_refused(lines: list[Any]) -> None:
    with contextlib.suppress(DocumentError):
        assert Call(1, "t", {"a": 1}) in events(CALL, *lines)
