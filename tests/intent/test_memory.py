"""What a session finds by an index is what a search of all that it remembers would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentguard.intent._forms import key_of
from agentguard.intent._memory import Memory
from agentguard.intent._words import Words

_PIECES = ("a1", "b_c", "foo", "x-y", "42", "bob@x.org", "é2", "ß", "1.5", "tab/le", "#z", "ÀB", "_q_")
_FILL = " and then some more words, so that it is a text and no field, which takes sixteen of them or more in one line"


@given(
    st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=8), min_size=1, max_size=6),
    st.sampled_from((" ", "\n", ", ", "_")),
    st.integers(0, 30),
    st.integers(1, 12),
    st.booleans(),
)
def test_texts_that_say_a_value_are_those_that_a_search_finds(
    written: list[list[str]],
    joint: str,
    start: int,
    length: int,
    is_cut: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    memory = Memory(Words("send the report to bob@x.org"), frozenset())
    texts = [joint.join(pieces) + _FILL for pieces in written]
    memory.take(memory.begin("read"), [{"id": f"m{at}", "body": text} for at, text in enumerate(texts)])
    memory.is_cut = is_cut
    records = {each.number: each for each in memory.with_text}
    for key in (key_of(texts[0][start : start + length]), *map(key_of, _PIECES), "absent", "#"):
        found = [number for number in records if number in memory.texts and memory.says(records[number], key)]
        assert [each.number for each in memory.texts_saying(key)] == found
