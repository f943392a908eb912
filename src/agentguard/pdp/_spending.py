"""Where a budget meets people: asks them whether spending may go on past a threshold, and keeps what they said.

One question is for one principal, one account of a budget with just this limit, one step of it and one window: who asks
again gets the same answer, and so do the calls that come meanwhile.
"""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentguard.approvals import bind
from agentguard.core import (
    Action,
    AgentGuardError,
    Approval,
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    ApprovalStatus,
    Consume,
    Dispatch,
    Finish,
    Risk,
    SpendAnswer,
    canonical_hash,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.approvals import Router
    from agentguard.core import ApprovalEngine, Context, Principal, SpendQuestion, Unit

_LOG = logging.getLogger("agentguard.pdp")
_UNSET = datetime(1970, 1, 1, tzinfo=UTC)
_ANSWERS = (ApprovalState.CONSUMED, ApprovalState.APPROVED, ApprovalState.PENDING, ApprovalState.DENIED)
_MOST = 1_000
CONTINUE = Action(
    "spend.continue", 1, "Let calls go on past a threshold of a budget", Risk.MEDIUM, {"type": "object"}
)


class SpendDesk:
    """Asks people through an engine, on the routes of `router`; `engine` returns it, opened, or raises."""

    def __init__(self, engine: Callable[[], ApprovalEngine], router: Router) -> None:
        self._engine = engine
        self._router = router

    def ask(
        self, question: SpendQuestion, principal: Principal, context: Context, *, audit_id: str, now: datetime
    ) -> SpendAnswer:
        """Return where a question stands, which is asked if it was not; see `SpendAsker.ask_spending`."""
        try:
            known = self._asked(question, principal, context, audit_id, now)
        except AgentGuardError as error:
            _LOG.warning("a budget's question is not asked: %s", error.message)
            return SpendAnswer(note=f"nobody can be asked: {error.message}")
        if known.state is ApprovalState.CONSUMED:
            return SpendAnswer(known.id, known.consumed_at)
        if known.state is ApprovalState.PENDING:
            return SpendAnswer(known.id, is_pending=True)
        return SpendAnswer(known.id, note=ApprovalStatus.of(known).note or f"it is {known.state.value}")

    def _asked(
        self, question: SpendQuestion, principal: Principal, context: Context, audit_id: str, now: datetime
    ) -> Approval:
        engine = self._engine()
        known = self._known(engine, question, principal, now)
        if known is None:
            return engine.open(self._draft(question, principal, context))
        if known.state is not ApprovalState.APPROVED:
            return known
        try:
            return _used(engine, known, audit_id)
        except ApprovalError:
            # Another call of the same principal was quicker to take the same answer.
            found = self._known(engine, question, principal, now)
            if found is None or found.state is ApprovalState.APPROVED:
                raise
            return found

    def _known(
        self, engine: ApprovalEngine, question: SpendQuestion, principal: Principal, now: datetime
    ) -> Approval | None:
        """Return the answer that holds, or the question as it waits; None where it is to be asked."""
        binding = _binding(question, principal)
        wanted = ApprovalFilter(states=_ANSWERS, principal=principal.id)
        found = [each.approval for each in engine.find(wanted, limit=_MOST, newest=True)]
        same = [each for each in found if each.binding == binding and _holds(each, question, now)]
        # Of several, as two processes may have asked at once, a yes counts before a question, and that before a no.
        return min(same, key=lambda each: _ANSWERS.index(each.state), default=None)

    def _draft(self, question: SpendQuestion, principal: Principal, context: Context) -> Approval:
        resource, params = f"budget/{question.budget}", _params(question)
        return Approval(
            id=f"ap-{os.urandom(10).hex()}",
            binding=_binding(question, principal),
            basis=canonical_hash({"stage": "spend", "budget": question.budget}),
            principal=principal.id,
            on_behalf_of=principal.on_behalf_of,
            action=CONTINUE.reference,
            resource=resource,
            params=params,
            reason=question.reason,
            purpose=context.reason[:2000],
            session=context.session,
            task=context.task,
            correlation_id=context.correlation_id,
            risk=CONTINUE.risk,
            about={"action": CONTINUE.description, "reversible": "no"},
            route=self._router.route(CONTINUE, resource, params),
            # The engine says when it begins.
            opened_at=_UNSET,
            deadline=_UNSET,
        )


def _used(engine: ApprovalEngine, approval: Approval, audit_id: str) -> Approval:
    """Use an approval up: the spending that it lets go on begins after this, or never."""
    move = Consume(binding=approval.binding, policy_version=approval.policy_version)
    used = engine.apply(approval.id, move)
    try:
        engine.apply(approval.id, Dispatch(audit_id=audit_id))
        engine.apply(
            approval.id, Finish(by=approval.principal, status="succeeded", detail="spending goes on")
        )
    except AgentGuardError as error:
        _LOG.warning("approval `%s` is not brought up to date: %s", approval.id, error.message)
    return used


def _holds(approval: Approval, question: SpendQuestion, now: datetime) -> bool:
    """Tell whether an answer still counts: a yes as long as the window, a no as long as people had for it."""
    if approval.state is ApprovalState.CONSUMED and question.lasts_s:
        given = approval.consumed_at
        return given is not None and now < given + timedelta(seconds=question.lasts_s)
    if approval.state is ApprovalState.DENIED:
        return now < approval.steps[-1].at + timedelta(seconds=approval.route.limit_s)
    return True


def _binding(question: SpendQuestion, principal: Principal) -> str:
    about = {
        "of": question.of,
        "unit": question.unit.value,
        "window": question.window,
        "percent": question.percent,
        "limit": str(question.limit),
        "until": str(question.until),
    }
    return bind(
        principal=principal.id,
        on_behalf_of=principal.on_behalf_of,
        action=CONTINUE.reference,
        resource=f"budget/{question.budget}",
        params=about,
        policy_version="",
    )


def _params(question: SpendQuestion) -> dict[str, Any]:
    """Return what people are shown; money in dollars."""
    unit = question.unit
    shown = {
        "budget": question.budget,
        "scope": question.scope,
        "of": question.of,
        "unit": unit.value,
        "percent": question.percent,
        "used": _amount(unit, question.used),
        "limit": _amount(unit, question.limit),
        "until": _amount(unit, question.until),
        "model": question.model,
        "estimate": _amount(unit, question.estimate),
    }
    if question.ends is not None:
        shown["window_ends"] = question.ends.isoformat()
    return shown


def _amount(unit: Unit, amount: int) -> float | int:
    from agentguard.spend import MONEY, usd_text  # a cold `check` needs none of this

    return float(usd_text(amount)) if unit in MONEY else amount


def is_about_spending(approval: Approval) -> bool:
    """Tell whether an approval is the answer to a budget, which no other request uses up."""
    return approval.action == CONTINUE.reference


def edit_refused(approval: Approval) -> str | None:
    """Return why an approver cannot change what is asked, where a budget asks; None where it is something else."""
    if not is_about_spending(approval):
        return None
    return "what a budget asks is approved or denied; for another amount change `limit` in `budgets.yaml`"
