"""One form for each value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.intent._forms import (
    atoms_of,
    dates_of,
    form_of,
    is_moment,
    key_of,
    measure_of,
    moments_of,
    shape_of,
    skeleton,
)

SAME = [
    (
        "bob@corp.example",
        "BOB@Corp.example",
        "mailto:bob@corp.example",
        "Bob <bob@corp.example>",
        " bob@corp.example. ",
    ),
    ("https://shop.example/a", "http://www.shop.example/a/", "shop.example/a"),
    ("DE44500105175407324931", "de44 5001 0517 5407 3249 31", "DE44-5001-0517-5407-3249-31"),
    ("+49 (40) 123 456 78", "+49401234567 8", "+49 40 12345678"),
    ("1200.50", "1,200.50", "$1200.5", "1.200,50 EUR", 1200.5),
    ("7", 7, 7.0),
    ("2026-05-03", "2026/5/3", "2026.05.03"),
    ("#general", "general", "“General”", "General,"),
    ("bob", "b\u200bob", "BOB"),
]


@pytest.mark.parametrize("values", SAME, ids=lambda each: str(each[0]))
def test_spellings_of_one_thing_are_one(values: tuple[object, ...]) -> None:
    assert len({key_of(value) for value in values}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob@corp.example", "bob@c0rp.example"),
        ("bob", "b\u043eb"),
        ("007", "7"),
        ("a/b", "ab"),
        ("bob@corp.example", "bob.corp.example"),
        ("https://shop.example/a", "https://shop.example/a?x=1"),
    ],
)
def test_different_things_are_different(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("value", [True, False, None, [], {}])
def test_what_identifies_nothing_has_no_key(value: object) -> None:
    assert key_of(value) == ""


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("bob@corp.example", "mail"),
        ("https://x.example/a?b=c", "url"),
        ("ftp://x.example", "url"),
        ("DE44500105175407324931", "account"),
        ("0xde0b295669a9fd93d5f28d9ec85e40f4cb697bae", "account"),
        ("+4940123456", "account"),
        ("reports/may.pdf", "path"),
        ("notes.txt", "path"),
        ("/etc/passwd", "path"),
        ("W100", "id"),
        ("3f2a-11", "id"),
        ("Roma Inn", "name"),
        ("12.5", "number"),
        ("-3", "number"),
        ("", "name"),
        ("In 2026 you spent 262.80 EUR", "name"),
    ],
)
def test_shape_of_a_value(value: str, shape: str) -> None:
    assert shape_of(key_of(value)) == shape


def test_form_tells_accounts_from_telephones() -> None:
    forms = {form_of(key_of(each)) for each in ("DE44500105175407324931", "0401234567", f"0x{'a1' * 20}")}
    assert forms == {"iban", "digits10", "hex42"}
    assert form_of("bob") == "name"


def test_look_alikes_have_one_skeleton() -> None:
    assert skeleton("b\u043eb@corp.example") == skeleton("b0b@c0rp.exarnple") == skeleton("bob@corp.example")


def test_atoms_of_a_text_are_what_could_be_an_argument() -> None:
    text = "Pay 638,70 EUR to DE44 5001 0517 5407 3249 31, or ask bob@corp.example (see https://x.example/a)."
    assert {"638.7", "de44500105175407324931", "bob@corp.example", "x.example/a"} <= set(atoms_of(text))


@pytest.mark.parametrize(
    "text", ["2026-05-03", "3 May", "May 3rd, 2026", "3rd of may", "03.05.2026", "2026-05-03T10:00"]
)
def test_dates_are_found_in_many_spellings(text: str) -> None:
    assert "date:05-03" in dates_of(text)


def test_a_moment_is_called_by_its_day() -> None:
    assert {"date:05-22", "day:22", "friday"} <= moments_of("2026-05-22 10:00")
    assert moments_of("2026-02-31 10:00") == {"date:02-31", "day:31"}
    assert dates_of("on the 22nd") == {"day:22"}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        ("4.5 stars", 4.5),
        ("$1,200", 1200.0),
        ("from 0.6 km", 0.6),
        ("nice", None),
        (None, None),
        ("9" * 61, None),
    ],
)
def test_measure_of_a_value(value: object, number: float | None) -> None:
    assert measure_of(value) == number


def test_later_dates_measure_more() -> None:
    early, late = measure_of("2026-05-03"), measure_of("2026-05-03 10:00")
    assert early is not None
    assert late is not None
    assert late > early


def test_moments_are_dates_and_times() -> None:
    assert [is_moment(each) for each in ("2026-05-03T10:00", "2026-05-03", "14:30", "x", 3)] == [True] * 3 + [
        False
    ] * 2


@given(st.text(max_size=300))
def test_forms_take_any_text(text: str) -> None:
    key = key_of(text)
    assert key_of(key) == key_of(key_of(key))
    shape_of(key)
    skeleton(key)
    atoms_of(text)
    dates_of(text)
    moments_of(text)
    measure_of(text)
