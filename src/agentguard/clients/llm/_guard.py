"""How a model's client is guarded: who is asked, which tools there are, what becomes of a denied one."""

from __future__ import annotations

import string
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, get_args

from agentguard.clients._session import Session
from agentguard.clients._template import ResourceTemplate
from agentguard.core import ConfigError, RequestError, Spender, normalise_action
from agentguard.llm import StreamMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.clients._budgets import Budgets
    from agentguard.clients._point import EnforcementPoint
    from agentguard.core import Decision

OnDenied = Literal["raise", "redact"]
# Of so many tool calls it is remembered what they were decided as, until their results come.
_MAX_CALLS = 10_000


@dataclass(frozen=True)
class ToolAction:
    """Which action a tool is. `resource` may name arguments of the tool in braces, as `mail/{to}`.

    `params` are fixed parameters of the action that the tool does not take. `is_guarded` says that the function
    behind the tool is guarded itself: then a proposed call is a question that uses nothing up, and is asked
    again when the function runs.

    Raises:
        ConfigError: the action's name or the resource is malformed.
    """

    action: str
    resource: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    is_guarded: bool = False

    def __post_init__(self) -> None:
        try:
            normalise_action(self.action)
        except RequestError as error:
            raise ConfigError(f"action `{self.action}`: {error.message}") from None
        if self.resource:
            self.template()

    def template(self) -> ResourceTemplate:
        """Return the template of its resource."""
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(self.resource) if name}
        except ValueError:
            fields = set()
        return ResourceTemplate(self.resource, names=fields)


class LlmGuard:
    """What a guarded client needs: `guard` decides, in a session of its own if none is given.

    `tools` maps a tool's name to its action; one that is not there is the action of the same name, on the
    resource `tool/<name>`. `on_denied` is what the caller gets where a proposed tool call is denied: `raise` is
    the SDK's own `PermissionDeniedError`, `redact` an answer with a refusal in place of the call. `stream` is how
    much of a stream is held back: nothing (`tap`), its newest `window` characters (`window`), or all of it until
    it is decided (`buffer`); tool calls always are. `vouch_user` says that the host program knows that what it
    sends as the user's messages are the user's own words. `hosts` names providers behind other hosts than their
    own, as `{"llm.shop.example": "openai"}`. `budgets` and `spender`: what calls may cost, and who pays; without `budgets`
    those of the project that the guard has opened hold, if it has any.

    Raises:
        ConfigError: a value is none of these.
    """

    def __init__(
        self,
        guard: EnforcementPoint | Session,
        *,
        tools: Mapping[str, ToolAction] | None = None,
        on_denied: OnDenied = "raise",
        stream: StreamMode | Literal["tap", "window", "buffer"] = StreamMode.TAP,
        window: int = 200,
        vouch_user: bool = False,
        hosts: Mapping[str, str] | None = None,
        budgets: Budgets | None = None,
        spender: Spender | None = None,
    ) -> None:
        if on_denied not in get_args(OnDenied):
            raise ConfigError(f"`on_denied` is `raise` or `redact`, not {on_denied!a}")
        try:
            self.mode = StreamMode(stream)
        except ValueError:
            raise ConfigError(f"`stream` is `tap`, `window` or `buffer`, not {stream!a}") from None
        if type(window) is not int or window < 1:
            raise ConfigError("`window` is a number of characters above 0")
        self.session = guard if isinstance(guard, Session) else guard.session()
        self.tools = dict(tools or {})
        self.templates = {name: tool.template() for name, tool in self.tools.items() if tool.resource}
        self.on_denied: OnDenied = on_denied
        self.window = window
        self.vouch_user = vouch_user
        self.hosts = {host.lower(): name for host, name in (hosts or {}).items()}
        held = self.session.spending() if budgets is None else None
        self.budgets = held[0] if held is not None else budgets
        who = (
            held[1] if held is not None else Spender(agent=self.session.principal.id, session=self.session.id)
        )
        self.spender = spender or who
        self._decided: OrderedDict[str, Decision] = OrderedDict()
        self._lock = Lock()

    def remember(self, call_id: str, decision: Decision) -> None:
        """Remember what a proposed tool call was decided as."""
        with self._lock:
            self._decided[call_id] = decision
            while len(self._decided) > _MAX_CALLS:
                self._decided.popitem(last=False)

    def decided(self, call_id: str) -> Decision | None:
        """Return what a proposed tool call was decided as, None if nobody knows."""
        with self._lock:
            return self._decided.get(call_id)
