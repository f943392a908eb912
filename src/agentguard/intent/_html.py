"""Tables of a page in HTML, as records; what stands around them is a text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

MAX_CELLS = 20_000
MAX_ROWS = 2_000
_CELLS = frozenset(("td", "th"))
# What nobody reads on a page.
_UNSEEN = frozenset(("script", "style", "template"))


class _Page(HTMLParser):
    """Collects the rows of each table, and the text outside of them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self.cells = 0
        self.is_broken = False
        self._cell: list[str] | None = None
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self._unseen += tag in _UNSEEN
        if tag == "table":
            # A table within a cell: which rows are whose nobody can tell.
            self.is_broken = self.is_broken or self._cell is not None
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in _CELLS and self.tables and self.tables[-1]:
            self._cell, self.cells = [], self.cells + 1

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN and self._unseen > 0
        if tag in _CELLS and self._cell is not None and self.tables[-1]:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        (self.text if self._cell is None else self._cell).append(data)


def page_tables_of(text: str) -> Any:
    """Return the rows of the tables of a page, by the cells of the first row, beside its text; None if it has none."""
    if text[:1] != "<" or "</table>" not in text[-MAX_CELLS:].lower():
        return None
    page = _Page()
    try:
        page.feed(text)
        page.close()
    except AssertionError:  # what the parser raises for a declaration that is none
        return None
    if page.is_broken or page.cells > MAX_CELLS:
        return None
    tables = [found for each in page.tables if (found := _records(each))]
    if not tables:
        return None
    around = "\n".join(line.strip() for line in "".join(page.text).splitlines() if line.strip())
    rows: Any = tables[0] if len(tables) == 1 else tables
    return {"text": f"{around}\n.", "tables": rows} if around else rows


def _records(rows: list[list[str]]) -> list[dict[str, str]]:
    rows = [row for row in rows if row][:MAX_ROWS]
    if len(rows) < 2 or len(set(rows[0])) != len(rows[0]) or not all(rows[0]):  # noqa: PLR2004 - names and a row
        return []
    head = rows[0]
    # A row of another length is not of this table, and which cell belongs where nobody can tell.
    return [dict(zip(head, row, strict=True)) for row in rows[1:] if len(row) == len(head)]
