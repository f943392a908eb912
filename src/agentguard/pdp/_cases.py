"""Policy semantics as data: files of requests and the decisions that they must get.

A file names its cases; it may bring a world of its own (actions, resources, principals, rules), so that the
semantics of the language itself can be written down; else it is about the project's world.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    REGRADES,
    Action,
    ConfigError,
    Context,
    Decision,
    Effect,
    Observation,
    Principal,
    Request,
    RequestError,
)
from agentguard.facts import FactExtractor, FactSettings
from agentguard.pdp._case_flow import SeenValue, StatedFlow, StatedOrigin, see, stated_origins
from agentguard.pdp._evaluate import World
from agentguard.pdp._known import facts_of
from agentguard.pdp._pdp import PolicyDecisionPoint
from agentguard.pdp._risk import RiskPolicy
from agentguard.policy import PolicySet, Rule, SequenceRules, compile_policies, shipped_rules, span
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry, load_actions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.documents import Document

NOON_ON_A_MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


class CaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as a case writes it: a principal by id is looked up in the inventory."""

    principal: str | Principal
    action: str
    resource: str
    params: dict[str, Any] = {}
    context: Context = Context()
    time: datetime | None = None


class EarlierRequest(CaseRequest, frozen=True, forbid_unknown_fields=True):
    """A request that was decided before, `ago` before the file's `now`, so many `times`.

    One that is `ago` less than the one before it is fine: clocks jump. `plan` asks for it as a plan of its own.
    `result` is what it gave back, which its session has then seen.
    """

    ago: str = ""
    times: int = 1
    plan: bool = False
    result: Any = msgspec.UNSET


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the decision must say; what is left out is not looked at. `rule: none` means no rule.

    `explanation` is a part of what a finding says counted. `facts` are some of those that the arguments state.
    """

    effect: Effect
    rule: str | None = None
    stage: str | None = None
    action: str | None = None
    params: dict[str, Any] | None = None
    obligations: tuple[dict[str, Any], ...] | None = None
    reason: str | None = None
    near_miss: dict[str, str] = {}
    explanation: str | None = None
    facts: dict[str, Any] = {}


class Case(SequenceRules, frozen=True, forbid_unknown_fields=True):
    """One case; rules of its own take the place of the file's.

    `history` came before the request, in order; then its session saw what is `seen`. `provenance` says by
    parameter or JSON pointer where arguments of the request came from, whatever was seen.
    """

    name: str
    request: CaseRequest
    expect: Expectation
    rules: tuple[Rule, ...] | None = None
    history: tuple[EarlierRequest, ...] = ()
    seen: tuple[SeenValue, ...] = ()
    provenance: dict[str, StatedOrigin] = msgspec.field(default_factory=dict)


class CaseWorld(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A world that a file brings with it; `catalogue`: the shipped actions are declared too."""

    actions: tuple[Action, ...] = ()
    resources: tuple[ResourceEntry, ...] = ()
    principals: tuple[Principal, ...] = ()
    risk: RiskPolicy = RiskPolicy()
    catalogue: bool = False
    facts: FactSettings = FactSettings()


class CaseFile(SequenceRules, frozen=True, forbid_unknown_fields=True):
    """One file of cases; `shipped`: the rules that ship with the package hold beside its own."""

    cases: tuple[Case, ...]
    world: CaseWorld | None = None
    rules: tuple[Rule, ...] | None = None
    shipped: bool = False
    now: datetime = NOON_ON_A_MONDAY


class CaseResult(msgspec.Struct, frozen=True):
    """How a case went: `problems` is empty when it passed."""

    name: str
    line: int | None
    problems: tuple[str, ...]
    decision: Decision


class _FixedClock:
    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def run_cases(document: Document, world: World | None = None) -> Iterator[CaseResult]:
    """Yield the result of each case in `document`; `world` is the project's.

    Raises:
        ConfigError: the file is malformed, or its rules or its world cannot be compiled.
    """
    content = document.convert(CaseFile)
    world = _own_world(content) if content.world is not None else world
    if world is None:
        raise document.error("the file needs a `world`, or a project to be about")
    own_rules = _own_rules(content, content)
    if own_rules is not None:
        world = msgspec.structs.replace(world, policies=own_rules)
    for index, case in enumerate(content.cases):
        own = world
        own_rules = _own_rules(case, content)
        if own_rules is not None:
            own = msgspec.structs.replace(world, policies=own_rules)
        where = document.location("cases", index)
        try:
            decision, early = _decide(case, content.now, own)
        except RequestError as error:
            message = f"case `{case.name}`: {error.message}"
            raise ConfigError(message, location=where, hint=error.hint) from None
        request = _request(case.request, own)
        problems = (
            *early,
            *_problems(case.expect, decision, own),
            *_fact_problems(case.expect, request, own),
        )
        yield CaseResult(case.name, where.line, problems, decision)


def _decide(case: Case, now: datetime, world: World) -> tuple[Decision, list[str]]:
    """Return the decision on the case's request after its history, and what went wrong on the way there."""
    clock, flow = _FixedClock(now), StatedFlow()
    point = PolicyDecisionPoint(world, clock=clock, flow=flow)
    problems = []
    for place, earlier in enumerate(case.history, start=1):
        clock.moment = now - timedelta(seconds=span(earlier.ago) if earlier.ago else 0)
        for _ in range(earlier.times):
            problem = _happen(point, earlier, _request(earlier, world), clock.moment)
            if problem is not None:
                problems.append(f"request {place} of the history {problem}")
    clock.moment = now
    request = _request(case.request, world)
    for each in case.seen:
        see(point, each, request, now)
    flow.stated = stated_origins(case.provenance)
    # A case may say nothing of near misses, so they are traced only where it does.
    return point.decide(request, trace=bool(case.expect.near_miss)), problems


def _own_rules(written: CaseFile | Case, file: CaseFile) -> PolicySet | None:
    """Return the rules that a file or a case brings; a case that brings sequences alone keeps the file's rules."""
    about_more = (written.sequences, written.limits, written.breaker, written.cumulative_risk)
    if written.rules is None and not any(about_more):
        return None
    rules = written.rules if written.rules is not None else file.rules
    return compile_policies(rules or (), written, shipped=shipped_rules() if file.shipped else ())


def _happen(
    point: PolicyDecisionPoint, earlier: EarlierRequest, request: Request, moment: datetime
) -> str | None:
    """Let an earlier request happen; return why it cannot have given back what the case says it did."""
    if earlier.plan:
        point.decide_plan([request])
        return None
    decision = point.decide(request)
    if decision.effect is Effect.ALLOW and decision.action.partition("@")[0] in REGRADES:
        point.count_regrade(request.principal, decision, moment)
    if earlier.result is msgspec.UNSET:
        return None
    if decision.effect.rank > Effect.TRANSFORM.rank:
        return f"gave nothing back: {decision.effect} ({decision.reason})"
    observed = Observation(
        request.principal,
        decision.action,
        decision.resource,
        session=request.context.session,
        result=earlier.result,
    )
    point.observe(observed)
    return None


def _own_world(content: CaseFile) -> World:
    assert content.world is not None
    return World(
        registry=ActionRegistry.build(
            (*(load_actions([]) if content.world.catalogue else ()), *content.world.actions)
        ),
        inventory=Inventory.build(content.world.resources, content.world.principals),
        # What the file brings of rules comes after its world.
        policies=compile_policies((), shipped=shipped_rules() if content.shipped else ()),
        risk=content.world.risk,
        facts=FactExtractor(content.world.facts),
    )


def _request(written: CaseRequest, world: World) -> Request:
    principal = written.principal
    if isinstance(principal, str):
        principal = world.inventory.principals.get(principal, Principal(id=principal))
    context = written.context
    if written.time is not None:
        context = msgspec.structs.replace(context, time=written.time)
    return Request(principal, written.action, written.resource, written.params, context)


def _problems(expected: Expectation, decision: Decision, world: World) -> Iterator[str]:
    if decision.effect is not expected.effect:
        yield f"effect is {decision.effect} ({decision.reason}), expected {expected.effect}"
    if expected.rule is not None and (decision.rule or "none") != expected.rule:
        yield f"rule is {_placed(decision.rule, world)}, expected {expected.rule}"
    for name in ("stage", "action", "params"):
        wanted, got = getattr(expected, name), getattr(decision, name)
        if wanted is not None and wanted != got:
            yield f"{name} is {got}, expected {wanted}"
    obligations = tuple({each.name: each.value} for each in decision.obligations)
    if expected.obligations is not None and obligations != expected.obligations:
        yield f"obligations are {list(obligations)}, expected {list(expected.obligations)}"
    if expected.reason is not None and expected.reason not in decision.reason:
        yield f"reason is `{decision.reason}`, expected it to say `{expected.reason}`"
    missed = {miss.rule: miss.predicate for miss in decision.near_misses}
    for rule, part in expected.near_miss.items():
        if part not in missed.get(rule, ""):
            yield f"near miss of {rule} is `{missed.get(rule)}`, expected it to say `{part}`"
    told = "; ".join(each.explanation for each in decision.findings)
    if expected.explanation is not None and expected.explanation not in told:
        yield f"explanation is `{told}`, expected it to say `{expected.explanation}`"


def _fact_problems(expected: Expectation, request: Request, world: World) -> Iterator[str]:
    if not expected.facts:
        return
    try:
        stated = facts_of(world, request)
    except RequestError:
        stated = {}
    for name, wanted in expected.facts.items():
        got = stated.get(name)
        got = list(got) if isinstance(got, tuple) else got
        if got != wanted:
            yield f"fact {name} is {got}, expected {wanted}"


def _placed(rule: str | None, world: World) -> str:
    """Return a rule's id with the place where it stands."""
    policies = world.policies
    places = {each.id: each.location for each in policies.rules}
    places |= {each.id: each.location for each in policies.sequences.entries}
    place = places.get(rule or "")
    return (rule or "none") if place is None or place.line is None else f"{rule} ({place.file}:{place.line})"
