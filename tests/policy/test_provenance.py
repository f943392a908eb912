"""Conditions on where an argument came from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agentguard.core import (
    Action,
    Context,
    Integrity,
    Label,
    Match,
    PolicyError,
    Principal,
    Provenance,
    Resource,
    Risk,
    Sensitivity,
)
from agentguard.policy import Facts, Rule, compile_rule

UNTRUSTED = Provenance(Label(Integrity.UNTRUSTED, Sensitivity.PUBLIC), Match.EXACT, ("tool:mail.read",), 1.0)
SECRET = Provenance(
    Label(Integrity.VERIFIED, Sensitivity.CRITICAL, ("personal",)),
    Match.NGRAM,
    ("file:/etc/x", "tool:sql.query"),
    0.9,
)
USER = Provenance(Label(Integrity.TRUSTED, Sensitivity.INTERNAL), Match.EXACT, ("user",), 1.0)
MODEL = Provenance(Label(Integrity.UNVERIFIED, Sensitivity.PUBLIC), Match.SESSION)
PARAMS = {"to": ["a", "b"], "body": "text", "deep": {"a/b": 1}}
MIXED = {"/to/0": USER, "/to/1": UNTRUSTED, "/body": SECRET, "/deep/a~1b": USER}
ALL_USER = {"/to/0": USER, "/to/1": USER, "/body": USER, "/deep/a~1b": USER}

# condition, provenance of the arguments, whether a ban holds, whether a permit holds
CASES: list[tuple[dict[str, Any], dict[str, Provenance] | None, bool, bool]] = [
    ({"to": {"integrity": "untrusted"}}, MIXED, True, True),
    ({"to": {"integrity": "trusted"}}, MIXED, False, False),
    ({"/to/0": {"integrity": "trusted"}}, MIXED, True, True),
    ({"/to/5": {"integrity": "trusted"}}, MIXED, True, False),
    ({"body": {"integrity": ["verified", "trusted"]}}, MIXED, True, True),
    ({"body": {"integrity": "untrusted"}}, MIXED, False, False),
    ({"body": {"confidentiality": {"min": "restricted"}}}, MIXED, True, True),
    ({"body": {"confidentiality": {"max": "restricted"}}}, MIXED, False, False),
    ({"body": {"confidentiality": "critical"}}, MIXED, True, True),
    ({"to": {"confidentiality": ["public", "internal"]}}, MIXED, True, True),
    ({"body": {"category": "personal"}}, MIXED, True, True),
    ({"to": {"category": ["personal", "health"]}}, MIXED, False, False),
    ({"body": {"source": "tool:*"}}, MIXED, True, False),
    ({"body": {"source": ["tool:*", "file:**"]}}, MIXED, True, True),
    ({"body": {"source": "user"}}, MIXED, False, False),
    ({"/deep/a~1b": {"source": "user"}}, MIXED, True, True),
    ({"deep": {"source": "user"}}, MIXED, True, True),
    ({"*": {"integrity": "untrusted"}}, MIXED, True, False),
    ({"*": {"integrity": "trusted"}}, MIXED, True, False),
    ({"*": {"integrity": "trusted"}}, ALL_USER, True, True),
    ({"*": {"source": "user", "integrity": "untrusted"}}, ALL_USER, False, False),
    # Not known: no provenance at all, no such argument, an argument that nobody traced.
    ({"to": {"integrity": "untrusted"}}, None, True, False),
    ({"*": {"integrity": "untrusted"}}, None, True, False),
    ({"cc": {"integrity": "untrusted"}}, MIXED, True, False),
    ({"body": {"integrity": "untrusted"}}, {"/to": USER}, True, False),
    # The request was traced as a whole.
    ({"body": {"integrity": "unverified"}}, {"": MODEL}, True, True),
    ({"*": {"integrity": "untrusted"}}, {"": MODEL}, False, False),
    ({"body": {"source": "user"}}, {"": MODEL}, True, False),
]


def applies(effect: str, when: dict[str, Any], provenance: dict[str, Provenance] | None) -> bool:
    rule = compile_rule(msgspec.convert({"id": "r", "effect": effect, "when": {"provenance": when}}, Rule))
    facts = Facts(
        Principal("agent"), Action("mail.send", 1, "", Risk.HIGH), Resource("mail/x", "mail"), PARAMS, Context(),
        datetime(2026, 1, 1, tzinfo=UTC), provenance=provenance,
    )  # fmt: skip
    return all(test(facts) for test in rule.tests())


@pytest.mark.parametrize(("when", "provenance", "bans", "permits"), CASES)
def test_ban_holds_in_doubt_and_a_permit_does_not(
    when: dict[str, Any], provenance: dict[str, Provenance] | None, *, bans: bool, permits: bool
) -> None:
    assert applies("deny", when, provenance) is bans
    assert applies("require_approval", when, provenance) is bans
    assert applies("allow", when, provenance) is permits


def test_star_needs_an_argument() -> None:
    rule = {"id": "r", "effect": "allow", "when": {"provenance": {"*": {"integrity": "trusted"}}}}
    (test,) = compile_rule(msgspec.convert(rule, Rule)).tests()
    facts = Facts(
        Principal("agent"), Action("a.b", 1, "", Risk.LOW), Resource("x/y", "x"), {}, Context(),
        datetime(2026, 1, 1, tzinfo=UTC), provenance={},
    )  # fmt: skip
    assert test(facts) is False


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"to": {}}, "says nothing"),
    ({"/to~": {"integrity": "trusted"}}, "no JSON pointer"),
    ({"to": {"confidentiality": {}}}, "`min` or `max`"),
    ({"to": {"confidentiality": {"min": "critical", "max": "public"}}}, "`min` above `max`"),
]


@pytest.mark.parametrize(("when", "message"), REFUSED)
def test_condition_that_says_nothing_is_refused(when: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        applies("deny", when, None)


def test_condition_explains_itself() -> None:
    when = {"to": {"integrity": ["untrusted"], "confidentiality": {"min": "restricted"}, "source": "tool:*"}}
    rule = compile_rule(msgspec.convert({"id": "r", "effect": "deny", "when": {"provenance": when}}, Rule))
    (predicate,) = rule.predicates
    assert predicate.name == "provenance.to"
    assert predicate.text == (
        "provenance of to integrity in untrusted and confidentiality in restricted.. and source in tool:*"
    )
