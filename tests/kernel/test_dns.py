from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.kernel._dns import parse_dns

QUESTION = bytes.fromhex("0001010000010000000000000361504904746573740000010001")
ANSWER = bytes.fromhex(
    "000181800001000300000000046d61696c04746573740000010001"
    "c00c00050001000000050006036d7831c011"  # CNAME mx1.test
    "c02700010001000000050004c0000201"  # A 192.0.2.1
    "c027001c000100000005001020010db8000000000000000000000001"  # AAAA
)


def test_question_has_its_name_in_lower_case() -> None:
    message = parse_dns(QUESTION)
    assert message is not None
    assert (message.name, message.type, message.is_answer, message.addresses) == ("api.test", "A", False, ())


def test_answer_has_the_addresses_behind_aliases() -> None:
    message = parse_dns(ANSWER)
    assert message is not None
    assert (message.name, message.is_answer) == ("mail.test", True)
    assert message.addresses == ("192.0.2.1", "2001:db8::1")


def test_answer_that_was_cut_says_what_it_says_until_there() -> None:
    message = parse_dns(ANSWER[:-5])
    assert message is not None
    assert message.addresses == ("192.0.2.1",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        b"\0" * 12,
        QUESTION[:14],
        QUESTION[:12] + b"\xc0\x0c\x00\x01\x00\x01",
        QUESTION[:12] + b"\x41a",
    ],
    ids=["empty", "short", "no question", "cut name", "a name that points at itself", "a label of 65"],
)
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert parse_dns(data) is None


@given(st.binary(max_size=600) | st.binary(max_size=200).map(lambda tail: ANSWER[:20] + tail))
def test_hostile_bytes_never_raise(data: bytes) -> None:
    message = parse_dns(data)
    assert message is None or len(message.name) <= 1012
