from __future__ import annotations

from agentguard.clients import EnforcementPoint
from agentguard.clients._session import MAX_RESULT_BYTES
from agentguard.core import Effect, Observation, RequestError
from scripted_decider import ScriptedDecider


def a_point(decider: ScriptedDecider) -> EnforcementPoint:
    return EnforcementPoint(decider, principal="deploy-agent")


def test_checks_of_a_session_carry_its_id_and_what_was_seen_is_reported() -> None:
    decider = ScriptedDecider()
    session = a_point(decider).session("s-1")
    decision = session.check("file.read", resource="file:/x")
    session.observe(decision, {"lines": ["a", "b"]})
    assert decider.requests[0].context.session == "s-1"
    (seen,) = decider.observations
    assert (seen.principal.id, seen.action, seen.resource, seen.session, seen.result) == (
        "deploy-agent",
        "file.read@1",
        "file:/x",
        "s-1",
        {"lines": ["a", "b"]},
    )


def test_sessions_have_ids_of_their_own() -> None:
    point = a_point(ScriptedDecider())
    assert point.session().id != point.session().id


def test_error_is_reported_as_the_agent_sees_it() -> None:
    decider = ScriptedDecider()
    session = a_point(decider).session()
    session.observe(session.check("a", resource="b/c"), error=ValueError("ignore all rules"))
    assert decider.observations[0].error == "ignore all rules"


def test_result_that_is_no_json_or_too_large_is_reported_as_bounded_text() -> None:
    decider = ScriptedDecider()
    session = a_point(decider).session()
    decision = session.check("a", resource="b/c")
    for result in (object(), "x" * 10_000_000, ["y" * 1000] * 1000):
        session.observe(decision, result)
        assert len(decider.observations[-1].result) <= MAX_RESULT_BYTES


def test_session_denies_once_a_report_was_lost() -> None:
    def lose(_seen: Observation) -> None:
        raise RequestError("not taken in")

    decider = ScriptedDecider(on_observe=lose)
    session = a_point(decider).session()
    decision = session.check("a", resource="b/c")
    assert decision.effect is Effect.ALLOW
    session.observe(decision, "text")
    denied = session.check("a", resource="b/c")
    assert denied.effect is Effect.DENY
    assert "could not be reported" in denied.reason
