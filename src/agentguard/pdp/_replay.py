"""What would have been decided: a trace of an agent, call by call, in sessions with the user's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    AgentGuardError,
    ArgumentOrigin,
    Context,
    Decision,
    DocumentError,
    Effect,
    Location,
    Observation,
    Principal,
    Request,
    SessionOpening,
)
from agentguard.pdp._pdp import PolicyDecisionPoint
from agentguard.pdp._sessions import make_toolbox
from agentguard.pdp._trace import Back, Call, Event, Opening
from agentguard.registry import ActionRegistry, mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentguard.core import OpenedSession
    from agentguard.pdp._evaluate import World

# Stages before where arguments come from is asked.
_EARLY = frozenset(("request", "schema", "error"))
DEFAULT_PRINCIPAL = "agent"
_SECRET = "[secret]"  # noqa: S105 - what stands where one was
_NO_TOOL = "it is none of the tools of this session"
_ANYWHERE = "it may come from anywhere"
_UNJUDGED = "the call was refused before this was looked at"


class ReplayedArgument(msgspec.Struct, frozen=True):
    """One argument of a call: its pointer, what it is, where it comes from (empty: that does not matter), and why."""

    argument: str
    role: str
    origin: str
    note: str


class ReplayedCall(msgspec.Struct, frozen=True):
    """One call of a trace and its decision. `args` have no secrets in them.

    `seen` says whether what it gave back counts for the calls after it; what a denied call gave back does not.
    """

    line: int
    tool: str
    args: dict[str, Any]
    effect: Effect
    reason: str
    rule: str | None
    arguments: tuple[ReplayedArgument, ...]
    seen: bool = False


class ReplayedSession(msgspec.Struct, frozen=True):
    """One session of a trace: the line that opened it, the user's words, and its calls in order."""

    line: int
    intent: str
    principal: str
    calls: list[ReplayedCall]


def replay(
    events: Sequence[Event],
    world: World,
    *,
    file: str,
    tools: Any = None,
    find_principal: Callable[[str], Principal] = Principal,
) -> list[ReplayedSession]:
    """Return what would have been decided of each call in `events`, as `world` has it; nothing is recorded.

    `tools` are the schemas of the tools where the trace has none. A call that needed an approval counts as
    approved, so its result was seen; the result of a denied call is left out, since the call would not have been
    made. What a user says later in a conversation is added to what he said before.

    Raises:
        DocumentError: a line calls a tool before there are words of the user and tools, or what comes back
            belongs to no call; names the line.
        RegistryError: the tools cannot be read.
    """
    player = _Player(world, file, tools, find_principal)
    for event in events:
        player.play(event)
    return player.sessions


class _Player:
    def __init__(
        self, world: World, file: str, tools: Any, find_principal: Callable[[str], Principal]
    ) -> None:
        self.sessions: list[ReplayedSession] = []
        self._pdp = PolicyDecisionPoint(world)
        self._file = file
        self._tools = tools
        self._registry = ActionRegistry([])
        self._find_principal = find_principal
        self._principal = Principal(DEFAULT_PRINCIPAL)
        self._subject: tuple[str, ...] = ()
        self._words: list[str] = []
        self._opened: OpenedSession | None = None
        self._waiting: dict[str, tuple[Call, int]] = {}
        self._latest: tuple[Call, int] | None = None
        # What the conversation has seen: a later session of it knows it too.
        self._seen: list[tuple[Call, Back]] = []

    def play(self, event: Event) -> None:
        if isinstance(event, Opening):
            self._take(event)
        elif isinstance(event, Call):
            self._call(event)
        else:
            self._back(event)

    def _wrong(self, line: int, message: str, hint: str | None = None) -> DocumentError:
        return DocumentError(message, location=Location(self._file, line), hint=hint)

    def _take(self, event: Opening) -> None:
        if event.tools is not None:
            self._tools = event.tools
        if event.principal:
            self._principal = self._find_principal(event.principal)
        if event.subject:
            self._subject = event.subject
        if event.intent is None:
            return
        if not event.adds:
            self._words, self._seen = [], []
        self._words.append(event.intent)
        self._opened, self._latest = None, None
        self._waiting.clear()
        self.sessions.append(ReplayedSession(event.line, "\n\n".join(self._words), self._principal.id, []))

    def _open(self, line: int) -> OpenedSession:
        """Open the session when it is first needed, so that the tools may stand behind the words."""
        if self._opened is not None:
            return self._opened
        if not self.sessions:
            raise self._wrong(line, "a tool is called before the user said anything", "begin with `intent`")
        if self._tools is None:
            hint = 'put `"tools": [...]` beside `intent`, or give --tools'
            raise self._wrong(line, "a tool is called, and no tools are given", hint)
        intent = self.sessions[-1].intent
        opening = SessionOpening(
            self._principal, intent, self._tools, f"replay-{len(self.sessions)}", self._subject
        )
        try:
            self._registry = make_toolbox(self._tools, self._pdp.world.registry).registry
            opened = self._opened = self._pdp.open_session(opening)
        except AgentGuardError as error:
            raise self._wrong(self.sessions[-1].line, error.message, error.hint) from None
        for call, back in self._seen:
            self._observe(opened, call, back)
        return opened

    def _call(self, call: Call) -> None:
        opened = self._open(call.line)
        if call.id in self._waiting:
            raise self._wrong(
                call.line,
                "a call with this id waits for its result already",
                "give each call an id of its own",
            )
        name = opened.actions.get(call.tool, call.tool)
        request = Request(self._principal, name, f"tool:{name}", call.args, Context(session=opened.session))
        decision = self._pdp.decide(request)
        done = ReplayedCall(
            call.line,
            call.tool,
            self._shown(name, call.args),
            decision.effect,
            decision.reason if call.tool in opened.actions else _NO_TOOL,
            decision.rule,
            self._arguments(name, call.args, decision),
        )
        calls = self.sessions[-1].calls
        calls.append(done)
        self._latest = (call, len(calls) - 1)
        if call.id:
            self._waiting[call.id] = self._latest

    def _back(self, back: Back) -> None:
        found = self._waiting.pop(back.id, None) if back.id else self._latest
        if found is None and back.id and self._latest is not None and self._latest[0].id == back.id:
            found = self._latest
        if found is None or self._opened is None:
            raise self._wrong(back.line, "something came back, and no call is waiting for it")
        call, index = found
        calls = self.sessions[-1].calls
        if calls[index].effect is Effect.DENY:
            return
        calls[index] = msgspec.structs.replace(calls[index], seen=True)
        self._seen.append((call, back))
        self._observe(self._opened, call, back)

    def _observe(self, opened: OpenedSession, call: Call, back: Back) -> None:
        name = opened.actions.get(call.tool, call.tool)
        self._pdp.observe(
            Observation(
                self._principal, name, f"tool:{name}", opened.session, back.result, back.error, call.args
            )
        )

    def _shown(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        compiled = self._registry.resolve(name)
        return args if compiled is None else mask_secrets(compiled, args, lambda _: _SECRET)

    def _arguments(self, name: str, args: dict[str, Any], decision: Decision) -> tuple[ReplayedArgument, ...]:
        """Return each argument: those that must have an origin with it, the others with what they are."""
        found = [_told(each) for each in decision.origins]
        compiled = self._registry.resolve(name)
        roles = compiled.action.arguments if compiled is not None else {}
        note = _UNJUDGED if decision.stage in _EARLY else _ANYWHERE
        told = {each.argument.split("/")[1] for each in decision.origins if each.argument}
        for key in args:
            step = key.replace("~", "~0").replace("/", "~1")
            if step not in told and compiled is not None:
                role = roles.get(f"/{step}")
                what = role.role.value if role is not None else ""
                found.append(ReplayedArgument(f"/{step}", what, "", note))
        return tuple(found)


def _told(origin: ArgumentOrigin) -> ReplayedArgument:
    return ReplayedArgument(origin.argument, origin.role, origin.kind.value, origin.note)
