from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentguard.core import Context, Decision, Effect, Obligation
from agentguard.enforcement import KNOWN_OBLIGATIONS, obligation_problem, require_known, sandboxes_of

FINE = [
    ("max_bytes", 1),
    ("max_bytes", 65536),
    ("mask_output", True),
    ("mask_output", ["[0-9]+"]),
    ("mask_output", ("a", "b")),
    ("log_level", "debug"),
    ("log_level", "error"),
    ("require_reason", True),
    ("sandbox", "no-network"),
]
WRONG = [
    ("max_bytes", 0, "whole number"),
    ("max_bytes", -1, "whole number"),
    ("max_bytes", True, "whole number"),
    ("max_bytes", 1.5, "whole number"),
    ("max_bytes", "10", "whole number"),
    ("max_bytes", None, "whole number"),
    ("mask_output", False, "takes `true`"),
    ("mask_output", "a+", "takes `true`"),
    ("mask_output", [], "takes `true`"),
    ("mask_output", ["a"] * 65, "takes `true`"),
    ("mask_output", [""], "1 to 1024 characters"),
    ("mask_output", [1], "1 to 1024 characters"),
    ("mask_output", ["a" * 1025], "1 to 1024 characters"),
    ("mask_output", ["("], "not RE2"),
    ("mask_output", ["(?=a)"], "not RE2"),
    ("mask_output", ["\ud800"], "not RE2"),
    ("mask_output", ["a*"], "matches the empty text"),
    ("log_level", "loud", "takes one of"),
    ("log_level", ["info"], "takes one of"),
    ("require_reason", False, "takes `true`"),
    ("require_reason", 10, "takes `true`"),
    ("sandbox", True, "the name of a sandbox"),
    ("sandbox", "", "the name of a sandbox"),
    ("sandbox", "No Network", "the name of a sandbox"),
    ("sandbox", ["a"], "the name of a sandbox"),
    ("sandbox", "a" * 65, "the name of a sandbox"),
    ("notify", [], "takes `true`, or 1 to 64 names of groups"),
    ("notify", [""], "takes `true`, or 1 to 64 names of groups"),
    ("notify", "ops", "takes `true`, or 1 to 64 names of groups"),
    ("two_person", 2, "takes `true`"),
    ("hold_for_review", True, "unknown obligation `hold_for_review`"),
]


def decision(*obligations: Obligation, effect: Effect = Effect.ALLOW) -> Decision:
    return Decision(
        effect=effect, reason="because", principal="p", action="a@1", resource="b/c", obligations=obligations
    )


@pytest.mark.parametrize(("name", "value"), FINE)
def test_known_obligation_has_no_problem(name: str, value: Any) -> None:
    assert obligation_problem(Obligation(name, value)) is None
    assert name in KNOWN_OBLIGATIONS


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_wrong_obligation_says_what_is_wrong(name: str, value: Any, problem: str) -> None:
    found = obligation_problem(Obligation(name, value))
    assert found is not None
    assert problem in found
    assert name in found


@pytest.mark.parametrize("effect", [Effect.ALLOW, Effect.TRANSFORM, Effect.REQUIRE_APPROVAL])
def test_unknown_obligation_turns_into_a_deny(effect: Effect) -> None:
    asked = decision(Obligation("max_bytes", 5), Obligation("sing"), effect=effect)
    denied = require_known(asked, Context())
    assert denied.effect is Effect.DENY
    assert "`sing`" in denied.reason
    assert denied.stage == "enforcement"
    assert denied.action == asked.action


def test_known_obligations_leave_the_decision_as_it_is() -> None:
    asked = decision(Obligation("max_bytes", 5), Obligation("log_level", "info"))
    assert require_known(asked, Context()) is asked


def test_deny_keeps_its_own_reason() -> None:
    asked = decision(Obligation("sing"), effect=Effect.DENY)
    assert require_known(asked, Context()) is asked


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(name=st.sampled_from([*sorted(KNOWN_OBLIGATIONS), "other"]), value=json_values)
def test_any_obligation_is_judged_without_raising(name: str, value: Any) -> None:
    problem = obligation_problem(Obligation(name, value))
    kept = require_known(
        decision(Obligation(name, value)), Context(reason="because"), sandboxes=_Everything()
    )
    assert (kept.effect is Effect.DENY) == (problem is not None)


class _Everything(frozenset[str]):
    def __contains__(self, _: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("obligation", "context", "sandboxes", "problem"),
    [
        (Obligation("require_reason", True), Context(), (), "must say why"),
        (Obligation("require_reason", True), Context(reason=" \n"), (), "must say why"),
        (Obligation("require_reason", True), Context(reason="the index is full"), (), None),
        (Obligation("sandbox", "jail"), Context(), (), "has no sandbox `jail`"),
        (Obligation("sandbox", "jail"), Context(), ("prison",), "has no sandbox `jail`"),
        (Obligation("sandbox", "jail"), Context(), ("jail",), None),
    ],
)
def test_what_cannot_be_kept_here_is_a_deny_without_its_ticket(
    obligation: Obligation, context: Context, sandboxes: tuple[str, ...], problem: str | None
) -> None:
    asked = replace(decision(obligation), ticket="a.b.c")
    kept = require_known(asked, context, sandboxes=sandboxes)
    if problem is None:
        assert kept is asked
    else:
        assert (kept.effect, kept.stage, kept.ticket) == (Effect.DENY, "enforcement", "")
        assert problem in kept.reason


def test_each_sandbox_is_named_once_in_the_order_of_the_rules() -> None:
    named = [Obligation("sandbox", name) for name in ("b", "a", "b")]
    assert sandboxes_of(decision(*named, Obligation("max_bytes", 1))) == ("b", "a")
