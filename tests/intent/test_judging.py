"""What a call is taken for, beside the user's words."""

from __future__ import annotations

from typing import Any

import pytest

from agentguard.core import Access, Action, Argument, Asked, OriginKind, Risk, Role
from agentguard.intent._arguments import Shape, Value
from agentguard.intent._judging import asked_by_targets, is_rich, is_spelt_out
from agentguard.intent._verbs import is_asked
from agentguard.intent._words import Words

K = OriginKind


def shape_of(name: str, risk: Risk = Risk.MEDIUM) -> Shape:
    arguments = {"/id": Argument(Role.TARGET, "id")}
    return Shape(Action(name, 1, "", risk=risk, access=Access.WRITE, arguments=arguments))


def asked(prompt: str, shape: Shape, worst: OriginKind, *, reaches_out: bool = False) -> Asked:
    words = Words(prompt)

    def by_words(*, is_named: bool = False) -> Asked:
        return is_asked(shape.craft, words.wish, hands_over=words.hands_over, is_named=is_named)

    if by_words() is not Asked.OTHER:
        return by_words()
    return asked_by_targets(
        shape,
        words,
        lambda: by_words(is_named=True),
        worst=worst,
        is_named=worst is not K.NONE,
        reaches_out=reaches_out,
        is_external=False,
    )


@pytest.mark.parametrize(
    ("prompt", "tool", "worst", "expected"),
    [
        ("Zap the lamp", "switch_device", K.SELECTED, Asked.THIS),
        ("Zap the lamp", "switch_device", K.LISTED, Asked.OTHER),
        ("Zap the lamp and cancel the order", "switch_device", K.SELECTED, Asked.OTHER),
        ("Remind me of it", "add_todo", K.NONE, Asked.THIS),
        ("Remind me of it", "set_privacy", K.NONE, Asked.OTHER),
        ("Which lamps are on?", "switch_device", K.SELECTED, Asked.NOTHING),
    ],
)
def test_a_verb_that_is_unknown_asks_for_what_is_done_to_the_thing_named(
    prompt: str, tool: str, worst: OriginKind, expected: Asked
) -> None:
    assert asked(prompt, shape_of(tool), worst) is expected


def test_nothing_critical_is_asked_for_in_an_unknown_word() -> None:
    assert asked("Zap the lamp", shape_of("wipe_device", Risk.CRITICAL), K.SELECTED) is Asked.OTHER


def test_who_leaves_the_deeds_to_a_text_asks_for_what_goes_to_its_address() -> None:
    shape = shape_of("enter_cup")
    assert asked("Do what Bob asks", shape, K.DELEGATED, reaches_out=True) is Asked.THIS
    assert asked("Do what Bob asks", shape, K.DELEGATED, reaches_out=False) is Asked.OTHER


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("done", False),
        ("x" * 121, True),
        ({"id": 1, "ok": True}, False),
        ({"a": 1, "b": 2, "c": 3, "d": 4}, True),
        ([1, 2, 3, 4], True),
        ({"rows": [1, 2, 3, 4]}, True),
        (None, False),
        (7, False),
    ],
)
def test_a_result_of_several_values_is_what_a_read_gives(value: Any, expected: bool) -> None:  # noqa: FBT001 - a case
    assert is_rich(value) is expected


@pytest.mark.parametrize(
    ("values", "worst", "expected"),
    [
        (["bob"], K.NONE, True),
        (["eve"], K.NONE, False),
        (["2026-05-01"], K.NONE, True),
        ([True], K.NONE, False),
        ([], K.NONE, True),
        (["eve"], K.SELECTED, True),
        (["bob"], K.LISTED, False),
    ],
)
def test_what_is_spelt_out_has_no_other_words_than_the_users(
    values: list[Any],
    worst: OriginKind,
    expected: bool,  # noqa: FBT001 - a case
) -> None:
    called = [Value(f"/{at}", value, Role.PAYLOAD, "text") for at, value in enumerate(values)]
    assert is_spelt_out(called, Words("Look for Bob"), worst) is expected
