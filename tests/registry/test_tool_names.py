from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import RegistryError
from agentguard.registry._tool_names import MAX_NAME, action_names, is_action_name, shown


@pytest.mark.parametrize(
    ("tool", "action"),
    [
        ("send_email", "send_email"),
        ("mail.send", "mail.send"),
        ("sendEmail", "send-email"),
        ("HTTPRequest", "http-request"),
        ("Send Email!", "send-email"),
        ("__send__", "send"),
        ("a--b", "a-b"),
        ("2fa", "tool-2fa"),
        ("mail.send@2", "mail.send-2"),
    ],
)
def test_tool_gets_a_name_that_an_action_can_have(tool: str, action: str) -> None:
    assert action_names([tool]) == [action]


@pytest.mark.parametrize("tool", ["送信", "", "!!!", "x" * 500, "ÄÖ"])
def test_name_that_leaves_nothing_ends_in_its_digest(tool: str) -> None:
    (name,) = action_names([tool])
    assert is_action_name(name)
    assert len(name.rpartition("-")[2]) == 6


def test_names_that_meet_stay_apart_in_any_order() -> None:
    tools = ["sendEmail", "send-email", "SendEmail"]
    expected = dict(zip(tools, action_names(tools), strict=True))
    assert expected["send-email"] == "send-email"
    assert len(set(expected.values())) == 3
    for order in itertools.permutations(tools):
        assert dict(zip(order, action_names(order), strict=True)) == expected


def test_tool_that_stands_twice_is_refused() -> None:
    with pytest.raises(RegistryError, match=r"the tool `a\?b` stands twice"):
        action_names(["a`b", "c", "a`b"])


def test_long_name_is_shown_short() -> None:
    assert len(shown("x" * 1000)) == MAX_NAME + 1


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_every_tool_gets_a_name_of_its_own(tools: list[str]) -> None:
    names = action_names(tools)
    assert len(set(names)) == len(tools)
    assert all(is_action_name(name) for name in names)
