from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agentguard.core import (
    Action,
    ArgumentFacts,
    Context,
    Integrity,
    Label,
    Match,
    Principal,
    Provenance,
    Resource,
    Risk,
    Sensitivity,
)
from agentguard.policy import Facts, Rule, compile_policies, near_misses, shown_facts

KNOWN: dict[str, Any] = {
    "sql.has_where": False,
    "sql.kinds": ("select", "drop"),
    "sql.tables": ("hunter2", "a", "b", "c", "d", "e"),
    "sql.limit": 7,
    "shell.deletes": (),
    "path.value": ("x" * 200,),
}
MAIL = Provenance(Label(Integrity.UNTRUSTED, Sensitivity.INTERNAL), Match.EXACT, ("tool:mail.read",), 1.0)
USER = Provenance(
    Label(Integrity.TRUSTED, Sensitivity.CRITICAL, ("health", "personal")), Match.EXACT, ("user",), 1.0
)
NOWHERE = Provenance(Label(), Match.SESSION)
FACTS = Facts(
    Principal("ann"),
    Action("probe", 1, "", Risk.LOW),
    Resource("a/b", "a"),
    {"to": "x", "cc": "y", "body": "z", "n": 1},
    Context(),
    datetime(2026, 1, 5, 12, tzinfo=UTC),
    ArgumentFacts(("sql", "shell", "path"), lambda: KNOWN),
    {"/to": MAIL, "/cc": USER, "/body": NOWHERE},
)


def predicate(when: dict[str, Any], effect: str = "allow", *, conceal: bool = False) -> str:
    rule = msgspec.convert({"id": "r", "effect": effect, "when": when}, Rule)
    (miss,) = near_misses(compile_policies([rule]), FACTS, conceal=conceal)
    return miss.predicate.removeprefix("when: ")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"sql.has_where": True}, "`sql.has_where` is false, the rule wants true"),
        ({"sql.kinds": ["select"]}, "`sql.kinds` is select, drop, the rule wants select"),
        ({"sql.kinds": ["insert", "update"]}, "`sql.kinds` is select, drop, the rule wants insert or update"),
        ({"sql.limit": {"max": 5}}, "`sql.limit` is 7, the rule wants at most 5"),
        (
            {"sql.limit": {"min": 8, "present": True}},
            "`sql.limit` is 7, the rule wants at least 8",
        ),
        ({"sql.limit": {"present": False}}, "`sql.limit` is 7, the rule wants it not stated"),
        ({"data.rows": {"present": True}}, "`data.rows` is not stated, the rule wants it stated"),
        (
            {"sql.tables": {"pattern": "shop\\..*"}},
            "`sql.tables` is hunter2, a, b, c, d and 1 more, the rule wants text like `shop\\..*`",
        ),
        (
            {"sql.tables": {"pattern": "shop", "search": True}},
            "`sql.tables` is hunter2, a, b, c, d and 1 more, the rule wants text with `shop`",
        ),
        ({"shell.deletes": "/tmp"}, "`shell.deletes` is empty, the rule wants /tmp"),
        ({"path.value": "/tmp"}, f"`path.value` is {'x' * 80}…, the rule wants /tmp"),
        (
            {"sql.tables": []},
            "`sql.tables` is hunter2, a, b, c, d and 1 more, the rule wants nothing that there is",
        ),
    ],
)
def test_failing_condition_on_a_fact_says_what_was_found(facts: dict[str, Any], text: str) -> None:
    assert predicate({"facts": facts}) == text


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"sql.tables": ["t"]}, "`sql.tables` is withheld, the rule wants t"),
        ({"path.value": "/tmp"}, "`path.value` is withheld, the rule wants /tmp"),
        ({"sql.kinds": ["insert"]}, "`sql.kinds` is select, drop, the rule wants insert"),
        ({"sql.has_where": True}, "`sql.has_where` is false, the rule wants true"),
    ],
)
def test_text_from_inside_an_argument_is_withheld_where_there_are_secrets(
    facts: dict[str, Any], text: str
) -> None:
    assert predicate({"facts": facts}, conceal=True) == text
    rule = msgspec.convert({"id": "r", "effect": "allow", "when": {"facts": facts}}, Rule)
    (miss,) = near_misses(compile_policies([rule]), FACTS)
    assert miss.predicate == f"when: {text}"


def test_shown_facts_hold_no_text_where_there_are_secrets() -> None:
    assert shown_facts(KNOWN, conceal=False) == KNOWN
    shown = shown_facts(KNOWN, conceal=True)
    assert shown["sql.tables"] == shown["path.value"] == "[withheld]"
    assert (shown["sql.kinds"], shown["sql.limit"]) == (("select", "drop"), 7)


@pytest.mark.parametrize(
    ("effect", "provenance", "text"),
    [
        (
            "allow",
            {"to": {"integrity": "trusted"}},
            "`/to` is untrusted (from tool:mail.read), the rule wants trusted",
        ),
        (
            "deny",
            {"cc": {"integrity": ["untrusted", "unverified"]}},
            "`/cc` is trusted (from user), the rule wants untrusted or unverified",
        ),
        (
            "deny",
            {"to": {"confidentiality": {"min": "restricted"}, "category": "personal"}},
            (
                "`/to` is internal and of no category (from tool:mail.read), the rule wants restricted or above"
                " and category personal"
            ),
        ),
        (
            "allow",
            {"cc": {"confidentiality": {"max": "internal"}, "category": ["personal"]}},
            (
                "`/cc` is critical and of category health, personal (from user), the rule wants internal or below"
                " and category personal"
            ),
        ),
        (
            "allow",
            {"cc": {"confidentiality": {"min": "internal", "max": "restricted"}}},
            "`/cc` is critical (from user), the rule wants internal to restricted",
        ),
        (
            "allow",
            {"to": {"source": ["user", "tool:crm.*"]}},
            "`/to` is from tool:mail.read, the rule wants source user or tool:crm.*",
        ),
        (
            "allow",
            {"body": {"source": "user"}},
            "`/body` is from no known source, the rule wants source user",
        ),
        (
            "allow",
            {"/bcc/0": {"integrity": "trusted"}},
            "`/bcc/0` is not given, the rule wants trusted",
        ),
        (
            "allow",
            {"n": {"integrity": "trusted"}},
            "`/n` came from nobody knows where, the rule wants trusted",
        ),
        (
            "allow",
            {"*": {"integrity": ["trusted", "untrusted"]}},
            "`/body` is unverified, `/n` came from nobody knows where, the rule wants trusted or untrusted",
        ),
    ],
)
def test_failing_condition_on_an_origin_says_where_it_came_from(
    effect: str, provenance: dict[str, Any], text: str
) -> None:
    assert predicate({"provenance": provenance}, effect) == text


def test_condition_on_any_argument_says_if_there_is_none() -> None:
    rule = msgspec.convert(
        {"id": "r", "effect": "allow", "when": {"provenance": {"*": {"integrity": "trusted"}}}}, Rule
    )
    bare = msgspec.structs.replace(FACTS, params={})
    (miss,) = near_misses(compile_policies([rule]), bare)
    assert miss.predicate == "when: there is no argument, the rule wants trusted"
