"""The user's words: what they name, and what they hand over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.intent._forms import key_of
from agentguard.intent._words import MAX_PROMPT, Words

PROMPT = (
    "Hi, I'm Emma Johnson, my email is emma@corp.example. Send 'summary of Q2' to Bob Smith and to our accountant,"
    " pay $1,200.50 to DE44 5001 0517 5407 3249 31 on May 15th and look at www.shop.example."
)


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(PROMPT)


@pytest.mark.parametrize(
    "value",
    [
        "bob",
        "Bob Smith",
        "summary of q2",
        "emma@corp.example",
        1200.5,
        "DE44500105175407324931",
        "http://shop.example/",
        "accountant",
    ],
)
def test_what_the_user_said_is_his(words: Words, value: object) -> None:
    assert words.says(key_of(value)) is not None


@pytest.mark.parametrize(
    "value", ["smith@corp.example", "Bob Smithson", "bob@corp.example", "and", "to", "corp.example"]
)
def test_what_only_contains_his_words_is_not(words: Words, value: str) -> None:
    assert words.says(key_of(value)) is None


def test_names_are_what_is_written_as_one_or_where_a_person_stands(words: Words) -> None:
    assert {"bob", "smith", "accountant", "emma@corp.example"} <= words.names
    assert not words.names & {"send", "pay", "look"}


def test_user_says_who_he_is(words: Words) -> None:
    assert {"emma johnson", "emma@corp.example"} <= words.me


def test_addresses_that_are_spelt_out_are_known_by_shape(words: Words) -> None:
    assert words.endpoints == {"mail", "account", "url"}


@pytest.mark.parametrize(
    "value", ["b\u043eb smith", "emma@c0rp.example", "ernma@corp.example", "ema@corp.example"]
)
def test_look_alikes_are_told(words: Words, value: str) -> None:
    assert words.looks_like(key_of(value)) is not None


@pytest.mark.parametrize("value", ["bob smith", "frank@client.example", "x"])
def test_others_are_no_look_alikes(words: Words, value: str) -> None:
    assert words.looks_like(key_of(value)) is None


def test_hits_are_words_and_dates(words: Words) -> None:
    assert words.hits("Smith, Bob", key_of("Smith, Bob")) == {"smith", "bob"}
    assert words.hits("2026-05-15 10:00", key_of("2026-05-15 10:00")) >= {"date:05-15"}
    assert words.hits("nothing", "nothing") == frozenset()


def test_name_hit_is_the_whole_or_a_part_of_a_name(words: Words) -> None:
    assert words.name_hit("bob smith") == "bob smith"
    assert words.name_hit("bob ray") == "bob"
    assert words.name_hit("a list of all that bob did") is None


def test_numbers_in_words_are_numbers() -> None:
    assert Words("Order two of them").says("2") is not None


def test_hosts_of_addresses_pick_nothing_out() -> None:
    assert "corp" not in Words("Send it to bob@corp.example").content


@given(st.text(max_size=500))
def test_any_prompt_is_read(prompt: str) -> None:
    words = Words(prompt)
    for key in list(words.phrases)[:20]:
        assert words.says(key) is not None
        assert words.looks_like(key) is None


def test_long_prompt_is_bounded() -> None:
    words = Words("word " * MAX_PROMPT)
    assert len(words.phrases) < 40_000


@pytest.mark.parametrize(
    ("prompt", "whom"),
    [
        ("Mail Samir Aziz the address of our house rules.", {"samir", "aziz"}),
        ("Send the booking to my sister Selin, her address is in my messages.", {"selin"}),
        ("Read what Samir Aziz wrote.", set()),
    ],
)
def test_the_names_to_whom_something_goes(prompt: str, whom: set[str]) -> None:
    assert Words(prompt).whom == whom


def test_what_is_counted_and_what_begins_a_sentence_picks_nothing_out() -> None:
    words = Words("Cancel the room for 4 nights, and two Izvor bottles.")
    assert "nights" not in words.content
    assert "cancel" not in words.content
    assert "izvor" in words.content


def test_a_word_with_the_users_stem_is_led_by_his_words() -> None:
    words = Words("Have the plumber with the lowest rate come at 9.")
    assert words.has_stem("plumbing")
    assert words.has_stem("plumber")
    assert not words.has_stem("plums")
    assert not words.has_stem("cleaning")


@pytest.mark.parametrize(
    ("prompt", "many"), [("Drop it, I don't need it any more.", False), ("Drop all of it.", True)]
)
def test_one_thing_or_many(prompt: str, many: bool) -> None:  # noqa: FBT001 - a case
    assert Words(prompt).many is many
