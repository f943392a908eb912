"""Inference against what a person says of 345 tools; the figures in docs/actions.md are of `tests/tool_table.py`."""

from __future__ import annotations

import pytest

from tool_table import score, table

TUNED = [each for each in table() if not each.held_out]
HELD_OUT = [each for each in table() if each.held_out]


def test_table_is_large_and_wide() -> None:
    assert len(TUNED) + len(HELD_OUT) >= 200
    assert len({each.domain for each in TUNED + HELD_OUT}) >= 8
    assert len(HELD_OUT) >= 50


@pytest.mark.parametrize("described", [True, False])
def test_held_out_tools_are_read_as_a_person_reads_them(described: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = score(HELD_OUT, described=described)
    assert found.access >= 0.96 * found.tools, found.errors
    assert found.writes_as_reads == 0, found.errors
    assert found.roles >= 0.83 * found.arguments, found.errors
    assert found.unsafe <= 0.02 * found.arguments, found.errors


def test_tools_that_shaped_the_lists_are_read_so_too() -> None:
    found = score(TUNED)
    assert found.access >= 0.98 * found.tools
    assert found.writes_as_reads == 0
    assert found.roles >= 0.95 * found.arguments


def test_names_that_say_nothing_make_it_stricter() -> None:
    found = score(TUNED + HELD_OUT, named=False, described=False)
    assert found.writes_as_reads == 0, found.errors
    assert found.unsafe <= 0.02 * found.arguments, found.errors
