from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.registry._tool_words import parted, sentences, singular, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sendMailTo", ("send", "mail", "to")),
        ("send-mail_to", ("send", "mail", "to")),
        ("HTTPServerURLs", ("http", "server", "url")),
        ("getUserByID2", ("get", "user", "by", "id", "2")),
        ("repos/list.files", ("repo", "list", "file")),
        ("addresses", ("address",)),
        ("status", ("status",)),
        ("送信", ("送信",)),
        ("", ()),
        ("___", ()),
    ],
)
def test_name_is_taken_apart(name: str, expected: tuple[str, ...]) -> None:
    assert words(name) == expected


def test_only_the_beginning_of_a_text_counts() -> None:
    assert len(words("a " * 10_000)) == 300
    assert len(sentences("stop. " * 10_000)) == 100


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("replies", "reply"),
        ("boxes", "box"),
        ("ties", "tie"),
        ("glass", "glass"),
        ("is", "is"),
        ("dns", "dns"),
    ],
)
def test_plural_becomes_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_two_words_without_a_gap_are_found() -> None:
    verbs, things = frozenset(("send", "get")), frozenset(("mail", "user"))
    assert parted("sendmails", verbs, things) == ("send", "mail")
    assert parted("sendings", verbs, things) == ("sendings",)
    assert parted("ab", verbs, things) == ("ab",)


@given(st.text(max_size=50))
def test_words_are_lower_case_and_not_empty(text: str) -> None:
    assert all((word and word == word.lower()) or not word.isascii() for word in words(text))
