from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.facts._budget import UnparsedError
from agentguard.facts._sql import sql_facts

FOUND = [
    ("SELECT a FROM s.t JOIN u ON t.a = u.a", {"sql.kinds": ("select",), "sql.tables": ("s.t", "u")}),
    ("SELECT a FROM t LIMIT 7", {"sql.limit": 7, "sql.has_limit": True}),
    ("SELECT a FROM t", {"sql.has_limit": False, "sql.statements": 1, "sql.stacked": False}),
    ("INSERT INTO t SELECT * FROM u", {"sql.kinds": ("insert", "select")}),
    ("DO $$ BEGIN EXECUTE 'DROP TABLE x'; END $$", {"sql.kinds": ("other", "drop")}),
    ("EXPLAIN DELETE FROM t WHERE a = 1", {"sql.kinds": ("explain", "delete"), "sql.has_where": True}),
    ("DELETE FROM t WHERE a = 1 OR 1 >= 1", {"sql.has_where": False, "sql.tautology": True}),
    ("DELETE FROM t WHERE '1' = 2", {"sql.has_where": True}),
    ("DELETE FROM t WHERE 'a' <> 3", {"sql.has_where": False}),
    ("DELETE FROM t WHERE NOT 1 = 2", {"sql.has_where": False}),
    ("DELETE FROM t WHERE NOT (0)", {"sql.has_where": False}),
    ("-- nothing but a remark", {"sql.kinds": (), "sql.comment": True}),
]


@pytest.mark.parametrize(("statement", "expected"), FOUND, ids=[each[0] for each in FOUND])
def test_statement_states_its_facts(statement: str, expected: dict[str, Any]) -> None:
    facts = sql_facts(statement)
    assert {name: facts.get(name) for name in expected} == expected


def test_declared_dialect_is_the_one_that_is_read() -> None:
    assert sql_facts("SELECT `a` FROM `t`", "mysql")["sql.tables"] == ("t",)
    with pytest.raises(UnparsedError):
        sql_facts("SELECT `a` FROM `t`", "postgres")


def test_what_one_dialect_would_run_counts_though_another_takes_it_for_a_comment() -> None:
    facts = sql_facts("SELECT 1--1; DROP TABLE t")
    assert facts["sql.stacked"]
    assert "drop" in facts["sql.kinds"]


HOSTILE = {
    "open parentheses": "SELECT " + "(" * 30_000,
    "nested parentheses": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "long condition": "SELECT 1 WHERE " + " OR ".join(["a=1"] * 8_000),
    "cases": "SELECT " + "CASE WHEN 1 THEN " * 3_000,
    "comments": "SELECT 1 " + "/*" * 30_000,
    "quotes": "'" * 65_000,
    "semicolons": ";" * 65_000,
    "negations": "SELECT " + "NOT " * 15_000 + "1",
    "signs": "SELECT " + "- " * 30_000 + "1",
    "unions": " UNION ".join(["SELECT 1"] * 4_000),
    "indexes": "SELECT a" + "[1]" * 20_000,
    "too long": "SELECT '" + "a" * 70_000 + "'",
    "half a character": "SELECT '\ud800'",
    "a null": "SELECT 1\0; DROP TABLE x",
    "nothing": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_statement_is_given_up_soon(text: str) -> None:
    sql_facts("SELECT 1")  # the library makes what it needs
    start = time.thread_time()
    if text:
        with pytest.raises(UnparsedError):
            sql_facts(text)
    # Ten times the budget: the clock is looked at between steps, and the interpreter may be traced.
    assert time.thread_time() - start < 0.5


WORDS = st.sampled_from(
    ["select", "from", "where", "or", "union", "drop", "table", "t", "(", ")", "'", '"', "1", "=", ";", "--", "/*", "*/", "#", "\\", "`", "\n", ",", "case", "when", "with", "as", "values", "$$", "e'", "@", "[", "]", "\0"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text_states_facts_or_is_unparsed(text: str) -> None:
    try:
        facts = sql_facts(text)
    except UnparsedError:
        return
    assert facts["sql.statements"] >= 0
