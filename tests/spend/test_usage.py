from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Usage
from agentguard.spend import Api, Report, StreamUsage, read_report

CHAT = {
    "model": "gpt-4o-audio-preview",
    "service_tier": "default",
    "usage": {
        "prompt_tokens": 2006,
        "completion_tokens": 300,
        "total_tokens": 2306,
        "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 40},
        "completion_tokens_details": {
            "reasoning_tokens": 192,
            "audio_tokens": 8,
            "accepted_prediction_tokens": 0,
        },
    },
}
RESPONSES = {
    "model": "gpt-5.5-2026-04-23",
    "service_tier": "flex",
    "output": [{"type": "web_search_call"}, {"type": "message"}, {"type": "file_search_call"}],
    "usage": {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 52,
        "output_tokens_details": {"reasoning_tokens": 11},
        "total_tokens": 380,
    },
}
EMBEDDINGS = {"model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8}}
MESSAGES = {
    "model": "claude-opus-4-5-20251101",
    "usage": {
        "input_tokens": 21,
        "cache_creation_input_tokens": 188_086,
        "cache_read_input_tokens": 1_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 88_086, "ephemeral_1h_input_tokens": 100_000},
        "output_tokens": 393,
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "standard",
    },
}


def reported(stream: StreamUsage) -> Report | None:
    return stream.report


@pytest.mark.parametrize(
    ("api", "body", "report"),
    [
        (
            Api.CHAT,
            CHAT,
            Report(
                Usage(
                    input_tokens=2006,
                    cache_read_tokens=1920,
                    input_audio_tokens=40,
                    output_tokens=300,
                    output_reasoning_tokens=192,
                    output_audio_tokens=8,
                ),
                "gpt-4o-audio-preview",
            ),
        ),
        (
            Api.RESPONSES,
            RESPONSES,
            Report(
                Usage(
                    input_tokens=328,
                    cache_read_tokens=20,
                    output_tokens=52,
                    output_reasoning_tokens=11,
                    web_searches=1,
                    file_searches=1,
                ),
                "gpt-5.5-2026-04-23",
                "flex",
            ),
        ),
        (Api.EMBEDDINGS, EMBEDDINGS, Report(Usage(input_tokens=8), "text-embedding-3-small")),
        (
            Api.MESSAGES,
            MESSAGES,
            Report(
                Usage(
                    input_tokens=189_107,
                    cache_read_tokens=1_000,
                    cache_write_tokens=188_086,
                    cache_write_1h_tokens=100_000,
                    output_tokens=393,
                    web_searches=2,
                ),
                "claude-opus-4-5-20251101",
            ),
        ),
        (
            Api.MESSAGES,
            {"usage": {"input_tokens": 1, "speed": "fast"}},
            Report(Usage(input_tokens=1), "", "fast"),
        ),
        (
            Api.CHAT,
            {"usage": {"prompt_tokens": 1, "prompt_tokens_details": None}},
            Report(Usage(input_tokens=1)),
        ),
    ],
)
def test_a_report_is_read_as_the_provider_means_it(api: Api, body: Any, report: Report) -> None:
    assert read_report(api, body) == report


@pytest.mark.parametrize("value", [-1, 2**41, 1.5, True, "7", None, [], {}])
@pytest.mark.parametrize("api", list(Api))
def test_a_report_whose_count_is_none_is_no_report(api: Api, value: Any) -> None:
    name = "prompt_tokens" if api in (Api.CHAT, Api.EMBEDDINGS) else "input_tokens"
    assert read_report(api, {"usage": {name: value}}) is None


@pytest.mark.parametrize("body", [None, [], "x", {}, {"usage": None}, {"usage": []}, {"usage": {}}])
def test_an_answer_without_a_report_has_none(body: Any) -> None:
    assert all(read_report(api, body) is None for api in Api)


def test_a_chat_stream_is_reported_by_its_last_chunk() -> None:
    stream = StreamUsage(Api.CHAT)
    for text in ("Hel", "lo"):
        stream.feed(
            {"model": "gpt-4o", "choices": [{"delta": {"role": "assistant", "content": text}}], "usage": None}
        )
    assert reported(stream) is None
    assert stream.output_bytes == 5
    cut = stream.so_far(input_tokens=100)
    assert (cut.usage, cut.model) == (Usage(input_tokens=100, output_tokens=2), "gpt-4o")
    stream.feed({"model": "gpt-4o", "choices": [], "usage": CHAT["usage"]})
    assert stream.report is not None
    assert stream.report.usage.input_tokens == 2006
    assert stream.so_far(input_tokens=100) == stream.report


def test_arguments_of_tool_calls_in_a_stream_are_answer_too() -> None:
    stream = StreamUsage(Api.CHAT)
    call = {"index": 0, "function": {"arguments": '{"path":'}}
    stream.feed({"choices": [{"delta": {"tool_calls": [call]}}]})
    assert stream.output_bytes == 8


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_responses_stream_is_reported_by_its_end(kind: str) -> None:
    stream = StreamUsage(Api.RESPONSES)
    stream.feed({"type": "response.created", "response": {"model": "gpt-5.5", "usage": None}})
    stream.feed({"type": "response.output_text.delta", "delta": "héllo"})
    assert (reported(stream), stream.output_bytes) == (None, 6)
    stream.feed({"type": kind, "response": RESPONSES})
    assert reported(stream) == read_report(Api.RESPONSES, RESPONSES)


def test_a_messages_stream_adds_its_end_to_its_start() -> None:
    stream = StreamUsage(Api.MESSAGES)
    start = {**MESSAGES["usage"], "output_tokens": 1}  # type: ignore[dict-item]  # a mapping of a mapping
    stream.feed({"type": "message_start", "message": {"model": "claude-opus-4-5", "usage": start}})
    stream.feed({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x" * 30}})
    assert reported(stream) is None
    cut = stream.so_far(input_tokens=5)
    assert (cut.usage.input_tokens, cut.usage.output_tokens) == (189_107, 10)
    stream.feed(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 393}}
    )
    assert stream.report is not None
    assert stream.report.usage.output_tokens == 393
    assert stream.report.usage.cache_write_1h_tokens == 100_000


def test_a_stream_that_reports_nonsense_is_estimated() -> None:
    stream = StreamUsage(Api.MESSAGES)
    stream.feed({"type": "message_start", "message": {"usage": {"input_tokens": "many"}}})
    stream.feed({"type": "message_delta", "delta": {}, "usage": {"output_tokens": -3}})
    assert reported(stream) is None
    assert stream.so_far(input_tokens=7).usage == Usage(input_tokens=7, output_tokens=0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["usage", "type", "delta", "message", "response", "choices", "input_tokens", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(events=st.lists(_JSON, max_size=6), api=st.sampled_from(list(Api)))
def test_no_event_stops_the_count_and_none_makes_it_negative(events: list[Any], api: Api) -> None:
    stream = StreamUsage(api)
    for event in events:
        stream.feed(event)
    usage = stream.so_far(input_tokens=3).usage
    assert min(usage.input_tokens, usage.output_tokens, stream.output_bytes) >= 0


@pytest.mark.parametrize(("given", "beyond"), [(160, False), (161, True)])
def test_a_stream_that_goes_on_is_beyond_its_reservation_whatever_it_reports(
    given: int, *, beyond: bool
) -> None:
    stream = StreamUsage(Api.CHAT)
    stream.feed({"choices": [{"delta": {"content": "x" * given}}]})
    assert stream.exceeds(10) is beyond


def test_a_stream_is_beyond_its_reservation_when_it_says_so() -> None:
    stream = StreamUsage(Api.CHAT)
    stream.feed({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 11}})
    assert stream.exceeds(10)
    assert not stream.exceeds(11)
