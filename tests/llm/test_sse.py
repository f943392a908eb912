from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.llm import SseSplitter

LINE_ENDS = ("\n", "\r\n", "\r")


@pytest.mark.parametrize("end", LINE_ENDS)
def test_events_are_cut_at_empty_lines_whatever_ends_a_line(end: str) -> None:
    raw = f"event: a{end}data: 1{end}{end}data: 2{end}data:3{end}{end}".encode()
    splitter = SseSplitter(1_000)
    events = splitter.feed(raw) + splitter.finish()
    assert [event.data for event in events] == [b"1", b"2\n3"]
    assert b"".join(event.raw for event in events) == raw


@given(
    st.lists(st.sampled_from(["data: x", "data:y", ": note", "event: z", "data", "id: 1", ""]), max_size=12),
    st.sampled_from(LINE_ENDS),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_cut_anywhere_no_byte_is_lost_and_the_events_are_the_same(
    lines: list[str], end: str, sizes: list[int]
) -> None:
    raw = end.join([*lines, ""]).encode()
    whole, pieces = SseSplitter(1_000), SseSplitter(1_000)
    expected = [event.data for event in whole.feed(raw) + whole.finish()]
    events, at, turn = [], 0, 0
    while at < len(raw):
        events += pieces.feed(raw[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    events += pieces.finish()
    assert b"".join(event.raw for event in events) == raw
    assert [event.data for event in events if event.data] == [data for data in expected if data]


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(OverflowError, match="too large"):
        SseSplitter(100).feed(b"data: " + b"x" * 200)
