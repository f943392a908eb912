"""Exports: the records as CSV for spreadsheets, or as JSON lines."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, TextIO

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COLUMNS = (
    "seq",
    "timestamp",
    "type",
    "event_id",
    "correlation_id",
    "principal",
    "action",
    "resource",
    "effect",
    "rule",
    "reason",
    "policy_version",
    "latency_us",
    "params",
    "prev",
)
# A spreadsheet takes a cell that begins so for a formula, and what stands there was written by an agent.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_csv(records: Iterable[Mapping[str, Any]], stream: TextIO) -> int:
    """Write records as CSV (RFC 4180) with a header; return how many. Values that are no text stand as JSON.

    A text that a spreadsheet would run as a formula gets a `'` before it.
    """
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    count = 0
    for count, record in enumerate(records, start=1):  # noqa: B007 - the count is what is returned
        writer.writerow([_cell(column, record.get(column, "")) for column in COLUMNS])
    return count


def export_json_lines(records: Iterable[Mapping[str, Any]], stream: TextIO) -> int:
    """Write records as JSON lines, byte for byte as they stand in the log; return how many."""
    count = 0
    for count, record in enumerate(records, start=1):  # noqa: B007 - the count is what is returned
        stream.write(orjson.dumps(record).decode() + "\n")
    return count


def _cell(column: str, value: Any) -> str:
    if column == "principal" and isinstance(value, dict) and "id" in value:
        value = value["id"]
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    return f"'{value}" if value.startswith(_FORMULA) else value
