"""Pages: the rows of their tables are records, all else is a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.intent._html import page_tables_of
from agentguard.intent._parse import parse_result

HEAD = "<tr><th>No.</th><th>Who</th></tr>"
ROWS = [{"No.": "7", "Who": "Ann & Bo"}, {"No.": "8", "Who": ""}]
TABLE = f"<table>{HEAD}<tr><td>7</td><td>Ann &amp; Bo</td></tr><tr><td>8</td><td></td></tr></table>"


def test_rows_are_records_by_the_cells_of_the_first_row() -> None:
    assert page_tables_of(TABLE) == ROWS
    parsed = parse_result(f"  {TABLE}\n")
    assert (parsed.value, parsed.is_loose) == (ROWS, True)


def test_what_stands_around_a_table_is_a_text() -> None:
    found = page_tables_of(f"<html><body><h1>All</h1><script>x()</script>{TABLE}</body></html>")
    assert found == {"text": "All\n.", "tables": ROWS}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no page",
        "<p>a page</p>",
        "<table></table>",
        f"<table>{HEAD}</table>",
        "<table><tr><th>a</th><th>a</th></tr><tr><td>1</td><td>2</td></tr></table>",
        f"<table>{HEAD}<tr><td><table></td><td>1</td></tr></table></table>",
        "<table><![x</table>",
    ],
)
def test_other_texts_are_no_tables(text: str) -> None:
    assert page_tables_of(text) is None


def test_a_row_of_another_length_is_left_out() -> None:
    assert page_tables_of(TABLE.replace("</table>", "<tr><td>9</td></tr></table>")) == ROWS


@given(
    st.lists(
        st.sampled_from(["<table>", "</table>", "<tr>", "<td>", "</td>", "<![", "<!--", "&amp;", "a", " "])
    )
)
def test_any_page_is_read(pieces: list[str]) -> None:
    page_tables_of(f"<{''.join(pieces)}</table>")
