from __future__ import annotations

from typing import Any

from agentguard.core import Action, Context, Decision, Effect, Finding, Outcome, Principal, Risk, Severity
from agentguard.pdp._record import decision_record, masked_params, outcome_record
from agentguard.registry import ActionRegistry

ACTION = ActionRegistry.build(
    [
        Action(
            "login",
            1,
            "x",
            Risk.LOW,
            {"type": "object", "properties": {"key": {"type": "string", "secret": True}}},
        )
    ]
).resolve("login")


def commit(_value: Any) -> dict[str, str]:
    return {"c": "0"}


def test_record_of_a_bare_decision_has_what_it_needs_and_no_more() -> None:
    decision = Decision(Effect.DENY, "no", "ann", "login@1", "prod/api", {"key": "s3cret"}, latency_us=1.5)
    record = decision_record(
        decision, principal=Principal("ann"), context=Context(), action=ACTION, commit=commit
    )
    assert record == {
        "type": "decision",
        "correlation_id": "",
        "principal": "ann",
        "action": "login@1",
        "resource": "prod/api",
        "params": {"key": {"c": "0"}},
        "effect": "deny",
        "reason": "no",
        "rule": None,
        "stage": "",
        "policy_version": "",
        "latency_us": 1.5,
    }


def test_findings_are_recorded_without_their_text() -> None:
    finding = Finding("detector", 0.5, Severity.HIGH, explanation="quotes what it saw")
    decision = Decision(Effect.DENY, "no", "ann", "a@1", "b", findings=(finding,))
    record = decision_record(
        decision, principal=Principal("ann"), context=Context(), action=None, commit=commit
    )
    assert record["findings"] == [{"detector": "detector", "score": 0.5, "severity": "high"}]


def test_parameters_that_nothing_declares_are_one_commitment() -> None:
    assert masked_params({"a": 1}, None, commit) == {"c": "0"}
    assert masked_params({}, None, commit) == {}


def test_outcome_is_cut_to_size() -> None:
    assert len(outcome_record(Outcome("e", "refused", "x" * 501))["detail"]) == 500
