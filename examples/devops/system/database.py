"""The shop's database: customers and what they ordered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CUSTOMERS = 40
ORDERS = 120
_FIRST = ("ada", "grace", "alan", "edsger", "barbara", "donald", "frances", "tony")
_LAST = ("bell", "cole", "dean", "ford", "gray", "hall", "kent", "lane")
_SCHEMA = """
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers,
                         total_cents INTEGER NOT NULL, state TEXT NOT NULL);
"""


class Database:
    """The SQLite file under `root`."""

    def __init__(self, root: Path) -> None:
        self._path = root / "data" / "orders.db"

    def create(self) -> None:
        """Make the tables and fill them."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.executescript(_SCHEMA)
            connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", map(_customer, range(CUSTOMERS)))
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", map(_order, range(ORDERS)))

    def query(self, statement: str) -> list[list[Any]]:
        """Return the rows that a reading statement finds."""
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
            return [list(row) for row in connection.execute(statement)]

    def execute(self, script: str) -> None:
        """Run statements that may change anything."""
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.executescript(script)

    def tables(self) -> dict[str, int]:
        """Return the tables with their number of rows."""
        names = [
            row[0] for row in self.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        ]
        return {name: self.query(f'SELECT count(*) FROM "{name}"')[0][0] for name in names}  # noqa: S608 - our names


def _customer(number: int) -> tuple[int, str, str]:
    first, last = _FIRST[number % len(_FIRST)], _LAST[number // len(_FIRST) % len(_LAST)]
    return number + 1, f"{first.title()} {last.title()}", f"{first}.{last}@mail.example"


def _order(number: int) -> tuple[int, int, int, str]:
    return (
        number + 1,
        number * 7 % CUSTOMERS + 1,
        990 + number * 137 % 9000,
        ("open", "paid", "shipped")[number % 3],
    )
