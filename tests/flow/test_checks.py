"""The built-in checks."""

from __future__ import annotations

import pytest

from agentguard.core import Action, Flow, Integrity, Label, Match, Provenance, Risk, Sensitivity, Sink
from agentguard.flow import flow_violation, trifecta

EXTERNAL = Flow(sink=Sink.EXTERNAL)
UNTRUSTED, VERIFIED = Integrity.UNTRUSTED, Integrity.VERIFIED
TRIFECTA = [
    (Label(UNTRUSTED, Sensitivity.RESTRICTED), EXTERNAL, True),
    (Label(UNTRUSTED, Sensitivity.CRITICAL), EXTERNAL, True),
    (Label(UNTRUSTED, Sensitivity.PUBLIC, ("personal",)), EXTERNAL, True),
    (Label(UNTRUSTED, Sensitivity.INTERNAL, ("code",)), EXTERNAL, False),
    (Label(VERIFIED, Sensitivity.CRITICAL), EXTERNAL, False),
    (Label(UNTRUSTED, Sensitivity.CRITICAL), Flow(sink=Sink.INTERNAL), False),
    (Label(UNTRUSTED, Sensitivity.CRITICAL), Flow(), False),
    (Label(UNTRUSTED, Sensitivity.CRITICAL), None, False),
]


@pytest.mark.parametrize(("label", "flow", "found"), TRIFECTA)
def test_private_data_untrusted_content_and_an_external_sink(
    label: Label, flow: Flow | None, *, found: bool
) -> None:
    reason = trifecta(label, flow)
    assert (reason is not None) is found
    assert reason is None or "private data and untrusted content" in reason


def action(flow: Flow | None) -> Action:
    return Action("mail.send", 1, "", Risk.HIGH, flow=flow)


FOR_ANNA = Label(readers=("anna",))
VIOLATIONS = [
    (None, Label(confidentiality=Sensitivity.CRITICAL), None, None),
    (Flow(clearance=Sensitivity.INTERNAL), Label(), None, None),
    (
        Flow(clearance=Sensitivity.INTERNAL),
        Label(confidentiality=Sensitivity.RESTRICTED),
        None,
        "/body is restricted, and mail.send is cleared for internal (from tool:file.read)",
    ),
    (EXTERNAL, Label(), None, None),
    (EXTERNAL, FOR_ANNA, frozenset(("anna",)), None),
    (EXTERNAL, FOR_ANNA, None, "nobody knows who"),
    (EXTERNAL, FOR_ANNA, frozenset(("anna", "bob")), "/body may not be read by bob"),
    (Flow(sink=Sink.INTERNAL), FOR_ANNA, None, None),
]


@pytest.mark.parametrize(("flow", "label", "audience", "reason"), VIOLATIONS)
def test_argument_that_must_not_go_there(
    flow: Flow | None, label: Label, audience: frozenset[str] | None, reason: str | None
) -> None:
    found = {"/body": Provenance(label, Match.EXACT, ("tool:file.read",), 1.0)}
    said = flow_violation(action(flow), found, audience=audience)
    assert (said is None) is (reason is None)
    assert reason is None or (said is not None and reason in said)


def test_request_of_unknown_origin_is_named_as_a_whole() -> None:
    found = {"": Provenance(Label(confidentiality=Sensitivity.CRITICAL), Match.SESSION)}
    said = flow_violation(action(Flow(clearance=Sensitivity.PUBLIC)), found)
    assert said == "the request is critical, and mail.send is cleared for public"
