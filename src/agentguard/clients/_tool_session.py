"""A session with the user's words: calls of tools, decided by where their targets come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from agentguard.clients._asking import CIRCUMSTANCES, check_keywords
from agentguard.clients._deny import refuse
from agentguard.clients._guarded import guard_with
from agentguard.core import AgentGuardError, ConfigError, Context, Decision, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Literal

    from agentguard.clients._asking import About, Asked, Circumstances
    from agentguard.clients._point import EnforcementPoint
    from agentguard.clients._sandbox import Sandbox
    from agentguard.core import OpenedSession, Principal

P = ParamSpec("P")
R = TypeVar("R")

_LOST = "what this session has seen could not be reported"
_ENOUGH = 200
_SHOWN = 10


class ToolSession:
    """A session that was opened with the user's words and the tools. Safe to use from many threads.

    `id` names it in records, `actions` says by each tool's name what it is called in rules, `opened` the rest.
    """

    def __init__(self, point: EnforcementPoint, opened: OpenedSession, principal: Principal) -> None:
        self.id = opened.session
        self.opened = opened
        self.actions = opened.actions
        self._point = point
        self._principal = principal
        self._is_lost = False
        # What each check would put together anew.
        self._context = Context(session=self.id)
        self._named = {tool: (action, f"tool:{action}") for tool, action in self.actions.items()}

    def check(
        self, tool: str, args: dict[str, Any] | None = None, **about: Unpack[Circumstances]
    ) -> Decision:
        """Return the decision on a call of `tool`, recorded; never raises.

        Run the tool with `decision.params` if the effect is allow or transform, and report what it gives back with
        `observe`. `decision.origins` says where each target comes from.
        """
        problem = self._problem(tool)
        if problem is not None:
            return problem
        action, resource = self._named[tool]
        return self._point.check(action, resource=resource, **self._asked(args, about))

    async def acheck(
        self, tool: str, args: dict[str, Any] | None = None, **about: Unpack[Circumstances]
    ) -> Decision:
        """Return the same as `check` without blocking the event loop."""
        problem = self._problem(tool)
        if problem is not None:
            return problem
        action, resource = self._named[tool]
        return await self._point.acheck(action, resource=resource, **self._asked(args, about))

    def observe(
        self,
        call: Decision | Mapping[str, Any],
        result: Any = None,
        error: BaseException | str | None = None,
    ) -> None:
        """Report what the agent saw of a call: its result (JSON, or shown as text), or its error.

        `call` is the decision of `check`, or a mapping with the tool's name (`tool` or `name`) and its arguments
        (`args` or `arguments`). Never raises; what cannot be reported makes the session deny from then on.
        """
        try:
            action, params = self._call(call)
            self._point.observe_call(
                action,
                result,
                error,
                resource=f"tool:{action}",
                session=self.id,
                principal=self._principal,
                params=params,
            )
        except AgentGuardError:
            self._is_lost = True

    async def aobserve(
        self,
        call: Decision | Mapping[str, Any],
        result: Any = None,
        error: BaseException | str | None = None,
    ) -> None:
        """Do the same as `observe` without blocking the event loop."""
        import asyncio  # loads slowly, and who awaits has it loaded

        await asyncio.to_thread(self.observe, call, result, error)

    def guarded(self, tool: str, *, ticket_for: str = "") -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that lets a function, sync or async, run only as its call of `tool` is decided here.

        The arguments, bound by signature, are the tool's. What each call gives back, or its error, is observed by
        itself. `ticket_for` and what is raised are as in `EnforcementPoint.guarded`.
        """
        if type(tool) is not str or tool not in self.actions:
            known = ", ".join(sorted(self.actions)[:_SHOWN])
            raise ConfigError(f"{tool!a} is none of the tools of this session", hint=f"it has {known}")
        action, resource = self._named[tool]
        return guard_with(
            _ToolAsker(self, self._point, tool),
            self.observe,
            action,
            resource=resource,
            fixed={},
            principal=None,
            context=None,
            ticket_for=ticket_for,
        )

    def _asked(self, args: dict[str, Any] | None, about: Circumstances) -> Asked:
        """Return what is asked besides the tool: its arguments, in this session, for whom it was opened."""
        if not about:
            return {"context": self._context, "params": args, "principal": self._principal}
        check_keywords(about, CIRCUMSTANCES)
        return {**about, "params": args, "principal": self._principal, "session": self.id}

    def _problem(self, tool: object) -> Decision | None:
        shown = tool[:_ENOUGH] if type(tool) is str else ""
        if self._is_lost:
            return refuse(_LOST, action=shown, resource="")
        if type(tool) is not str or tool not in self.actions:
            return refuse(f"`{shown}` is none of the tools of this session", action=shown, resource="")
        return None

    def _call(self, call: object) -> tuple[str, dict[str, Any]]:
        if isinstance(call, Decision):
            # A call that was refused before it was decided names the tool and no action.
            return self.actions.get(call.action, call.action.partition("@")[0]), call.params
        if not isinstance(call, Mapping):
            raise RequestError("a call is a decision, or a mapping with `tool` and `args`")
        tool = call.get("tool", call.get("name"))
        params = call.get("args", call.get("arguments"))
        if type(tool) is not str or type(params) not in (dict, type(None)):
            raise RequestError("a call is a decision, or a mapping with `tool` and `args`")
        return self.actions.get(tool, tool), params or {}


class _ToolAsker:
    """Whom a guarded tool asks (`Asker`): its session."""

    def __init__(self, session: ToolSession, point: EnforcementPoint, tool: str) -> None:
        self._session = session
        self._point = point
        self._tool = tool

    @property
    def sandboxes(self) -> Mapping[str, Sandbox]:
        """What the host program can confine a call with, by name."""
        return self._point.sandboxes

    def check(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:  # noqa: ARG002 - a port
        """Return the decision on a call of the tool."""
        ticket_for, approval = about.get("ticket_for", ""), about.get("approval", "")
        return self._session.check(self._tool, about.get("params"), ticket_for=ticket_for, approval=approval)

    async def acheck(self, action: str, *, resource: str, **about: Unpack[About]) -> Decision:  # noqa: ARG002 - a port
        """Return the same without blocking the event loop."""
        ticket_for, approval = about.get("ticket_for", ""), about.get("approval", "")
        params = about.get("params")
        return await self._session.acheck(self._tool, params, ticket_for=ticket_for, approval=approval)

    def hold(self, decision: Decision, again: Callable[[str], Decision]) -> Decision:
        """Return what people make of a decision that waits for them."""
        return self._point.hold(decision, again)

    async def ahold(
        self, decision: Decision, again: Callable[[str], Coroutine[Any, Any, Decision]]
    ) -> Decision:
        """Return the same without blocking the event loop."""
        return await self._point.ahold(decision, again)

    def report(
        self, decision: Decision, status: Literal["succeeded", "failed", "refused"], detail: str = ""
    ) -> None:
        """Have it recorded what came of a decision."""
        self._point.report(decision, status, detail)
