"""Decides the tool calls that a model proposes, before the agent sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentguard.core import Context, Effect, Observation, Request
from agentguard.llm import PASS, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentguard.config import ToolSettings
    from agentguard.core import Decision, Principal
    from agentguard.gateway._asking import Desk
    from agentguard.llm import ToolCall

# The gateway passes these on with nothing left to do; others are on the tool's result, which it never sees.
_HARMLESS = frozenset(("log_level",))
_UNREADABLE = "the arguments of the tool call are no JSON object"
_NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class Tools:
    """Which action a tool is: what the settings say, or the action of the same name on `tool/<name>`."""

    known: Mapping[str, ToolSettings]

    def request(self, name: str, who: Principal, context: Context, arguments: dict[str, object]) -> Request:
        """Return what is to be decided when a tool is called."""
        tool = self.known.get(name)
        if tool is None:
            return Request(who, name, f"tool/{name}", arguments, context)
        return Request(who, tool.action, tool.resource or f"tool/{name}", arguments, context)

    def is_guarded(self, name: str) -> bool:
        """Tell whether the function behind a tool is guarded itself."""
        tool = self.known.get(name)
        return tool is not None and tool.is_guarded

    def observation(self, name: str, who: Principal, session: str, text: str) -> Observation:
        """Return the report of a tool's result that comes with a prompt."""
        request = self.request(name or "unknown-tool", who, _NO_CONTEXT, {})
        return Observation(who, request.action, request.resource, session, text)


async def judge(
    desk: Desk, tools: Tools, who: Principal, context: Context, calls: Sequence[ToolCall]
) -> list[Verdict]:
    """Return what becomes of each proposed call."""
    return [await _judge_one(desk, tools, who, context, call) for call in calls]


async def _judge_one(desk: Desk, tools: Tools, who: Principal, context: Context, call: ToolCall) -> Verdict:
    if call.arguments is None:
        return _refusal(call.name, _UNREADABLE)
    request = tools.request(call.name, who, context, call.arguments)
    decision = await (desk.question(request) if tools.is_guarded(call.name) else desk.decide(request))
    if decision.effect is Effect.ALLOW or decision.effect is Effect.TRANSFORM:
        problem = _problem(request, decision, is_guarded=tools.is_guarded(call.name))
        if problem:
            return _refusal(call.name, problem, decision)
        return PASS if decision.params == call.arguments else Verdict(arguments=decision.params)
    needs_person = decision.effect is Effect.REQUIRE_APPROVAL
    if needs_person and tools.is_guarded(call.name):
        # The function asks people itself, and waits for them where the agent can wait.
        return PASS
    return _refusal(
        call.name,
        f"a person has to approve: {decision.reason}" if needs_person else decision.reason,
        decision,
    )


def _problem(request: Request, decision: Decision, *, is_guarded: bool) -> str:
    """Return why a call cannot be passed on as it was decided, or the empty text."""
    if decision.action != request.action and decision.action.partition("@")[0] != request.action:
        return f"the decision is to run `{decision.action}`, which this tool does not do"
    if decision.resource != request.resource:
        return "the decision changes what the tool is used on"
    stuck = [each.name for each in decision.obligations if each.name not in _HARMLESS]
    if stuck and not is_guarded:
        return f"obligation `{stuck[0]}` is on the tool's result: guard the function itself"
    return ""


def _refusal(name: str, reason: str, decision: Decision | None = None) -> Verdict:
    about = []
    if decision is not None:
        about = [f"rule `{decision.rule}`"] if decision.rule else []
        about += [f"decision {decision.audit_id}"] if decision.audit_id else []
        about += [f"approval {decision.approval}"] if decision.approval else []
    words = f"{reason} ({', '.join(about)})" if about else reason
    return Verdict(refusal=f"[The call of `{name[:200]}` was denied: {words}]")
