"""The nouns: built with care, rebuilt from JSON without loss."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import (
    Access,
    Action,
    Argument,
    Context,
    Decision,
    Effect,
    Event,
    EventKind,
    Finding,
    Flow,
    Integrity,
    Label,
    Match,
    NearMiss,
    Obligation,
    Outcome,
    Principal,
    PrincipalKind,
    Provenance,
    Request,
    Resource,
    Risk,
    RiskScore,
    Role,
    Sensitivity,
    Severity,
    Sink,
    SystemClock,
)

TIME = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
PRINCIPAL = Principal("agent", PrincipalKind.SERVICE, ("r",), ("g",), ("alice",))
STRUCTS: list[msgspec.Struct] = [
    PRINCIPAL,
    Resource("prod/api", "deployment", "prod", Sensitivity.RESTRICTED, "team", {"a": "b"}, listed=True),
    Label(Integrity.UNTRUSTED, Sensitivity.CRITICAL, ("health", "personal"), ("anna", "corp.example")),
    Label(readers=()),
    Provenance(Label(), Match.NGRAM, ("tool:mail.read",), 0.5),
    Action(
        "a.b", 2, "d", Risk.HIGH, {"type": "object"}, ("x",), ("p",), ("q",), True, "c@1", "d@1",
        Flow(Label(), Sink.EXTERNAL, Sensitivity.INTERNAL), ("t",),
        Access.WRITE, {"/to/*": Argument(Role.TARGET, "recipient")},
    ),
    Context("s", "c", TIME, "task", "ticket", {"a": "web"}, {"change_window": True, "n": 1.5, "none": None}),
    Request(PRINCIPAL, "a.b", "x/y", {"n": [1, {"m": None}]}, Context(time=TIME)),
    Decision(
        Effect.TRANSFORM, "because", "agent", "a.b@2", "x/y", {"n": 1}, "rule", "policy", "sha256:0",
        RiskScore(3, 4, 12, Effect.REQUIRE_APPROVAL), (Obligation("max_bytes", 3),),
        (Finding("d", 0.5, Severity.HIGH, "e", (1, 2), 3.5),), (NearMiss("r", Effect.DENY, "params.n"),), ("p",), ("q",),
        "c", "a", "t", 1.5,
    ),
    Outcome("audit", "failed", "why"),
    Event("e", EventKind.NET, TIME, "agent", "s", {"host": "x"}),
]  # fmt: skip


@pytest.mark.parametrize("value", STRUCTS, ids=lambda value: type(value).__name__)
def test_struct_survives_json(value: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=type(value)) == value


@pytest.mark.parametrize("value", STRUCTS, ids=lambda value: type(value).__name__)
def test_struct_is_frozen_and_refuses_unknown_fields(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], "x")
    content = {**msgspec.to_builtins(value), "surplus": 1}
    with pytest.raises(msgspec.ValidationError, match="surplus"):
        msgspec.convert(content, type(value))


DECISION: dict[str, Any] = {"principal": "a", "action": "b", "resource": "c"}


def test_decision_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"compare decision\.effect"):
        bool(Decision(Effect.ALLOW, "because", **DECISION))


def test_decision_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Decision(Effect.ALLOW, "", **DECISION)
    with pytest.raises(msgspec.ValidationError, match="needs a reason"):
        msgspec.convert({"effect": "allow", "reason": "", **DECISION}, Decision)


def test_reference_of_an_action_is_name_and_version() -> None:
    assert Action("file.read", 2, "d", Risk.LOW).reference == "file.read@2"


def test_weights_go_from_one_to_four_and_unknown_weighs_most() -> None:
    assert [risk.weight for risk in Risk] == [1, 2, 3, 4]
    assert [level.weight for level in Sensitivity] == [1, 2, 3, 4]
    assert Resource("a/b", "a").weight == 4
    assert Resource("a/b", "a", sensitivity=Sensitivity.PUBLIC).weight == 1


names = st.lists(st.sampled_from("abc"), max_size=3).map(tuple)
labels = st.builds(
    Label, st.sampled_from(list(Integrity)), st.sampled_from(list(Sensitivity)), names, st.none() | names
)


@given(labels, labels, labels)
def test_labels_join_to_the_less_trusted_and_more_confidential(one: Label, two: Label, three: Label) -> None:
    order = list(Integrity)
    joined = one.join(two)
    assert one.join(one) == one
    assert joined == two.join(one)
    assert joined.join(three) == one.join(two.join(three))
    assert order.index(joined.integrity) == min(order.index(one.integrity), order.index(two.integrity))
    assert joined.confidentiality.weight == max(one.confidentiality.weight, two.confidentiality.weight)
    assert set(joined.categories) == {*one.categories, *two.categories}
    everyone = set("abc")
    may_read = [everyone if each.readers is None else set(each.readers) for each in (one, two, joined)]
    assert may_read[2] == may_read[0] & may_read[1]


def test_names_in_a_label_are_sorted_and_stand_once() -> None:
    label = Label(categories=("b", "a", "b"), readers=("z", "y", "z"))
    assert (label.categories, label.readers) == (("a", "b"), ("y", "z"))


def test_system_clock_is_aware_and_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
