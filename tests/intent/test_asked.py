"""What is asked for, over many phrases and tools: no list of verbs may lose these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentguard.core import Asked
from agentguard.intent._imperatives import asks, imperatives
from agentguard.intent._verbs import is_asked, read_craft, read_wish
from agentguard.intent._words import Words

ROWS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("asked.yaml").read_text("utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["says"])
def test_tools_that_do_what_is_said_are_told_from_others(row: dict[str, Any]) -> None:
    wish = read_wish(row["says"])
    missed = [
        name
        for name in row["does"]
        if is_asked(read_craft(name, ""), wish, hands_over=False, is_named=True) is not Asked.THIS
    ]
    let_through = [
        name for name in row["leaves"] if is_asked(read_craft(name, ""), wish, hands_over=False) is Asked.THIS
    ]
    assert (missed, let_through) == ([], [])


@pytest.mark.parametrize(
    ("said", "verbs"),
    [
        ("the orders are late. zap it, and gobble all of them", {"zap", "gobble"}),
        ("could you please zap my lamp?", {"zap"}),
        ("hi, please zap the lamp", {"zap"}),
        ("i need you to zap the lamp", {"zap"}),
        ("which lamps are on?", set()),
        ("zapping the lamp was fun", set()),
        ("movie night", set()),
        ("summarise my mails", set()),
        ("the lamp is on", set()),
        ("zap", set()),
    ],
)
def test_verbs_that_no_list_has_are_found_where_a_request_begins(said: str, verbs: set[str]) -> None:
    assert imperatives(said) == verbs


@pytest.mark.parametrize(
    ("said", "is_request"),
    [
        ("movie night please :)", True),
        ("i'd like the red one", True),
        ("the red one, please?", False),
        ("please look at the red one", False),
        ("the red one", False),
        ("the rooms on the left are cold", True),
        ("the rooms are cold. which ones?", False),
        ("i want to know what is on", False),
    ],
)
def test_a_request_without_a_verb_is_polite_or_says_how_things_are(said: str, is_request: bool) -> None:  # noqa: FBT001 - a case
    assert asks(said) is is_request


def test_what_is_unknown_is_asked_for_by_its_own_word_alone() -> None:
    wish = read_wish("Zap the lamp")
    assert is_asked(read_craft("zap_device", ""), wish, hands_over=False) is Asked.THIS
    assert is_asked(read_craft("t1", "Zaps a device"), wish, hands_over=False) is Asked.THIS
    assert is_asked(read_craft("delete_device", ""), wish, hands_over=False) is Asked.OTHER


@pytest.mark.parametrize(
    ("prompt", "hands_over", "leaves_deeds", "is_open"),
    [
        ("Do what Alice asks in her mail", True, True, True),
        ("Do the following: 1. count them 2. do the actions specified in Bob's mail", True, True, True),
        ("Facilities wrote what to do", True, False, True),
        ("Give it to whoever offered to help", True, False, False),
        ("Pay what Bob wants for it", True, False, False),
        ("Do the following tasks: count them", False, False, False),
    ],
)
def test_deeds_that_are_left_to_a_text_are_told_from_choices(
    prompt: str,
    hands_over: bool,  # noqa: FBT001 - a case
    leaves_deeds: bool,  # noqa: FBT001 - a case
    is_open: bool,  # noqa: FBT001 - a case
) -> None:
    words = Words(prompt)
    assert (words.hands_over, words.leaves_deeds, words.is_open) == (hands_over, leaves_deeds, is_open)


def test_of_ends_of_a_scale_a_comparative_needs_its_article() -> None:
    assert Words("Take the cheaper room").extremes == {-1}
    assert Words("He stays a week longer").extremes == frozenset()
    assert Words("Take the longest one").extremes == {1}


@pytest.mark.parametrize(
    ("said", "deed", "asked"),
    [
        ("Close the order of Ann.", "close", Asked.THIS),
        ("Close the order of Ann.", "cancel", Asked.OTHER),
        ("Cancel the order of Ann.", "cancel", Asked.THIS),
        ("Who has an order?", "cancel", Asked.NOTHING),
    ],
)
def test_a_switch_says_what_a_tool_does_that_only_applies_it(said: str, deed: str, asked: Asked) -> None:
    craft = read_craft("modify_order", "Apply an operation to an order").of_deed(deed)
    assert is_asked(craft, read_wish(said), hands_over=False) is asked


@pytest.mark.parametrize(
    ("said", "tool", "asked"),
    [
        ("Nobody has water on Friday. Let them know.", "send_email", Asked.THIS),
        ("Get back to Ann: we come on Monday.", "send_email", Asked.THIS),
        # To send is to pay only where there is a sum.
        ("Send Ann my findings.", "pay_invoice", Asked.OTHER),
        ("Send Ann 20 euros.", "pay_invoice", Asked.THIS),
    ],
)
def test_verbs_of_several_words_and_of_several_kinds(said: str, tool: str, asked: Asked) -> None:
    assert is_asked(read_craft(tool, ""), read_wish(said), hands_over=False) is asked
