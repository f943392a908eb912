"""A session: checks that belong together, and what the agent has seen in between.

What comes back from an action can carry somebody else's instructions. So it is reported, and the decision point
knows of each later argument where it came from. If a report fails, nobody knows any more: from then on the
session denies.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, ParamSpec, Required, TypedDict, TypeVar, Unpack

import msgspec

from agentguard.clients._deny import refuse
from agentguard.clients._guarded import guard_with
from agentguard.core import (
    TOKEN_PRINCIPAL,
    AgentGuardError,
    Integrity,
    PlanStep,
    Principal,
    Regrade,
    RequestError,
    Sensitivity,
    Vouched,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Literal

    from agentguard.clients._asking import About
    from agentguard.clients._budgets import Budgets
    from agentguard.clients._point import EnforcementPoint
    from agentguard.clients._sandbox import Sandbox
    from agentguard.core import ApprovalStatus, Context, Decision, SpendAnswer, Spender, SpendQuestion

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", Integrity, Sensitivity)

# What is beyond cannot be traced to its place; the session's label counts for it all the same.
MAX_RESULT_BYTES = 128 * 1024
_JSON_BYTES_A_LETTER = 6
_LOST = "what this session has seen could not be reported"


class Change(TypedDict, total=False):
    """What a change of a label is for: a `source` (`tool:mail.read`) or one `value`, in one argument of one action.

    `param` is a JSON pointer, or `*` for all arguments. `by` is the person or service that asks for it: a
    `Principal` or the id of one in the inventory; left out, it is the one whose token it is.
    """

    source: str
    value: str
    action: Required[str]
    param: Required[str]
    reason: Required[str]
    by: Principal | str


class Session:
    """One session of an enforcement point; `id` names it in records and rules. Safe to use from many threads."""

    def __init__(
        self, point: EnforcementPoint, session_id: str | None, principal: Principal | str | None
    ) -> None:
        self.id = session_id or secrets.token_hex(8)
        self._point = point
        self._principal = principal
        self._is_lost = False

    @property
    def sandboxes(self) -> Mapping[str, Sandbox]:
        """What the host program can confine a call with, by name."""
        return self._point.sandboxes

    @property
    def principal(self) -> Principal:
        """Whose session it is; `TOKEN_PRINCIPAL` where only the sidecar knows."""
        return self._point.principal(self._principal)

    def check(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:
        """Return the decision, as `EnforcementPoint.check` does, in this session."""
        if self._is_lost:
            return refuse(_LOST, action=action, resource=resource)
        return self._point.check(action, resource=resource, session=self.id, **self._by(about))

    async def acheck(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:
        """Return the same as `check` without blocking the event loop."""
        if self._is_lost:
            return refuse(_LOST, action=action, resource=resource)
        return await self._point.acheck(action, resource=resource, session=self.id, **self._by(about))

    def check_plan(
        self,
        steps: Iterable[PlanStep | Mapping[str, Any]],
        *,
        principal: Principal | str | None = None,
        context: Context | None = None,
    ) -> list[Decision]:
        """Return one decision a step, as `EnforcementPoint.check_plan` does, in this session."""
        who = self._principal if principal is None else principal
        decisions = self._point.check_plan(steps, principal=who, context=context, session=self.id)
        if not self._is_lost:
            return decisions
        return [refuse(_LOST, action=each.action, resource=each.resource) for each in decisions]

    def guarded(
        self,
        action: str,
        *,
        resource: str,
        params: Mapping[str, Any] | None = None,
        principal: Principal | str | None = None,
        context: Context | None = None,
        ticket_for: str = "",
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator as `EnforcementPoint.guarded` does, for this session.

        What each call gives back, or its error, is observed here by itself.
        """
        return guard_with(
            self,
            self.observe,
            action,
            resource=resource,
            fixed=params or {},
            principal=principal,
            context=context,
            ticket_for=ticket_for,
        )

    def observe(self, call: Decision, result: Any = None, error: BaseException | str | None = None) -> None:
        """Report what the agent saw of `call`: its result (JSON, or shown as text), or its error.

        Never raises; what cannot be reported makes the session deny from then on.
        """
        try:
            self._point.observe(call, result, error, session=self.id)
        except AgentGuardError:
            self._is_lost = True

    async def aobserve(
        self, call: Decision, result: Any = None, error: BaseException | str | None = None
    ) -> None:
        """Do the same as `observe` without blocking the event loop."""
        import asyncio  # loads slowly, and who awaits has it loaded

        await asyncio.to_thread(self.observe, call, result, error)

    def wait_approval(self, decision: Decision, timeout_s: float | None = None) -> ApprovalStatus:
        """Return where an approval stands, as `EnforcementPoint.wait_approval` does."""
        return self._point.wait_approval(decision, timeout_s)

    async def await_approval(self, decision: Decision, timeout_s: float | None = None) -> ApprovalStatus:
        """Return the same without blocking the event loop."""
        return await self._point.await_approval(decision, timeout_s)

    def hold(self, decision: Decision, again: Callable[[str], Decision]) -> Decision:
        """Return what people make of a decision, as `EnforcementPoint.hold` does."""
        return self._point.hold(decision, again)

    def outlast(self, decision: Decision) -> bool:
        """Wait for the people that a decision waits for, and tell whether they have said."""
        return self._point.outlast(decision)

    async def aoutlast(self, decision: Decision) -> bool:
        """Do the same without blocking the event loop."""
        return await self._point.aoutlast(decision)

    def spending(self) -> tuple[Budgets, Spender] | None:
        """Return the budgets that hold this session's model calls and on whose account these go, if there are any."""
        return self._point.spending(self.principal.id, self.id)

    def ask_spending(self, question: SpendQuestion, audit_id: str) -> SpendAnswer:
        """Return what people say to a question of a budget."""
        return self._point.ask_spending(
            question, session=self.id, principal=self.principal, audit_id=audit_id
        )

    async def ahold(
        self, decision: Decision, again: Callable[[str], Coroutine[Any, Any, Decision]]
    ) -> Decision:
        """Return the same without blocking the event loop."""
        return await self._point.ahold(decision, again)

    def report(
        self, decision: Decision, status: Literal["succeeded", "failed", "refused"], detail: str = ""
    ) -> None:
        """Have it recorded what came of a decision, as `EnforcementPoint.report` does."""
        self._point.report(decision, status, detail)

    def endorse(self, integrity: Integrity | str, **change: Unpack[Change]) -> Decision:
        """Ask to trust values of this session for one argument of one action (`flow.endorse`).

        Only if the decision is an allow has the label changed.

        Raises:
            RequestError: there is no such session, source, action or integrity.
        """
        return self._regrade(change, integrity=_level(Integrity, integrity))

    def declassify(self, confidentiality: Sensitivity | str, **change: Unpack[Change]) -> Decision:
        """Ask to let values of this session go into one argument of one action (`flow.declassify`).

        Only if the decision is an allow has the label changed.

        Raises:
            RequestError: there is no such session, source, action or confidentiality.
        """
        return self._regrade(change, confidentiality=_level(Sensitivity, confidentiality))

    def vouch(self, text: str, *, source: str = "user", by: Principal | str | None = None) -> None:
        """Say that no model wrote `text`: arguments made of its words count as trusted from now on.

        For what the user typed, and for constants of the configuration. `by` is who says so: left out, the host
        program, or whose token it is. Recorded is a commitment to the text, never the text.

        Raises:
            AgentGuardError: it is not recorded, or not for this one to say; the words do not count.
        """
        who = None if by is None else self._point.principal(by)
        whose = self._point.principal(self._principal).id
        try:
            words = Vouched(principal=whose, session=self.id, text=text, source=source, by=who)
        except (ValueError, TypeError) as error:
            raise RequestError(str(error), code="flow_invalid") from None
        self._point.vouch(words)

    def _by(self, about: About) -> About:
        who = about.get("principal")
        return {**about, "principal": self._principal if who is None else who}

    def _regrade(self, change: Change, **level: Any) -> Decision:
        whose = self._point.principal(self._principal)
        if whose is TOKEN_PRINCIPAL:
            hint = "begin it as `guard.session(id, principal=...)`"
            raise RequestError("nobody said whose session it is", code="flow_invalid", hint=hint)
        named: dict[str, Any] = dict(change)
        by = named.pop("by", None)
        who = TOKEN_PRINCIPAL if by is None else self._point.principal(by)
        try:
            regrade = Regrade(by=who, principal=whose.id, session=self.id, **named, **level)
        except ValueError as error:
            raise RequestError(str(error), code="flow_invalid") from None
        return self._point.regrade(regrade)


def _level(kind: type[L], name: L | str) -> L:
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(f"`{each.value}`" for each in kind)
        raise RequestError(
            f"no {kind.__name__.lower()} is called {name!a}", code="flow_invalid", hint=f"known are {known}"
        ) from None


def shown(value: Any) -> str:
    """Return the text that stands for a value.

    Raises:
        RequestError: there is none: it is nested too deeply, or its own code fails.
    """
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - `__str__` is the host program's code and raises what it likes
        raise RequestError("the result has no text that could be reported", code="params_invalid") from None


def bounded(result: Any) -> Any:
    """Return a copy of `result` as JSON, bounded; what is no JSON is shown as the text that the agent sees.

    Raises:
        RequestError: it is neither.
    """
    if type(result) is list and _are_few_texts(texts := result.copy()):
        return texts
    try:
        value: Any = snapshot({"result": result})["result"]
    except RequestError:
        value = shown(result).encode("utf-8", "replace").decode()
    if isinstance(value, str):
        return value[:MAX_RESULT_BYTES]
    encoded = msgspec.json.encode(value)
    return (
        value if len(encoded) <= MAX_RESULT_BYTES else encoded[:MAX_RESULT_BYTES].decode("utf-8", "replace")
    )


def _are_few_texts(values: list[Any]) -> bool:
    """Tell whether a list holds texts alone, in ASCII, that are small however JSON writes them."""
    letters = 0
    for each in values:
        if type(each) is not str or not each.isascii():
            return False
        letters += len(each) + 1
    return letters * _JSON_BYTES_A_LETTER <= MAX_RESULT_BYTES
