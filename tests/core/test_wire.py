from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agentguard.core import (
    CheckCall,
    CheckReply,
    Context,
    Decision,
    Effect,
    ErrorBody,
    ErrorDetail,
    Obligation,
    PlanCall,
    PlanReply,
    PlanStep,
    RiskScore,
)

ID = "0123456789abcdef0123456789abcdef"
DECISION = Decision(
    effect=Effect.TRANSFORM,
    reason="staging is small",
    principal="deploy-agent",
    action="scale-deployment@1",
    resource="staging/api",
    params={"replicas": 5},
    risk=RiskScore(action=2, resource=1, score=2, effect=Effect.ALLOW),
    obligations=(Obligation("max_bytes", 10),),
)
BODIES = [
    CheckCall(
        "restart-deployment", "prod/api", {"namespace": "prod"}, Context(task="t"), "deploy-agent", True, ID
    ),
    CheckCall("a", "b/c", context=Context(time=datetime(2026, 1, 2, tzinfo=UTC))),
    CheckReply(ID, DECISION),
    PlanCall((PlanStep("a", "b/c"), PlanStep("a", "b/d", {"x": [1, None]})), request_id=ID),
    PlanReply(ID, (DECISION, DECISION)),
    ErrorBody(ErrorDetail("token_expired", "the token has expired", "issue a new one")),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_body_through_json_comes_back_equal(body: Any) -> None:
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(body)) == body


def test_call_without_extras_is_small() -> None:
    body = msgspec.json.decode(msgspec.json.encode(CheckCall("a", "b/c")))
    assert body == {"action": "a", "resource": "b/c"}


@pytest.mark.parametrize(
    "change",
    [{"request_id": "x"}, {"request_id": ID.upper()}, {"params": []}, {"surplus": 1}, {"principal": 7}],
)
def test_call_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    body = {"request_id": ID, "action": "a", "resource": "b/c"} | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(body), type=CheckCall)
