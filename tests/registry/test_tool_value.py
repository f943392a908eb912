from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import ARGUMENT_KINDS
from agentguard.registry import target_kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("anna@example.com", "recipient"),
        ("Anna Berg <anna@example.com>", "recipient"),
        ("mailto:anna@example.com", "recipient"),
        ("+41 44 668 18 00", "recipient"),
        ("555-123-4567", "recipient"),
        ("https://example.com/a?b=c", "url"),
        ("www.example.com", "url"),
        ("s3://bucket/key", "url"),
        ("CH93 0076 2011 6238 5295 7", "account"),
        ("GB82WEST12345698765432", "account"),
        ("4111 1111 1111 1111", "account"),
        ("192.0.2.7", "host"),
        ("192.0.2.7:8080", "host"),
        ("2001:db8::1", "host"),
        ("api.example.com", "host"),
        ("/etc/passwd", "path"),
        ("~/notes", "path"),
        ("./a/b", "path"),
        ("C:\\temp\\a.txt", "path"),
        ("src/main", "path"),
        ("report.pdf", "path"),
        ("my report 2024.docx", "path"),
        ("123e4567-e89b-12d3-a456-426614174000", "id"),
        ("INV-2041", "id"),
        ("user_42", "id"),
        ("#general", "id"),
        ("@anna", "id"),
        ("9f8e7d6c5b4a39281706", "id"),
        (" anna@example.com ", "recipient"),
        ("2026-01-31", None),
        ("2026-01-31T12:30:00Z", None),
        ("12:30", None),
        ("31.01.2026", None),
        ("42", None),
        ("-3.5", None),
        ("20%", None),
        ("hello", None),
        ("Hello Bob", None),
        ("Please send it to anna@example.com today", None),
        ("Dear all,\nthe report is in /tmp.\nBye", None),
        ("see the notes that I wrote about it for you all in report.pdf", None),
        ("", None),
        ("x", None),
        (42, None),
        (None, None),
        (["anna@example.com"], None),
    ],
)
def test_kind_of_a_value_is_what_it_looks_like(value: object, kind: str | None) -> None:
    assert target_kind(value) == kind


@given(st.text(max_size=3000))
def test_any_text_gets_a_known_kind_or_none(text: str) -> None:
    found = target_kind(text)
    assert found is None or found in ARGUMENT_KINDS


@pytest.mark.parametrize("part", ["a.", "a@", "1 ", "a/", "-a", "::", "1-", "(1) "])
def test_hostile_length_takes_no_time(part: str) -> None:
    assert target_kind(part * 1000 + "!") in {None, "path", "id"}
    assert target_kind(part * 100_000) is None
