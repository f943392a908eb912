"""The decision point: from a request to a recorded decision, whatever goes wrong on the way."""

from __future__ import annotations

import logging
import traceback
from datetime import datetime
from functools import lru_cache
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    AgentGuardError,
    ApprovalError,
    AuditError,
    Clock,
    Context,
    Decision,
    Effect,
    Integrity,
    Label,
    Observation,
    OpenedSession,
    Outcome,
    Principal,
    Regrade,
    Request,
    RequestError,
    SessionOpening,
    SpendAnswer,
    SystemClock,
    Vouched,
    normalise_action,
    normalise_resource_id,
    snapshot,
)
from agentguard.flow import FlowStore
from agentguard.pdp._approval import ApprovalDesk, Case, Release, is_given
from agentguard.pdp._evaluate import Past, Verdict, World, evaluate
from agentguard.pdp._record import decision_record, masked_params, outcome_record
from agentguard.pdp._regrade import (
    regrade_outcome,
    regrade_problem,
    regrade_request,
    vouch_problem,
    vouch_record,
)
from agentguard.pdp._sessions import Sessions, opening_record
from agentguard.pdp._ticket import draft_ticket, sign_ticket
from agentguard.policy import Facts, History, near_misses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import ApprovalStatus, AuditLog, SpendQuestion, Ticket
    from agentguard.enforcement import TicketIssuer
    from agentguard.intent import IntentSession, Journals
    from agentguard.pdp._cost import ActionCosts
    from agentguard.registry import CompiledAction
    from agentguard.spend import Admission

log = logging.getLogger("agentguard.pdp")

_normalised = lru_cache(maxsize=8192)(normalise_resource_id)
_set = msgspec.structs.force_setattr
# An attribute of an enumeration takes as long as a call.
_ALLOW, _TRANSFORM, _, _DENY = Effect
_NOBODY = Principal("")
_NO_CONTEXT: Context = Request(_NOBODY, "", "").context
_NOTHING: dict[str, Any] = {}
_UNCOUNTED = frozenset(("breaker", "error"))
# Of a longer prompt the rest is not vouched for; it still counts in its own session.
MAX_VOUCHED_TEXT = 24_576
_ENOUGH = 200  # characters of a hostile name that are worth repeating


def _no_commitment(_value: object) -> str:
    return "[withheld]"


class PolicyDecisionPoint:
    """Decides requests in this process (`core.Decider`, `core.LabelKeeper`). Safe to use from many threads.

    `world` may be replaced at any time by another one; a decision uses the one that it began with. Without
    `audit` nothing is recorded; with it, a decision that cannot be recorded is a deny. `commit` turns a
    secret value into what may stand in the log. `history` is what rules about more than one request look back
    on, `flow` where values come from; without them they begin empty. `tickets` issues execution tickets to who
    asks for one; without it, asking for one is a deny. `costs` holds actions that cost to their budgets. `journals` are
    the files in which sessions with an intent outlive the process. `desk` asks people where an approval is needed;
    without it nobody is asked, and no approval counts.
    """

    def __init__(
        self,
        world: World,
        *,
        audit: AuditLog | None = None,
        commit: Callable[[Any], Any] = _no_commitment,
        clock: Clock | None = None,
        history: History | None = None,
        flow: FlowStore | None = None,
        tickets: TicketIssuer | None = None,
        costs: ActionCosts | None = None,
        journals: Journals | None = None,
        desk: ApprovalDesk | None = None,
    ) -> None:
        self.world = world
        self.history = History() if history is None else history
        self.flow = FlowStore() if flow is None else flow
        self._audit = audit
        self._commit = commit
        self._clock = clock or SystemClock()
        self._tickets = tickets
        self._costs = costs
        self._desk = desk
        self._closed = False
        # What it counted is of no use any more, and many short sessions of one principal need its room.
        self._sessions = Sessions(on_end=lambda key: self.history.forget(*key), journals=journals)

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        """Return the decision on `request`; never raises."""
        # What was observed is looked at with a copy of the past: it must use up nothing of what is asked for.
        observed = type(request) is Request and request.observed is True
        history = self.history.branch() if observed else self.history
        return self._decide(request, history, trace=trace, observed=observed)

    def _decide(
        self, request: Request, history: History, *, trace: bool = False, observed: bool = False
    ) -> Decision:
        start = perf_counter_ns()
        world = self.world
        principal, context, moment = _NOBODY, _NO_CONTEXT, None
        ticket: Ticket | None = None
        held: Admission | None = None
        session: IntentSession | None = None
        case: Case | None = None
        release: Release | None = None
        try:
            principal, context, now, moment = self._who_and_when(request)
            if context.session:
                session, world = self._sessions.find((principal.id, context.session), world, moment)
            action, resource_id, params = _what(world, request)
            resource = world.inventory.resolve(resource_id)
            past = Past(history, self.flow, moment, session)
            verdict = evaluate(world, principal, action, resource, params, context, now, past)
            case = Case(principal, context, resource, action, params, world, now, past, verdict)
            decision = case.decision()
            if trace:
                self._add_near_misses(decision, case)
            desk = self._desk if history is self.history else None
            if desk is not None and request.approval:
                decision, release = desk.redeem(request.approval, decision, case)
            if self._costs is not None and history is self.history:
                decision, held = self._costs.hold(decision, principal, context, is_approved=is_given(release))
            if request.ticket_for:
                decision, ticket = draft_ticket(self._tickets, decision, principal, request.ticket_for)
            if desk is not None:
                decision = desk.conclude(decision, case, release, moment)
        except AgentGuardError as error:
            decision = _refusal(request, world, "request", error.message)
        except Exception as error:  # noqa: BLE001 - the boundary: a crash in a layer is a deny
            _log_crash("a layer failed", error)
            decision = _refusal(request, world, "error", f"a layer failed: {type(error).__name__}")
        if decision.effect is _DENY and world.policies.sequences.breaker is not None:
            self._count_denial(decision, world, history, principal, context, moment)
        _set(decision, "latency_us", (perf_counter_ns() - start) / 1000)
        if self._audit is not None:
            decision = self._recorded(decision, principal, context, case, ticket, observed=observed)
        if ticket is not None and decision.effect is not _DENY:
            decision = self._ticketed(decision, ticket)
        if case is not None:
            self._wind_up(decision, case, release, held)
            if session is not None and not observed and case.verdict.origins is not None:
                session.decided(case.action.action.name, case.params, case.verdict.origins, decision.effect)
        return decision

    def _wind_up(
        self, decision: Decision, case: Case, release: Release | None, held: Admission | None
    ) -> None:
        """Tell who kept something for a decision how it ended."""
        if release is not None and self._desk is not None:
            self._desk.dispatched(release, decision, case)
        elif case.verdict.reservation is not None:
            case.past.history.settle(case.verdict.reservation, decision.effect)
        if held is not None and self._costs is not None:
            self._costs.finish(held, decision.effect)

    def _add_near_misses(self, decision: Decision, case: Case) -> None:
        world, action, params = case.world, case.action, case.params
        inside = world.facts_about(action, params, case.resource)
        key = (case.principal.id, case.context.session)
        origins = self.flow.trace(key, params, action.action.name)
        facts = Facts(
            case.principal,
            action.action,
            case.resource,
            params,
            case.context,
            case.now,
            inside,
            origins,
            case.verdict.origins,
        )
        misses = near_misses(
            world.policies,
            facts,
            history=decision.effect is not _DENY,
            conceal=bool(action.secret_paths),
        )
        _set(decision, "near_misses", tuple(each for each in misses if each.rule != decision.rule))

    def decide_plan(self, requests: Sequence[Request]) -> list[Decision]:
        """Return one decision a step, in order; what the steps would use up is used up in this plan only.

        A plan is no permission to act yet, so its decisions carry no tickets.
        """
        history = self.history.branch()
        return [self._decide(_without_ticket(request), history) for request in requests]

    def record_outcome(self, outcome: Outcome) -> None:
        """Record what came of an action.

        Raises:
            AuditError: the log could not take it.
        """
        if self._audit is not None:
            self._audit.append(outcome_record(outcome))
        if self._desk is not None:
            self._desk.finish(outcome)

    def wait_approval(self, approval_id: str, *, principal: Principal, timeout_s: float) -> ApprovalStatus:
        """Return where an approval of `principal` stands, once it is decided or the time is up.

        Raises:
            ApprovalError: there is none, or it is somebody else's (`approval_unknown`).
        """
        if self._desk is None:
            raise ApprovalError("nobody is asked here", code="approval_unknown")
        return self._desk.wait(approval_id, principal, timeout_s)

    def ask_spending(
        self, question: SpendQuestion, *, principal: Principal, context: Context, audit_id: str
    ) -> SpendAnswer:
        """Return where a question of a budget stands, which is asked if it was not; see `SpendAsker`."""
        if self._desk is None or self._closed:
            return SpendAnswer(note="nobody is asked here")
        now = self._clock.now()
        try:
            return self._desk.spending.ask(question, principal, context, audit_id=audit_id, now=now)
        except Exception as error:  # noqa: BLE001 - the boundary: what cannot be asked is not approved
            _log_crash("a budget's question cannot be asked", error)
            return SpendAnswer(note=f"nobody can be asked: {type(error).__name__}")

    def observe(self, observation: Observation) -> None:
        """Take in what an action gave back: its label and fingerprints, under the principal's session.

        Raises:
            RequestError: the decision point is closed, or a session with an intent cannot be kept, or taken up again
                after a restart. Whatever the values are, their label counts.
        """
        if self._closed:
            raise RequestError("the decision point is closed", code="closed")
        key, moment = (observation.principal.id, observation.session), self._clock.now().timestamp()
        opened = self._sessions.find_open(key, self.world, moment) if observation.session else None
        name, label = _label_of(opened.world if opened is not None else self.world, observation)
        try:
            if opened is not None:
                params = observation.params if observation.params is not None else {}
                opened.intent.observe(name, params, observation.result, observation.error)
        finally:
            for value in (observation.result, observation.error or None):
                if value is not None:
                    self.flow.observe(key, value, label, f"tool:{name}", moment)

    def open_session(self, opening: SessionOpening) -> OpenedSession:
        """Open a session with the user's words, once that is in the log.

        Raises:
            RequestError: the decision point is closed, or the session cannot be opened.
            RegistryError: a tool cannot be read.
            AuditError: the log could not take it; there is no session then.
        """
        if self._closed:
            raise RequestError("the decision point is closed", code="closed")
        now = self._clock.now().timestamp()
        opened = self._sessions.open(
            opening, self.world, now, lambda made: self._append(opening_record(opening, made, self._commit))
        )
        self.flow.vouch((opened.principal, opened.session), opening.intent[:MAX_VOUCHED_TEXT], "user", now)
        return opened

    def _append(self, record: dict[str, Any]) -> None:
        if self._audit is not None:
            self._audit.append(record)

    def regrade(self, regrade: Regrade) -> Decision:
        """Decide on a change of a label, and carry it out if it is allowed.

        Raises:
            RequestError: there is no such session, source or action, or no room for another change.
        """
        by = regrade.by
        request = regrade_request(regrade)
        if regrade_problem(by, request.params) is None:
            # Who may not ask is not told either what there is.
            self._check_subject(regrade)
        decision = self.decide(request)
        if decision.effect is _TRANSFORM:
            self.record_outcome(Outcome(decision.audit_id, "refused", "rewritten", by.id))
        if decision.effect is not _ALLOW:
            return decision
        moment = self._clock.now()
        try:
            done = self.flow.regrade(regrade, moment.timestamp())
        except RequestError as error:
            self.record_outcome(Outcome(decision.audit_id, "failed", error.code, by.id))
            raise
        self.count_regrade(by, decision, moment)
        try:
            self.record_outcome(regrade_outcome(decision.audit_id, by, done))
        except AuditError as error:
            # That it was allowed is on record, with all of what it says.
            _log_crash("the outcome of a changed label could not be recorded", error)
        return decision

    def vouch(self, words: Vouched) -> None:
        """Count words as trusted in a session, once that is in the log.

        Raises:
            RequestError: the decision point is closed, or it is not for this one to say (`vouch_refused`).
            AuditError: the log could not take it; the words do not count.
        """
        if self._closed:
            raise RequestError("the decision point is closed", code="closed")
        problem = vouch_problem(words)
        if problem is not None:
            raise RequestError(problem, code="vouch_refused")
        if self._audit is not None:
            self._audit.append(vouch_record(words, self._commit))
        key = (words.principal, words.session)
        self.flow.vouch(key, words.text, words.source, self._clock.now().timestamp())

    def _check_subject(self, regrade: Regrade) -> None:
        action = self.world.registry.resolve(regrade.action)
        if action is None or action.action.name != regrade.action:
            hint = "name it as `agentguard actions list` does, without a version"
            raise RequestError(
                f"no action is named `{_shown(regrade.action)}`", code="action_undeclared", hint=hint
            )
        self.flow.find_subject(regrade, self._clock.now().timestamp())

    def count_regrade(self, by: Principal, decision: Decision, moment: datetime) -> None:
        """Let a change that `by` was allowed count as `unless` and `requires` in the session whose label it is."""
        world, params = self.world, decision.params
        action = world.registry.resolve(decision.action)
        if action is None or world.policies.sequences.empty:
            return
        resource = world.inventory.resolve(decision.resource)
        facts = Facts(by, action.action, resource, params, _NO_CONTEXT, moment)
        whose, context = Principal(params.get("principal", "")), Context(session=params.get("session", ""))
        self.history.free(world.policies.sequences, facts, whose, context)

    def close(self) -> None:
        """Deny from now on, and close the log."""
        is_first = not self._closed
        self._closed = True
        if is_first:
            self._sessions.close()
        if self._audit is not None:
            self._audit.close()

    def _count_denial(  # noqa: PLR0917 - as `evaluate`
        self,
        decision: Decision,
        world: World,
        history: History,
        principal: Principal,
        context: Context,
        moment: datetime | None,
    ) -> None:
        # A crash of ours is nobody's fault, and a pause is not made longer by asking.
        if moment is None or decision.stage in _UNCOUNTED:
            return
        try:
            history.denied(world.policies.sequences, principal, context, moment)
        except Exception as error:  # noqa: BLE001 - the boundary: the decision is a deny already
            _log_crash("a denial could not be counted", error)

    def _who_and_when(self, request: Request) -> tuple[Principal, Context, datetime, datetime]:
        if self._closed:
            raise RequestError("the decision point is closed", code="closed")
        if type(request) is not Request:
            raise RequestError("this is no request")
        principal, context = request.principal, request.context
        if type(principal) is not Principal or not _is_text(principal.id) or not principal.id:
            raise RequestError("the request has no principal")
        if type(principal.roles) is not tuple or type(principal.groups) is not tuple:
            raise RequestError("the request's principal is malformed")
        if request.observed is True and request.ticket_for:
            raise RequestError("what was observed needs no ticket")
        if principal.on_behalf_of:
            _check_chain(principal)
        # One that says nothing needs no look; comparing it costs a twentieth of looking.
        if context is not _NO_CONTEXT and context != _NO_CONTEXT:
            context = _checked(context)
        now, moment = context.time, self._clock.now()
        if now is None:
            return principal, context, moment, moment
        if now.tzinfo is None:
            raise RequestError("the request's time has no time zone")
        return principal, context, now, moment

    def _ticketed(self, decision: Decision, draft: Ticket) -> Decision:
        assert self._tickets is not None
        signed = sign_ticket(self._tickets, decision, draft)
        if signed.effect is _DENY and signed.audit_id:
            # Its record says allow.
            try:
                self.record_outcome(Outcome(signed.audit_id, "refused", signed.reason, signed.principal))
            except AuditError as error:
                _log_crash("an outcome could not be recorded", error)
        return signed

    def _recorded(
        self,
        decision: Decision,
        principal: Principal,
        context: Context,
        case: Case | None,
        ticket: Ticket | None,
        *,
        observed: bool = False,
    ) -> Decision:
        assert self._audit is not None
        try:
            record = decision_record(
                decision,
                principal=principal,
                context=context,
                action=_declares(None if case is None else case.verdict),
                commit=self._commit,
                observed=observed,
            )
            if case is not None and decision.params is not case.params:
                record["requested"] = {
                    "action": case.action.reference,
                    "params": masked_params(case.params, case.action, self._commit),
                }
            if ticket is not None:
                record["ticket"] = {"jti": ticket.jti, "aud": ticket.audience, "exp": ticket.expires_at}
            _set(decision, "audit_id", self._audit.append(record))
        except Exception as error:  # noqa: BLE001 - the boundary: what is not on record is not allowed
            if not isinstance(error, AuditError):
                _log_crash("a decision could not be recorded", error)
            return _unrecorded(decision, error)
        return decision


def _without_ticket(request: Request) -> Request:
    asks = type(request) is Request and (request.ticket_for or request.approval)
    return msgspec.structs.replace(request, ticket_for="", approval="") if asks else request


def _declares(verdict: Verdict | None) -> CompiledAction | None:
    """Return the action whose schema says what is secret; None where it cannot be relied on for that."""
    if verdict is None or (verdict.stage == "schema" and verdict.action.secret_paths):
        # A secret may stand anywhere in parameters that do not have the declared shape.
        return None
    return verdict.action


def _what(world: World, request: Request) -> tuple[CompiledAction, str, dict[str, Any]]:
    name = request.action
    action = world.registry.resolve(name) if type(name) is str else None
    if action is None:
        reference = normalise_action(name)
        raise RequestError(f"undeclared action `{reference}`", code="action_undeclared")
    resource = request.resource
    if type(resource) is not str:
        raise RequestError("the request has no resource", code="resource_invalid")
    if "*" in resource:
        raise RequestError("a request names one resource, without `*`", code="resource_invalid")
    return action, _normalised(resource), snapshot(request.params)


def _label_of(world: World, observation: Observation) -> tuple[str, Label]:
    """Return the action's name and how its result is labelled: as it declares, and as sensitive as its resource."""
    action = world.registry.resolve(observation.action)
    if action is None:
        # Nothing says where this comes from, so it may be anybody's words.
        return "undeclared", Label(integrity=Integrity.UNTRUSTED)
    flow = action.action.flow
    label = flow.source if flow is not None and flow.source is not None else Label()
    try:
        resource = (
            world.inventory.resolve(_normalised(observation.resource)) if observation.resource else None
        )
    except RequestError:
        resource = None
    if resource is not None and resource.listed and resource.sensitivity is not None:
        label = label.join(Label(Integrity.TRUSTED, resource.sensitivity))
    return action.action.name, label


def _check_chain(principal: Principal) -> None:
    """Refuse a delegation chain that leads back to itself: it would have no one who asked first."""
    chain = principal.on_behalf_of
    if type(chain) is not tuple or not all(_is_text(each) and each for each in chain):
        raise RequestError("the request's delegation chain is malformed")
    known = {principal.id}
    for each in chain:
        if each in known:
            raise RequestError(f"the delegation chain names `{_shown(each)}` twice", code="delegation_cyclic")
        known.add(each)


def _is_text(value: object) -> bool:
    if type(value) is not str:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(context: Context) -> Context:
    """Return the context with a copy of its facts, which the caller could change while we look at them."""
    if type(context) is not Context:
        raise RequestError("the request's context is malformed")
    session, correlation_id, time, task, ticket, reason = (
        context.session,
        context.correlation_id,
        context.time,
        context.task,
        context.ticket,
        context.reason,
    )
    for text in (session, correlation_id, task, ticket, reason):
        # Asked here first: a call for each costs more than the look.
        if type(text) is not str or not (text.isascii() or _is_text(text)):
            raise RequestError("the request's context is malformed")
    if time is not None and not isinstance(time, datetime):
        raise RequestError("the request's time is no time")
    if context.attributes == _NOTHING and context.provenance == _NOTHING:
        return Context(session, correlation_id, time, task, ticket, reason=reason)
    try:
        facts, origins = snapshot(context.attributes), snapshot(context.provenance)
    except RequestError:
        raise RequestError("the request's context is malformed") from None
    return msgspec.structs.replace(context, attributes=facts, provenance=origins)


def _log_crash(what: str, error: Exception) -> None:
    """Log the kind and the place of an error; not its text, which can quote a secret parameter."""
    frames = traceback.extract_tb(error.__traceback__)
    log.error("%s: %s at %s:%s", what, type(error).__name__, frames[-1].filename, frames[-1].lineno)


def _refusal(request: object, world: World, stage: str, reason: str) -> Decision:
    known = request if type(request) is Request else Request(_NOBODY, "", "")
    principal, context = known.principal, known.context
    return Decision(
        effect=_DENY,
        reason=reason,
        principal=_shown(principal.id) if type(principal) is Principal else "",
        action=_shown(known.action),
        resource=_shown(known.resource),
        stage=stage,
        policy_version=world.policies.version,
        correlation_id=_shown(context.correlation_id) if type(context) is Context else "",
    )


def _shown(name: object) -> str:
    """Return a hostile name fit to be shown: text, short, valid Unicode."""
    # A subclass of str could do anything when it is sliced.
    return name[:_ENOUGH].encode("utf-8", "replace").decode() if type(name) is str else ""


def _unrecorded(decision: Decision, error: Exception) -> Decision:
    why = error.message if isinstance(error, AgentGuardError) else type(error).__name__
    return msgspec.structs.replace(
        decision,
        effect=_DENY,
        stage="audit",
        reason=f"the decision could not be recorded: {why}",
        obligations=(),
        audit_id="",
    )
