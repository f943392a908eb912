"""The stages: one pass of a request through schema, rules, inventory, obligations, history and risk.

What it says depends on its arguments alone, and it changes none but the history, where it reserves what the
request would use up. Each stage can only make the effect stricter; rewriting
(stage `transform`) leads to a second pass over what was rewritten, and never to a third.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    NO_FACTS,
    REGRADES,
    ArgumentFacts,
    CallOrigins,
    Context,
    Effect,
    Finding,
    Obligation,
    OriginKind,
    Principal,
    RequestError,
    Resource,
    RiskScore,
    Sink,
    snapshot,
)
from agentguard.enforcement import obligation_problem, unmet_obligation
from agentguard.facts import FactExtractor
from agentguard.flow import NOTHING_SEEN, FlowStore, Key, can_violate, flow_violation, trifecta
from agentguard.intent import IntentSession
from agentguard.pdp._regrade import regrade_problem
from agentguard.pdp._risk import RiskPolicy, risk_reason
from agentguard.policy import Facts, History, PolicySet, Reservation, Rewrite, Ruling
from agentguard.registry import ActionRegistry, CompiledAction, Inventory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.core import Provenance


# An attribute of an enumeration takes as long as a call.
_ALLOW, _TRANSFORM, _APPROVAL, _DENY = Effect
_EXTERNAL = Sink.EXTERNAL


class World(msgspec.Struct, frozen=True):
    """All that a decision depends on besides the request; replaced as a whole."""

    registry: ActionRegistry
    inventory: Inventory
    policies: PolicySet
    risk: RiskPolicy = RiskPolicy()
    facts: FactExtractor = FactExtractor()

    def facts_about(
        self, action: CompiledAction, params: dict[str, Any], resource: Resource
    ) -> ArgumentFacts:
        """Return what is inside the arguments, to be worked out when a rule asks."""
        if not self.policies.asks_facts:
            return NO_FACTS
        return self.facts.view(action.action, params, resource)


class Past(msgspec.Struct, frozen=True):
    """What happened before a request: `history` of decisions, `flow` of values; `moment` is the guard's own time.

    `session` is there where the session was opened with the user's words.
    The history counts by `moment`: who asks must not wait out a window by saying that it is tomorrow.
    """

    history: History
    flow: FlowStore
    moment: datetime
    session: IntentSession | None = None

    def provenance(self, key: Key, params: dict[str, Any], action: str) -> Mapping[str, Provenance]:
        """Return where the arguments of a call come from."""
        return self.flow.trace(key, params, action)

    def origins(
        self, action: CompiledAction, params: dict[str, Any], provenance: Mapping[str, Provenance]
    ) -> CallOrigins | None:
        """Return where the targets of a call come from, if its session was opened with an intent."""
        if self.session is None:
            return None
        return self.session.judge(action.action.name, params, provenance)


class Verdict(msgspec.Struct):
    """What the stages found; `action` and `params` are the final ones."""

    effect: Effect
    stage: str
    reason: str
    action: CompiledAction
    params: dict[str, Any]
    rule: str | None = None
    risk: RiskScore | None = None
    obligations: tuple[Obligation, ...] = ()
    findings: tuple[Finding, ...] = ()
    reservation: Reservation | None = None
    origins: CallOrigins | None = None


def evaluate(  # noqa: PLR0917 - called once, on the hot path, where keywords cost
    world: World,
    principal: Principal,
    action: CompiledAction,
    resource: Resource,
    params: dict[str, Any],
    context: Context,
    now: datetime,
    past: Past,
) -> Verdict:
    """Return the verdict on a request whose names are resolved. `params` is ours to keep.

    `now` is the time that rules look at. A verdict's reservation is to be settled.
    """
    problem = _schema_problem(action, resource, params)
    if problem is not None:
        return Verdict(_DENY, "schema", problem, action, params)
    if action.action.name in REGRADES:
        problem = regrade_problem(principal, params)
        if problem is not None:
            return Verdict(_DENY, "flow", problem, action, params)
    inside = world.facts_about(action, params, resource)
    origins = past.provenance((principal.id, context.session), params, action.action.name)
    called = past.origins(action, params, origins)
    facts = Facts(principal, action.action, resource, params, context, now, inside, origins, called)
    ruling = world.policies.evaluate(facts)
    verdict = _from_ruling(ruling, action, facts)
    verdict.origins = called
    if verdict.effect is _DENY:
        return verdict
    if ruling.rewrites:
        rewritten = _rewrite(world, ruling.rewrites, verdict)
        if rewritten is None:
            if not _lasts(world, ruling, verdict):
                return _denied(verdict, "mandatory rewritings contradict each other")
            # Nothing had to be changed: what the rule asks for already holds.
            if verdict.effect is _TRANSFORM:
                verdict.effect = _ALLOW
        elif rewritten.effect is _DENY:
            return rewritten
        else:
            return _decide_again(world, facts, verdict, rewritten, past)
    return _add_history(world, verdict, facts, past)


def _schema_problem(action: CompiledAction, resource: Resource, params: dict[str, Any]) -> str | None:
    types = action.action.resource_types
    if types and resource.listed and resource.type not in types:
        return f"{action.action.name} is for {', '.join(types)}, and {resource.id} is a {resource.type}"
    problem: str | None = action.check(params)
    return problem


def _from_ruling(ruling: Ruling, action: CompiledAction, facts: Facts) -> Verdict:
    verdict = Verdict(
        ruling.effect,
        ruling.stage,
        ruling.reason,
        action,
        facts.params,
        ruling.rule.rule.id if ruling.rule is not None else None,
        None,
        ruling.obligations,
    )
    if ruling.effect is _DENY:
        return verdict
    resource = facts.resource
    if not resource.listed and not ruling.names_resource:
        verdict.effect, verdict.stage = _DENY, "inventory"
        verdict.reason = f"{resource.id} is not in the inventory, and no rule names it or a pattern of it"
    for obligation in ruling.obligations:
        problem = obligation_problem(obligation) or unmet_obligation(obligation, facts.context)
        if problem is not None:
            verdict.effect, verdict.stage, verdict.reason = _DENY, "obligations", problem
    wants_two = any(each.name == "two_person" for each in ruling.obligations)
    if wants_two and verdict.effect.rank < Effect.REQUIRE_APPROVAL.rank:
        verdict.effect, verdict.stage = Effect.REQUIRE_APPROVAL, "obligations"
        verdict.reason = f"two people have to approve: {verdict.reason}"
    return verdict


def _rewrite(world: World, rewrites: tuple[Rewrite | None, ...], verdict: Verdict) -> Verdict | None:
    """Return the request as rewritten, None if it stays as it is, or a deny if it cannot be done."""
    params = snapshot(verdict.params)
    action = verdict.action
    try:
        for rewrite in rewrites:
            if rewrite is None:
                action = _read_only_form(world, action)
                params = {name: value for name, value in params.items() if name in action.param_names}
            else:
                rewrite(params)
    except RequestError as error:
        return _denied(verdict, f"the request cannot be rewritten: {error.message}")
    # Compared as JSON: to Python, `false` is 0 and a rewriting of the one to the other would be none.
    if action is verdict.action and msgspec.json.encode(params) == msgspec.json.encode(verdict.params):
        return None
    return Verdict(_TRANSFORM, verdict.stage, verdict.reason, action, params)


def _read_only_form(world: World, action: CompiledAction) -> CompiledAction:
    if action.action.read_only_form is None:
        if any(each.read_only_form == action.reference for each in world.registry):
            return action
        raise RequestError(f"{action.reference} has no read-only form", code="transform_failed")
    form = world.registry.resolve(action.action.read_only_form)
    if form is None:
        raise RequestError(f"{action.action.read_only_form} is not declared", code="transform_failed")
    return form


def _decide_again(world: World, facts: Facts, first: Verdict, rewritten: Verdict, past: Past) -> Verdict:
    """Decide what a rewriting made of the request, once; the stricter of the two passes holds."""
    action, params, resource = rewritten.action, rewritten.params, facts.resource
    first.action, first.params = action, params
    problem = _schema_problem(action, resource, params)
    if problem is not None:
        return _denied(first, f"the rewritten request is invalid: {problem}")
    inside = world.facts_about(action, params, resource)
    who, context = facts.principal, facts.context
    origins = past.provenance((who.id, context.session), params, action.action.name)
    called = past.origins(action, params, origins)
    first.origins = called
    again = Facts(who, action.action, resource, params, context, facts.now, inside, origins, called)
    ruling = world.policies.evaluate(again)
    second = _from_ruling(ruling, action, again)
    if second.effect is _DENY:
        second.reason = f"the rewritten request is denied: {second.reason}"
        return second
    if (ruling.rewrites and _rewrite(world, ruling.rewrites, second) is not None) or not _lasts(
        world, ruling, second
    ):
        return _denied(first, "the rewritten request would be rewritten again")
    if second.effect.rank > max(first.effect.rank, _TRANSFORM.rank):
        first.effect, first.stage, first.reason = second.effect, second.stage, second.reason
        first.rule = second.rule
    else:
        first.effect = first.effect.join(_TRANSFORM)
    first.obligations += tuple(each for each in second.obligations if each not in first.obligations)
    return _add_history(world, first, again, past)


def _lasts(world: World, ruling: Ruling, verdict: Verdict) -> bool:
    """Tell whether each mandatory rewriting finds nothing left to do, so that no other one undid it."""
    return all(_rewrite(world, rewrites, verdict) is None for rewrites in ruling.lasting)


def _denied(verdict: Verdict, reason: str) -> Verdict:
    verdict.effect, verdict.stage, verdict.reason = _DENY, "transform", reason
    return verdict


def _add_flow(verdict: Verdict, facts: Facts, past: Past) -> None:
    """Join what is built in about where values may go; no setting makes it milder."""
    action = facts.action
    flow = action.flow
    if flow is None or facts.provenance is None or facts.provenance is NOTHING_SEEN:
        return
    if flow.sink is not _EXTERNAL and flow.clearance is None:
        return
    label = past.flow.label((facts.principal.id, facts.context.session))
    problem = flow_violation(action, facts.provenance) if can_violate(flow, label) else None
    effect = _DENY
    if problem is None:
        problem = None if _is_chosen(facts.origins) else trifecta(label, flow)
        effect = _APPROVAL
    if problem is not None and effect.rank > verdict.effect.rank:
        verdict.effect, verdict.stage, verdict.reason = effect, "flow", problem


# The user is the source of these: nobody who wrote into what was read has picked the recipient.
_CHOSEN = frozenset(
    (
        OriginKind.USER,
        OriginKind.INVENTORY,
        OriginKind.SUBJECT,
        OriginKind.DERIVED,
        OriginKind.SELECTED,
        OriginKind.DELEGATED,
    )
)
_GOOD = _CHOSEN | {
    OriginKind.NONE,
    OriginKind.OWNED,
    OriginKind.CREATED,
    OriginKind.LISTED,
    OriginKind.COMPOSED,
}


def _is_chosen(origins: CallOrigins | None) -> bool:
    """Tell whether the user chose where a call sends things, or nothing that was read can go along with it."""
    if origins is None:
        return False
    return origins.targets in _CHOSEN or (not origins.carries and origins.targets in _GOOD)


def _add_history(world: World, verdict: Verdict, facts: Facts, past: Past) -> Verdict:
    """Join flow, what happened before, and then the risk; `facts` are of the request as it would be carried out."""
    _add_flow(verdict, facts, past)
    if verdict.effect is _DENY:
        return verdict
    risk = world.risk.score(verdict.action.risk_weight, facts.resource)
    verdict.risk = risk
    sequences = world.policies.sequences
    if not sequences.empty:
        expected = verdict.effect.join(risk.effect)
        reserved = past.history.reserve(sequences, facts, expected, now=past.moment, score=risk.score)
        if reserved is not None:
            verdict.reservation = reserved
            said = reserved.ruling
            if said is not None and said.effect.rank > verdict.effect.rank:
                verdict.effect, verdict.stage, verdict.reason = said.effect, said.stage, said.reason
                verdict.rule = said.rule
                verdict.findings = (
                    Finding(said.rule or said.stage, 1.0, said.severity, said.explanation or said.reason),
                )
    if risk.effect.rank > verdict.effect.rank:
        verdict.effect, verdict.stage = risk.effect, "risk"
        verdict.reason = risk_reason(risk, facts.resource)
    return verdict
