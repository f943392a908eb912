"""Streams of all three wires: what nobody changes goes out byte for byte, and no call before its verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_upstream_wire as wire
from agentguard.llm import PASS, AnswerStream, ToolCall, UnreadableError, Verdict, Wire
from llm_upstream_wire import Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EVENTS = {
    Wire.CHAT: wire.chat_events,
    Wire.RESPONSES: wire.response_events,
    Wire.MESSAGES: wire.message_events,
}
TWO = Reply(tools=(ToolUse("first", {"x": 1}), ToolUse("second", {"y": "long enough to be cut"})))
NO = Verdict(refusal="[no first]")
every_wire = pytest.mark.parametrize("kind", list(EVENTS), ids=lambda kind: kind.value)


def stream_of(kind: Wire, reply: Reply) -> bytes:
    return b"".join(EVENTS[kind]({"model": "m"}, reply))


def through(stream: AnswerStream, raw: bytes, verdict: Callable[[ToolCall], Verdict], size: int = 7) -> bytes:
    out = b""
    for start in range(0, len(raw), size):
        out += stream.feed(raw[start : start + size])
        while stream.pending:
            out += stream.decide([verdict(tool) for tool in stream.pending])
    while True:
        out += stream.finish()
        if not stream.pending:
            return out
        out += stream.decide([verdict(tool) for tool in stream.pending])


def events_of(raw: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def by_name(verdicts: Mapping[str, Verdict]) -> Callable[[ToolCall], Verdict]:
    return lambda tool: verdicts.get(tool.name, PASS)


@every_wire
@settings(deadline=None)
@given(
    text=st.text(max_size=30),
    arguments=st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20)), max_size=3
    ),
    piece=st.integers(1, 9),
    size=st.integers(1, 400),
    window=st.sampled_from([0, 10, None]),
)
def test_what_nobody_changes_goes_out_byte_for_byte(  # noqa: PLR0917 - hypothesis fills them in
    kind: Wire, text: str, arguments: list[dict[str, Any]], piece: int, size: int, window: int | None
) -> None:
    tools = tuple(ToolUse(f"tool{number}", given) for number, given in enumerate(arguments))
    raw = stream_of(kind, Reply(text=text, tools=tools, piece=piece))
    seen: list[ToolCall] = []

    def verdict(tool: ToolCall) -> Verdict:
        seen.append(tool)
        return PASS

    stream = AnswerStream(kind, window=window)
    assert through(stream, raw, verdict, size) == raw
    assert [tool.arguments for tool in seen] == arguments
    assert "".join(stream.texts()) == text
    assert stream.is_complete


@every_wire
def test_no_byte_of_a_call_leaves_before_its_verdict(kind: Wire) -> None:
    raw = stream_of(kind, TWO)
    stream, out = AnswerStream(kind), b""
    for start in range(0, len(raw), 7):
        out += stream.feed(raw[start : start + 7])
        if stream.pending:
            break
    assert stream.pending[0] == ToolCall("call_" + "0" * 24, "first", {"x": 1})
    assert b"first" not in out
    assert b"x\\" not in out
    # Nothing moves meanwhile, whatever comes.
    assert stream.feed(raw[start + 7 :]) == b""


@every_wire
def test_a_refused_call_becomes_a_text_and_the_other_one_stays(kind: Wire) -> None:
    out = through(AnswerStream(kind), stream_of(kind, TWO), by_name({"first": NO}))
    assert b"[no first]" in out
    assert b'"first"' not in out
    assert b'"second"' in out
    assert (
        json.dumps("long enough to be cut")[1:-1].encode() in out.replace(b"\\", b"") or kind is Wire.MESSAGES
    )


def test_the_chat_calls_that_are_left_are_numbered_anew() -> None:
    out = through(AnswerStream(Wire.CHAT), stream_of(Wire.CHAT, TWO), by_name({"first": NO}))
    calls = [
        call
        for event in events_of(out)
        for choice in event["choices"]
        for call in choice["delta"].get("tool_calls", [])
    ]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "second")]
    assert events_of(out)[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("kind", "where", "ends"),
    [
        (Wire.CHAT, lambda event: event["choices"][0]["finish_reason"], "stop"),
        (Wire.MESSAGES, lambda event: event.get("delta", {}).get("stop_reason"), "end_turn"),
    ],
)
def test_an_answer_whose_calls_are_all_refused_ends_as_one_without(
    kind: Wire, where: Callable[[dict[str, Any]], Any], ends: str
) -> None:
    out = through(AnswerStream(kind), stream_of(kind, TWO), by_name({"first": NO, "second": NO}))
    assert [found for event in events_of(out) if (found := where(event))] == [ends]


def test_events_of_a_response_stay_numbered_and_the_last_one_agrees() -> None:
    out = through(AnswerStream(Wire.RESPONSES), stream_of(Wire.RESPONSES, TWO), by_name({"first": NO}))
    events = events_of(out)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "message", "function_call"]
    assert output[1]["content"][0]["text"] == "[no first]"


def test_a_response_that_announces_no_items_is_decided_at_its_end() -> None:
    last = stream_of(Wire.RESPONSES, TWO).split(b"\n\n")[-2] + b"\n\n"
    stream = AnswerStream(Wire.RESPONSES)
    assert stream.feed(last) == b""
    assert [tool.name for tool in stream.pending] == ["first", "second"]
    out = stream.decide([NO, PASS]) + stream.finish()
    assert b'"first"' not in out
    assert b'"second"' in out


@every_wire
def test_other_arguments_reach_the_caller_in_place_of_the_proposed_ones(kind: Wire) -> None:
    changed = by_name({"second": Verdict(arguments={"safe": True})})
    out = through(AnswerStream(kind), stream_of(kind, TWO), changed)
    assert b'{\\"safe\\":true}' in out
    assert b"long enough" not in out


@every_wire
def test_a_window_holds_back_the_newest_characters(kind: Wire) -> None:
    reply = Reply(text="0123456789" * 3, piece=1)
    raw = stream_of(kind, reply)
    stream = AnswerStream(kind, window=10)
    cut = raw.rindex(b'"9"') + 40
    out = stream.feed(raw[:cut])
    said = stream.texts()[0]
    shown = AnswerStream(kind)
    shown.feed(out)
    assert len(said) - len("".join(shown.texts())) == 10


@every_wire
def test_texts_are_edited_as_a_whole_wherever_they_were_cut(kind: Wire) -> None:
    reply = Reply(text="call 555-1234 now", piece=2)
    stream = AnswerStream(kind, edit=lambda text: text.replace("555-1234", "[masked]"))
    out = through(stream, stream_of(kind, reply), by_name({}))
    assert b"555" not in out
    shown = AnswerStream(kind)
    shown.feed(out)
    assert shown.texts() == ["call [masked] now"]


@every_wire
@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: [1]\n\n", b"data: \xff\n\n"])
def test_an_event_that_nobody_can_read_ends_the_stream(kind: Wire, data: bytes) -> None:
    with pytest.raises(UnreadableError):
        AnswerStream(kind).feed(data)


@every_wire
def test_a_call_that_was_cut_off_is_never_shown(kind: Wire) -> None:
    raw = stream_of(kind, TWO)
    stream = AnswerStream(kind)
    out = stream.feed(raw[: raw.index(b"second")])
    while stream.pending:
        out += stream.decide([NO for _ in stream.pending])
    while True:
        out += stream.finish()
        if not stream.pending:
            break
        out += stream.decide([NO for _ in stream.pending])
    assert b"second" not in out
    assert b'"first"' not in out


def test_more_than_there_is_room_for_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.llm._stream.MAX_HELD_BYTES", 2_000)
    stream = AnswerStream(Wire.CHAT)
    with pytest.raises(UnreadableError, match="room"):
        stream.feed(stream_of(Wire.CHAT, Reply(tools=(ToolUse("big", {"x": "y" * 5_000}),))))


def test_comments_and_empty_events_pass() -> None:
    raw = b": keep alive\n\n" + stream_of(Wire.CHAT, Reply())
    assert through(AnswerStream(Wire.CHAT), raw, by_name({})) == raw


def test_the_usage_that_nobody_asked_for_is_kept_back() -> None:
    asked = {"model": "m", "stream_options": {"include_usage": True}}
    raw = b"".join(wire.chat_events(asked, Reply()))
    seen: list[dict[str, Any]] = []
    out = through(AnswerStream(Wire.CHAT, on_event=seen.append, drop_usage=True), raw, by_name({}))
    assert seen[-1]["usage"]["total_tokens"] == 21
    assert all(not event.get("usage") for event in events_of(out))


def test_older_function_calls_and_custom_tools_are_calls_too() -> None:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"

    custom = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": "drop"}}
    raw = (
        chunk({"function_call": {"name": "old", "arguments": '{"a"'}})
        + chunk({"function_call": {"arguments": ":1}"}})
        + chunk({"tool_calls": [custom]})
        + chunk({}, "tool_calls")
    )
    stream = AnswerStream(Wire.CHAT)
    assert stream.feed(raw) == b""
    assert [(tool.name, tool.arguments) for tool in stream.pending] == [
        ("old", {"a": 1}),
        ("sql", {"input": "drop"}),
    ]
    out = stream.decide([PASS, Verdict(arguments={"input": "select"})])
    assert b'"input":"select"' in out
    assert b'"function_call":{"name":"old"' in out
