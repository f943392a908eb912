"""Decides the tool calls that a model proposes, before its caller sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentguard.clients._deny import refuse
from agentguard.clients._reply import is_same_action
from agentguard.clients.llm._guard import ToolAction
from agentguard.clients.llm._refusal import Refusal, refuse_decision
from agentguard.clients.llm._steps import check
from agentguard.core import ConfigError, Decision, Effect, RequestError
from agentguard.enforcement import log_decision
from agentguard.llm import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.clients.llm._guard import LlmGuard
    from agentguard.clients.llm._steps import Steps
    from agentguard.llm import ToolCall

# These are carried out here, or by nobody.
_HARMLESS = frozenset(("log_level",))


class ToolDeniedError(Exception):
    """A proposed tool call is denied and the caller wants that raised; never leaves this sub-package."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Question:
    call: ToolCall
    tool: ToolAction
    resource: str


def judge(guard: LlmGuard, calls: Sequence[ToolCall]) -> Steps[list[Verdict]]:
    """Return what becomes of each proposed call.

    Raises:
        ToolDeniedError: one of them is denied, where the guard wants that raised.
    """
    verdicts: list[Verdict] = []
    for call in calls:
        decision, verdict = yield from _judge_one(guard, call)
        guard.remember(call.id, decision)
        if verdict is None:
            refusal = refuse_decision(decision, tool=call.name)
            if guard.on_denied == "raise":
                raise ToolDeniedError(refusal)
            verdict = Verdict(refusal=f"[The call of `{call.name}` was denied: {refusal.message}]")
        verdicts.append(verdict)
    return verdicts


def _judge_one(guard: LlmGuard, call: ToolCall) -> Steps[tuple[Decision, Verdict | None]]:
    """Return the decision, and the verdict; None where the call must not reach the caller."""
    try:
        question = _question(guard, call)
    except (RequestError, ConfigError) as error:
        return _refused(error.message, call.name, f"tool/{call.name}"), None
    decision = yield from _decide(guard, question)
    if decision.effect is Effect.REQUIRE_APPROVAL and question.tool.is_guarded:
        # The function asks people itself, and waits for them.
        return decision, PASS
    if decision.effect not in (Effect.ALLOW, Effect.TRANSFORM):
        return decision, None
    problem = _problem(question, decision)
    if problem:
        refused = _refused(problem, decision.action, decision.resource)
        guard.session.report(decision, "refused", problem)
        return refused, None
    if decision.effect is Effect.ALLOW:
        return decision, PASS
    arguments = {name: value for name, value in decision.params.items() if name not in question.tool.params}
    return decision, PASS if arguments == call.arguments else Verdict(arguments=arguments)


def _question(guard: LlmGuard, call: ToolCall) -> _Question:
    if call.arguments is None:
        raise RequestError("the arguments of the tool call are no JSON object", code="params_invalid")
    tool = guard.tools.get(call.name) or ToolAction(call.name)
    shared = sorted(call.arguments.keys() & tool.params.keys())
    if shared:
        raise RequestError(f"argument `{shared[0]}` is fixed", code="params_invalid")
    template = guard.templates.get(call.name)
    resource = f"tool/{call.name}" if template is None else template.render(call.arguments)
    return _Question(call, tool, resource)


def _decide(guard: LlmGuard, question: _Question) -> Steps[Decision]:
    tool, arguments = question.tool, question.call.arguments or {}
    params = {**tool.params, **arguments}
    if tool.is_guarded:
        step = {"action": tool.action, "resource": question.resource, "params": params}
        return guard.session.check_plan([step])[0]
    return (yield from check(guard.session, tool.action, question.resource, params))


def _problem(question: _Question, decision: Decision) -> str | None:
    """Return why the call cannot be passed on as it was decided, or None if it can."""
    tool = question.tool
    if not is_same_action(tool.action, decision.action):
        return f"the decision is to run `{decision.action}`, which this tool does not do"
    if decision.resource != question.resource:
        return "the decision changes what the tool is used on"
    if any(decision.params.get(name) != value for name, value in tool.params.items()):
        return "the decision changes what the tool does not take"
    stuck = [each.name for each in decision.obligations if each.name not in _HARMLESS]
    if stuck and not tool.is_guarded:
        return (
            f"obligation `{stuck[0]}` is on the tool's result: guard the function itself, with `is_guarded`"
        )
    return None


def _refused(reason: str, action: str, resource: str) -> Decision:
    decision = refuse(reason, action=action, resource=resource)
    log_decision(decision)
    return decision
