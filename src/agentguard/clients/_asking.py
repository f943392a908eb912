"""From what a caller says to a request, and to a deny where that cannot be."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from agentguard.clients._deny import refuse
from agentguard.core import (
    TOKEN_PRINCIPAL,
    AgentGuardError,
    Context,
    PlanStep,
    Principal,
    Request,
    RequestError,
    snapshot,
)
from agentguard.enforcement import log_decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.core import Decision

_NO_CONTEXT = Context()
_CONTEXT_TEXTS = ("session", "correlation_id", "task", "ticket", "reason")
_SAYS_CONTEXT = frozenset(_CONTEXT_TEXTS)
_LOGGER = logging.getLogger("agentguard.pep")


class Circumstances(TypedDict, total=False):
    """What a check can say besides what is to be done, and by whom.

    `correlation_id`, `task`, `ticket` and `reason` stand over those of `context`. `ticket_for` names the executor that
    an execution ticket is for, `approval` the approval that is to be used up. With `trace` the decision lists its near
    misses even where it is no deny.
    """

    context: Context | None
    correlation_id: str
    task: str
    ticket: str
    reason: str
    ticket_for: str
    approval: str
    trace: bool


class About(Circumstances, total=False):
    """The same, and what a check can say besides the action and the resource."""

    params: dict[str, Any] | None
    principal: Principal | str | None


class Asked(About, total=False):
    """The same, and the session that it belongs to."""

    session: str


_KEYWORDS = frozenset(Asked.__annotations__)
CIRCUMSTANCES = frozenset(Circumstances.__annotations__)


def check_keywords(about: Mapping[str, Any], known: frozenset[str] = _KEYWORDS) -> None:
    """Refuse a keyword that is not `known`.

    Raises:
        TypeError: as Python itself says it.
    """
    if not known.issuperset(about):
        name = min(about.keys() - known)
        raise TypeError(f"a check has no keyword argument {name!r}")


def make_request(  # noqa: PLR0917 - as `Request`
    action: str,
    resource: str,
    who: Principal,
    params: Any,
    context: Context,
    ticket_for: str = "",
    approval: str = "",
) -> Request:
    """Return the request, with a copy of its parameters.

    Raises:
        RequestError: it is malformed.
    """
    if type(action) is not str or type(resource) is not str:
        raise RequestError("an action and a resource are texts")
    if type(ticket_for) is not str:
        raise RequestError("`ticket_for` is an executor's name")
    if type(approval) is not str:
        raise RequestError("`approval` is the id of an approval")
    copies = {} if params is None else snapshot(params)
    return Request(who, action, resource, copies, context, ticket_for, approval)


def find_principal(named: object, otherwise: Principal | None, find: Callable[[str], Principal]) -> Principal:
    """Return who is meant: an id is looked up, None is `otherwise` or whoever the decider knows.

    Raises:
        RequestError: it is neither an id nor a `Principal`.
    """
    who = otherwise if named is None else named
    if isinstance(who, str):
        who = find(who)
    if who is None:
        who = TOKEN_PRINCIPAL
    if not isinstance(who, Principal):
        raise RequestError("a principal is an id or a `Principal`")
    return who


def make_context(context: Context | None, about: Mapping[str, Any]) -> Context:
    """Return the context with what `about` says over it.

    Raises:
        RequestError: `context` is none.
    """
    if context is not None and not isinstance(context, Context):
        raise RequestError("a context is a `Context`")
    if _SAYS_CONTEXT.isdisjoint(about):
        return context or _NO_CONTEXT
    given = {name: about[name] for name in _CONTEXT_TEXTS if about.get(name)}
    return msgspec.structs.replace(context or _NO_CONTEXT, **given)


def claim_run(context: Context, run: str, pid: int) -> Context:
    """Return the context saying that the asking process is part of a run; what it says already stands."""
    return msgspec.structs.replace(
        context, attributes={"claimed_run": run, "claimed_pid": pid, **context.attributes}
    )


def read_step(step: PlanStep | Mapping[str, Any]) -> PlanStep:
    """Return a step of a plan, which may be given as a mapping."""
    return step if isinstance(step, PlanStep) else msgspec.convert(dict(step), PlanStep)


def deny_step(error: Exception, step: PlanStep | Mapping[str, Any]) -> Decision:
    """Return the deny of a step whose plan failed; the step need not be well formed."""
    if isinstance(step, PlanStep):
        return deny_failure(error, step.action, step.resource)
    known: dict[str, Any] = step if isinstance(step, dict) else {}
    return deny_failure(error, known.get("action"), known.get("resource"))


def deny_failure(error: Exception, action: Any, resource: Any, correlation_id: Any = "") -> Decision:
    """Return the deny for a failure of ours; foreign texts may quote a parameter, so their class must do."""
    name = type(error).__name__
    _LOGGER.warning("a check failed and is denied: %s", name)
    if isinstance(error, AgentGuardError):
        reason = error.message
    elif isinstance(error, msgspec.ValidationError):
        reason = "a step of the plan is malformed"
    else:
        reason = f"the check failed: {name}"
    decision = refuse(reason, action=action, resource=resource, correlation_id=correlation_id)
    log_decision(decision)
    return decision
