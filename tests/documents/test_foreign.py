from __future__ import annotations

import pytest

from agentguard.core import DocumentError
from agentguard.documents import parse_foreign


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ("200: {a: 22:00}\nno: 0777\nb: 1_0", {"200": {"a": "22:00"}, "no": "0777", "b": "1_0"}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: 1.0.0\nb: 1e3", {"a": "1.0.0", "b": "1e3"}),
        ("", None),
        ("  [1]", [1]),
    ],
)
def test_what_programs_write_is_read(text: str, value: object) -> None:
    assert parse_foreign(text, file="x") == value


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "a: [",
        "a: &x 1\nb: *x",
        "a: 1\na: 2",
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        "- " * 200 + "x",
        "{a: !x y",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        parse_foreign(text, file="x")
