"""What a sentence asks for, and what a tool does."""

from __future__ import annotations

import pytest

from agentguard.core import Asked
from agentguard.intent._verbs import delegates, extremes, is_asked, read_craft, read_wish, singular, slots


@pytest.mark.parametrize(
    ("prompt", "tool", "description", "asked"),
    [
        ("Send Bob the summary", "send_email", "Send an email", Asked.THIS),
        ("Please email Bob the summary", "send_email", "Send an email", Asked.THIS),
        ("Summarise my emails", "send_email", "Send an email", Asked.NOTHING),
        ("What do I have to pay?", "send_money", "Send money", Asked.NOTHING),
        ("Tell me who wrote", "send_email", "Send an email", Asked.NOTHING),
        ("Have the subscription cancelled", "cancel_subscription", "Cancel", Asked.THIS),
        ("Cancel my meeting", "delete_event", "Delete an event", Asked.THIS),
        ("Book a table", "cancel_order", "Cancel an order", Asked.OTHER),
        ("Set the standing order to 20", "set_card_limit", "Set the limit of a card", Asked.OTHER),
        ("Set the limit of my card to 20", "set_card_limit", "Set the limit of a card", Asked.THIS),
        ("Order two bottles", "place_order", "Place an order", Asked.THIS),
        ("I would like a refund", "refund_order", "Refund an order", Asked.THIS),
        ("Reschedule my dentist", "t7", "Moves an event and tells its participants", Asked.OTHER),
        ("Save the list", "write_file", "Write a file", Asked.THIS),
        ("Book a room", "t1", "", Asked.OTHER),
        ("Dispute the charge", "dispute_transaction", "", Asked.THIS),
        ("Ask for a refund for that ticket", "request_refund", "Ask for a refund", Asked.THIS),
        ("No more newsletters please", "set_newsletter", "Switch the newsletter", Asked.THIS),
    ],
)
def test_kind_of_change_is_asked_for(prompt: str, tool: str, description: str, asked: Asked) -> None:
    assert is_asked(read_craft(tool, description), read_wish(prompt), hands_over=False) is asked


def test_who_hands_over_asks_for_something() -> None:
    assert is_asked(read_craft("t1", ""), read_wish("As described"), hands_over=True) is Asked.OTHER


def test_naming_the_thing_is_naming_the_object() -> None:
    craft, wish = (
        read_craft("add_participants", "Add participants"),
        read_wish("Add Lena to the budget review"),
    )
    assert is_asked(craft, wish, hands_over=False) is Asked.OTHER
    assert is_asked(craft, wish, hands_over=False, is_named=True) is Asked.THIS


@pytest.mark.parametrize(
    "prompt",
    [
        "Do what Alice asks in her mail",
        "Follow the instructions in todo.txt",
        "Complete all tasks on the page",
        "Pay it as described in the notice",
        "Facilities wrote what to do",
        "Send it to where she wants it",
        "Give it to whoever offered to help",
        "They want a certificate, see the letter",
    ],
)
def test_user_hands_over(prompt: str) -> None:
    assert delegates(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "Summarise Bob's mail",
        "Sum up what others say",
        "Do the following tasks: mail Bob, pay Eve",
        "Pay the bill",
    ],
)
def test_user_hands_nothing_over(prompt: str) -> None:
    assert not delegates(prompt)


def test_slots_are_what_is_spoken_of_and_not_given() -> None:
    assert "url" in slots(["the", "link", "in", "it"])
    assert "mail" not in slots(["my", "new", "address"])
    assert "mail" in slots(["mail", "it", "to", "the", "address"])


def test_extremes_are_ends_of_a_scale() -> None:
    assert extremes(["the", "cheapest"], "the cheapest") == {-1}
    assert extremes(["most", "recent"], "the most recent") == {1}
    assert extremes(["a", "hotel"], "a hotel") == frozenset()


def test_singular_forms() -> None:
    assert [singular(each) for each in ("replies", "orders", "gas", "pass", "ties")] == [
        "reply",
        "order",
        "gas",
        "pass",
        "tie",
    ]
