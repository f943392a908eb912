from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.llm import FormError, FormPart, fields_of, read_form, write_form

NAMES = st.text("abcdefghij_[]", min_size=1, max_size=20)
PARTS = st.builds(
    FormPart,
    NAMES,
    st.binary(max_size=200),
    st.none() | st.text("abc .\\é%", max_size=20),
    st.sampled_from(("", "image/png", "text/plain; charset=utf-8")),
)


@given(st.lists(PARTS, min_size=1, max_size=5))
def test_form_reads_as_it_was_written(parts: list[FormPart]) -> None:
    assert read_form(*write_form(parts)) == parts


@given(st.binary(max_size=200))
def test_what_is_no_form_is_refused_and_never_breaks(body: bytes) -> None:
    with pytest.raises(FormError):
        read_form("multipart/form-data; boundary=x", b"a" + body)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary=", "a/b"]
)
def test_content_type_without_a_boundary_is_refused(kind: str) -> None:
    with pytest.raises(FormError, match="content type"):
        read_form(kind, b"--x\r\n")


def test_form_of_too_many_parts_is_refused() -> None:
    kind, body = write_form([FormPart("a[]", b"1")] * 257)
    with pytest.raises(FormError, match="more than 256"):
        read_form(kind, body)


def test_fields_are_the_parts_that_are_no_files() -> None:
    parts = [
        FormPart("model", b"m"),
        FormPart("file", b"\xff", "a.png"),
        FormPart("a[]", b"1"),
        FormPart("a[]", b"2"),
    ]
    assert fields_of(parts) == {"model": "m"}
    for wrong in (FormPart("Model", b"x"), FormPart("model", b"x"), FormPart("n", b"\xff")):
        with pytest.raises(FormError):
            fields_of([*parts, wrong])
