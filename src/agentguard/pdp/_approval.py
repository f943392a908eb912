"""Where the decision point meets people: asks them, and uses up what they have approved.

An approval is for one request. When it is used, the request has been decided again under the policy in force: a
deny cancels it, an allow releases it, and what still needs a person is let through only if just the same rule asks
for just the same.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from agentguard.approvals import bind, closed, merge_patch, wait_decided
from agentguard.core import (
    AgentGuardError,
    Approval,
    ApprovalError,
    ApprovalState,
    ApprovalStatus,
    Cancel,
    Consume,
    Context,
    Decision,
    Dispatch,
    Effect,
    Finish,
    Notice,
    NoticeKind,
    Principal,
    RequestError,
    Resource,
    Severity,
    StepKind,
    canonical_hash,
)
from agentguard.pdp._evaluate import Past, Verdict, World, evaluate
from agentguard.pdp._record import masked_params
from agentguard.pdp._spending import SpendDesk, edit_refused, is_about_spending
from agentguard.policy import Facts
from agentguard.registry import CompiledAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.approvals import Router
    from agentguard.core import (
        Action,
        ApprovalEngine,
        Move,
        Notifier,
        Outcome,
    )

_LOG = logging.getLogger("agentguard.pdp")
_LETS_THROUGH = Effect.TRANSFORM.rank
# Decisions whose outcome may come without naming the approval.
_MOST_DISPATCHED = 10_000
_UNSET = datetime(1970, 1, 1, tzinfo=UTC)
_SEVERITIES = {each.value: each for each in Severity}


class Case(msgspec.Struct):
    """A request on its way through the decision point; `verdict` may become that on other parameters."""

    principal: Principal
    context: Context
    resource: Resource
    action: CompiledAction
    params: dict[str, Any]
    world: World
    now: datetime
    past: Past
    verdict: Verdict

    def decision(self) -> Decision:
        """Return the decision that the verdict calls for."""
        verdict = self.verdict
        return Decision(
            verdict.effect,
            verdict.reason,
            self.principal.id,
            verdict.action.reference,
            self.resource.id,
            verdict.params,
            verdict.rule,
            verdict.stage,
            self.world.policies.version,
            verdict.risk,
            verdict.obligations,
            verdict.findings,
            prechecks=verdict.action.action.prechecks,
            required_privileges=verdict.action.action.required_privileges,
            correlation_id=self.context.correlation_id,
            origins=() if verdict.origins is None else verdict.origins.arguments,
        )

    @property
    def is_observed(self) -> bool:
        """Whether it has happened already, and what would have been decided is all that is asked."""
        return self.context.attributes.get("observed") is True

    def decide_again(self, params: dict[str, Any]) -> Verdict:
        """Return the verdict with other parameters, and take it for the request's own."""
        history = self.past.history
        if self.verdict.reservation is not None:
            history.settle(self.verdict.reservation, Effect.DENY)
        self.verdict = evaluate(
            self.world, self.principal, self.action, self.resource, params, self.context, self.now, self.past
        )
        return self.verdict

    def count(self, effect: Effect) -> None:
        """Let the history know of what people let through: it was noted as what waits for them."""
        history, verdict, sequences = self.past.history, self.verdict, self.world.policies.sequences
        if verdict.reservation is not None:
            history.settle(verdict.reservation, Effect.DENY)
        if sequences.empty or effect.rank > _LETS_THROUGH:
            return
        action, params, moment = verdict.action.action, verdict.params, self.past.moment
        inside = self.world.facts_about(verdict.action, params, self.resource)
        origins = self.past.provenance((self.principal.id, self.context.session), params, action.name)
        facts = Facts(
            self.principal,
            action,
            self.resource,
            params,
            self.context,
            self.now,
            inside,
            origins,
            verdict.origins,
        )
        score = verdict.risk.score if verdict.risk is not None else 0
        history.commit(sequences, facts, effect, now=moment, score=score)


class Release(msgspec.Struct):
    """An approval that is to be used up by a decision.

    `is_lifted`: people let through what the policy does not. `is_used`: it is used up.
    """

    approval: Approval
    is_lifted: bool
    is_used: bool = False


class ApprovalDesk:
    """Asks people through an engine, on the routes of `router`; `notifier` takes what rules want to be told.

    `open_engine` is called when the first person has to be asked, since most decisions need none.
    """

    def __init__(
        self,
        open_engine: Callable[[], ApprovalEngine],
        router: Router,
        *,
        commit: Callable[[Any], Any],
        notifier: Notifier | None = None,
    ) -> None:
        self._open_engine = open_engine
        self._engine: ApprovalEngine | None = None
        self._opening = threading.Lock()
        self._router = router
        self._commit = commit
        self._notifier = notifier
        self._dispatched: OrderedDict[str, str] = OrderedDict()
        self.spending = SpendDesk(lambda: self.engine, router)

    def _ask(self, decision: Decision, case: Case) -> Decision:
        """Return a decision that needs a person with the id of the approval that it waits for, or a deny."""
        try:
            kept = self.engine.open(self._question(decision, case))
        except AgentGuardError as error:
            return denied(decision, f"nobody can be asked: {error.message}")
        return replace(decision, approval=kept.id)

    @property
    def engine(self) -> ApprovalEngine:
        """The engine, opened.

        Raises:
            ApprovalError: it cannot be opened.
        """
        with self._opening:
            if self._engine is None:
                self._engine = self._open_engine()
            return self._engine

    def close(self) -> None:
        """Close the engine, if it was opened. Idempotent."""
        if self._engine is not None:
            self._engine.close()

    def redeem(self, approval_id: str, decision: Decision, case: Case) -> tuple[Decision, Release | None]:
        """Return what becomes of a decision whose request names an approval; nothing is used up yet."""
        if case.is_observed:
            return denied(decision, "what has happened already uses no approval up"), None
        try:
            approval = self.engine.wait(approval_id)
            if is_about_spending(approval) and approval.principal == case.principal.id:
                # It comes with the call that a budget stopped, and is used up where the budget is asked again.
                return decision, None
            self._check_same(approval, case)
        except AgentGuardError as error:
            return denied(decision, error.message), None
        decision = replace(decision, approval=approval.id)
        if not approval.state.is_open:
            return denied(decision, _why_closed(approval)), None
        if decision.effect is Effect.DENY:
            self._try(approval, Cancel(why="denied_by_policy", note=decision.reason[:500]))
            return decision, None
        if decision.effect is not Effect.REQUIRE_APPROVAL:
            asked_by_budget = approval.basis == _SPEND and approval.state is ApprovalState.APPROVED
            return decision, Release(approval, is_lifted=asked_by_budget)
        if not self._is_current(approval, decision, case):
            self._try(approval, Cancel(why="stale", note="rule or parameters have changed"))
            return replace(decision, approval=""), None
        if approval.state is ApprovalState.PENDING:
            return decision, None
        return self._lift(approval, decision, case)

    def conclude(self, decision: Decision, case: Case, release: Release | None, now: datetime) -> Decision:
        """Return the decision as it is to be recorded: people told or asked, or their approval used up.

        The effect comes after this, or never. About what has happened already, as the kernel tells of it, nobody is
        asked or told.
        """
        if case.is_observed:
            return decision
        if decision.obligations:
            decision = self._notify(decision, now)
        if decision.effect is Effect.REQUIRE_APPROVAL:
            return decision if decision.approval else self._ask(decision, case)
        if release is None or decision.effect is Effect.DENY:
            return decision
        return self._consume(release, decision)

    def _consume(self, release: Release, decision: Decision) -> Decision:
        """Use the approval up; a deny if that cannot be done."""
        approval = release.approval
        move = Consume(
            binding=approval.binding,
            policy_version=decision.policy_version,
            released=not release.is_lifted,
        )
        try:
            self.engine.apply(approval.id, move)
        except AgentGuardError as error:
            return denied(decision, error.message)
        release.is_used = True
        return decision

    def dispatched(self, release: Release, decision: Decision, case: Case) -> None:
        """Say which decision used an approval up, or that nothing was let through after all."""
        approval = release.approval
        case.count(decision.effect)
        if not release.is_used:
            return
        if decision.effect.rank > _LETS_THROUGH:
            refused = Finish(by=approval.principal, status="refused", detail=decision.reason[:500])
            self._try(approval, refused)
            return
        self._dispatched[decision.audit_id] = approval.id
        if len(self._dispatched) > _MOST_DISPATCHED:
            self._dispatched.popitem(last=False)
        self._try(approval, Dispatch(audit_id=decision.audit_id))

    def finish(self, outcome: Outcome) -> None:
        """Note what came of an action that an approval let through; of another one, do nothing."""
        approval_id = self._dispatched.pop(outcome.audit_id, "") or outcome.approval
        if not approval_id:
            return
        try:
            approval = self.engine.wait(approval_id)
            if approval.dispatched != outcome.audit_id:
                _LOG.warning("an outcome names an approval that is not its own")
                return
            move = Finish(by=outcome.principal, status=outcome.status, detail=outcome.detail[:500])
            self.engine.apply(approval_id, move)
        except AgentGuardError as error:
            _LOG.warning("what came of an approved action is not noted: %s", error.message)

    def wait(self, approval_id: str, principal: Principal, timeout_s: float) -> ApprovalStatus:
        """Return where an approval of a principal stands, once it is decided or the time is up.

        Raises:
            ApprovalError: there is none, or it is somebody else's (`approval_unknown`).
        """
        approval = self.engine.wait(approval_id)
        if approval.principal != principal.id:
            raise ApprovalError(f"there is no approval `{approval_id[:100]}`", code="approval_unknown")
        approval = wait_decided(self.engine, approval_id, timeout_s=timeout_s)
        return ApprovalStatus.of(approval)

    def _notify(self, decision: Decision, now: datetime) -> Decision:
        """Tell people what rules want to be told about a decision; a deny if nobody takes it."""
        wishes = [each.value for each in decision.obligations if each.name == "notify"]
        if not wishes or decision.effect is Effect.DENY:
            return decision
        if self._notifier is None:
            return denied(decision, "a rule wants people to be told, and nothing here can tell them")
        groups = sorted({group for each in wishes if isinstance(each, list | tuple) for group in each})
        notice = Notice(
            id=f"rule:{os.urandom(12).hex()}",
            kind=NoticeKind.RULE,
            severity=_SEVERITIES[_severity(decision)],
            title=f"{decision.effect}: {decision.principal} {decision.action} on {decision.resource}",
            at=now,
            fields=(("rule", decision.rule or ""), ("reason", decision.reason)),
            approval=decision.approval,
            groups=tuple(groups),
        )
        try:
            self._notifier.notify(notice)
        except AgentGuardError as error:
            return denied(decision, f"people cannot be told: {error.message}")
        return decision

    def _question(self, decision: Decision, case: Case) -> Approval:
        action, two = case.verdict.action, any(each.name == "two_person" for each in decision.obligations)
        route = self._router.route(action.action, case.resource.id, decision.params, two_person=two)
        return Approval(
            id=f"ap-{os.urandom(10).hex()}",
            binding=self._binding(case, case.world.policies.version),
            basis=_basis(decision, case.world),
            principal=case.principal.id,
            on_behalf_of=case.principal.on_behalf_of,
            action=decision.action,
            resource=decision.resource,
            params=masked_params(decision.params, action, self._commit),
            policy_version=decision.policy_version,
            rule=decision.rule,
            reason=decision.reason,
            purpose=case.context.reason[:2000],
            session=case.context.session,
            task=case.context.task,
            correlation_id=decision.correlation_id,
            risk=action.action.risk,
            about=_about(action.action, case.resource),
            route=route,
            # The engine says when it begins.
            opened_at=_UNSET,
            deadline=_UNSET,
        )

    def _binding(self, case: Case, policy_version: str) -> str:
        return bind(
            principal=case.principal.id,
            on_behalf_of=case.principal.on_behalf_of,
            action=case.action.reference,
            resource=case.resource.id,
            params=masked_params(case.params, case.action, self._commit),
            policy_version=policy_version,
        )

    def _check_same(self, approval: Approval, case: Case) -> None:
        if approval.principal != case.principal.id:
            # Whose it is, and that there is one, is not for others to know.
            raise ApprovalError(f"there is no approval `{approval.id[:100]}`", code="approval_unknown")
        if self._binding(case, approval.policy_version) != approval.binding:
            raise ApprovalError("the approval is for another request", code="approval_mismatch")

    def _is_current(self, approval: Approval, decision: Decision, case: Case) -> bool:
        """Tell whether just the same rule asks for just the same."""
        shown = masked_params(decision.params, case.verdict.action, self._commit)
        return (
            approval.basis == _basis(decision, case.world)
            and approval.action == decision.action
            and _same(approval.params, shown)
        )

    def _lift(self, approval: Approval, decision: Decision, case: Case) -> tuple[Decision, Release | None]:
        if approval.patch is not None:
            verdict = case.decide_again(merge_patch(decision.params, approval.patch))
            decision = replace(case.decision(), approval=approval.id)
            if verdict.effect is Effect.DENY:
                self._try(approval, Cancel(why="denied_by_policy", note=verdict.reason[:500]))
                return decision, None
            needs_person = verdict.effect is Effect.REQUIRE_APPROVAL
            if needs_person and _basis(decision, case.world) != approval.basis:
                self._try(approval, Cancel(why="stale", note="another rule asks about the change"))
                return denied(decision, "another rule asks about what an approver changed"), None
        changed = decision.action != case.action.reference or not _same(decision.params, case.params)
        effect = Effect.TRANSFORM if changed else Effect.ALLOW
        reason = f"{_approved_note(approval)}: {decision.reason}"
        lifted = replace(decision, effect=effect, reason=reason, stage="approval")
        return lifted, Release(approval, is_lifted=True)

    def _try(self, approval: Approval, move: Move) -> None:
        """Make a move that changes nothing about the decision."""
        try:
            self.engine.apply(approval.id, move)
        except AgentGuardError as error:
            _LOG.warning("approval `%s` is not brought up to date: %s", approval.id, error.message)


def is_given(release: Release | None) -> bool:
    """Tell whether people have approved what is about to be let through."""
    return release is not None and release.approval.state is ApprovalState.APPROVED


def edit_problem(
    world: World, approval: Approval, patch: dict[str, Any], commit: Callable[[Any], Any]
) -> str | None:
    """Return why a change by an approver could not be let through whatever the rules say, or None.

    What the rules say of it is decided when it is used.
    """
    problem = edit_refused(approval)
    if problem is not None:
        return problem
    action = world.registry.resolve(approval.action)
    if action is None:
        return f"{approval.action} is not declared any more"
    if action.secret_paths and not _same(masked_params(patch, action, commit), patch):
        return "a secret or a parameter that is not declared cannot be set here"
    if action.secret_paths:
        # Secrets stand as commitments here, which no schema takes.
        return None
    refused: str | None = action.check(merge_patch(approval.params, patch))
    return refused


def denied(decision: Decision, reason: str) -> Decision:
    """Return a deny of the stage `approval` in the place of a decision."""
    return replace(decision, effect=Effect.DENY, stage="approval", reason=reason, obligations=(), ticket="")


def _basis(decision: Decision, world: World) -> str:
    """Return the hash of what asks for a person: the rule's own content, and the stage."""
    digest = world.policies.digests.get(decision.rule, "") if decision.rule is not None else ""
    score = decision.risk.score if decision.risk is not None and decision.stage == "risk" else 0
    return _basis_of(decision.stage, digest, score)


def _basis_of(stage: str, digest: str = "", score: int = 0) -> str:
    return canonical_hash({"stage": stage, "rule": digest, "score": score})


_SPEND = _basis_of("spend")


def _about(action: Action, resource: Resource) -> dict[str, str]:
    told = {
        "action": action.description,
        "reversible": "yes" if action.reversible else "no",
        "undone by": action.compensating_action or "",
        "resource type": resource.type,
        "environment": resource.environment,
        "sensitivity": resource.sensitivity.value if resource.sensitivity is not None else "unknown",
        "owner": resource.owner,
        "prechecks": ", ".join(action.prechecks),
    }
    return {name: text for name, text in told.items() if text}


def _why_closed(approval: Approval) -> str:
    note = ApprovalStatus.of(approval).note
    message = closed(approval).message
    return f"{message}: {note}" if note and approval.state is not ApprovalState.CONSUMED else message


def _approved_note(approval: Approval) -> str:
    notes = [step.note for step in approval.steps if step.kind is StepKind.APPROVED]
    return notes[-1] if notes else "approved"


def _severity(decision: Decision) -> str:
    names = ("low", "low", "medium", "high", "critical")
    return names[decision.risk.action] if decision.risk is not None else "medium"


def _same(one: Any, other: Any) -> bool:
    # Not `==`: to Python 1, 1.0 and true are equal.
    try:
        return canonical_hash(one) == canonical_hash(other)
    except RequestError:
        return False
