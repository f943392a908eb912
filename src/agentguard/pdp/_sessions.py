"""Sessions with an intent: the tools and the user's words that one was opened with, and the world that it is in."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    OpenedSession,
    Principal,
    PrincipalKind,
    RequestError,
    Sensitivity,
    SessionOpening,
    normalise_resource_id,
)
from agentguard.intent import IntentSession, IntentStore, Shape
from agentguard.pdp._evaluate import World
from agentguard.policy import session_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry, import_tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentguard.flow import Key

MAX_TOOLS = 1_000
MAX_PROMPT = 65_536
_MAX_KEPT = 64
# A tool is no resource of the project. What may be done is for the rules on origins to say, so it weighs little.
TOOLS = ResourceEntry(id="tool:**", type="tool", sensitivity=Sensitivity.INTERNAL)


class Toolbox(msgspec.Struct, frozen=True):
    """The tools of a session: as actions, as the session looks at them, and by the names that they came with."""

    registry: ActionRegistry
    shapes: dict[str, Shape]
    names: dict[str, str]


class OpenSession(msgspec.Struct):
    """A session with an intent, its tools, and the world in which its calls are decided."""

    intent: IntentSession
    tools: Toolbox
    base: World
    world: World

    def world_in(self, base: World) -> World:
        """Return the world of this session in a project that may have changed since."""
        if self.base is not base:
            self.world, self.base = session_world(base, self.tools.registry), base
        return self.world


class Sessions:
    """Opens and finds sessions with an intent; `on_end` is told of each that ended. Safe to use from many threads."""

    def __init__(self, on_end: Callable[[Key], None]) -> None:
        self.store: IntentStore[OpenSession] = IntentStore(on_end=on_end)
        self._tools: OrderedDict[str, Toolbox] = OrderedDict()
        self._worlds: OrderedDict[tuple[str, int], tuple[World, World]] = OrderedDict()

    def open(
        self, opening: SessionOpening, base: World, now: float, record: Callable[[OpenedSession], None]
    ) -> OpenedSession:
        """Open a session and return what its opener is told, once `record` has recorded it.

        Raises:
            RequestError: nobody's session, one whose name is taken, or words or tools that cannot be used.
            RegistryError: a tool cannot be read.
        """
        _check(opening)
        tools = self._toolbox(opening.tools)
        world = self._world(base, tools.registry)
        session = IntentSession(
            opening.intent,
            tools.shapes,
            identities=_identities(opening),
            is_listed=_lister(base.inventory),
        )
        name = opening.session or secrets.token_hex(8)
        key = (opening.principal.id, name)
        if self.store.knows(key):
            raise _taken()
        opened = OpenedSession(name, key[0], tools.names, tools.registry.digest, world.policies.version)
        record(opened)
        if not self.store.open(key, OpenSession(session, tools, base, world), now):
            raise _taken()
        return opened

    def find(self, key: Key, base: World, moment: datetime) -> tuple[IntentSession | None, World]:
        """Return the session of this name and its world; None and `base` where none was opened.

        Raises:
            RequestError: there was one, and it has ended.
        """
        found = self.store.find(key, moment.timestamp())
        if found is not None:
            return found.intent, found.world_in(base)
        if self.store.has_ended(key):
            raise RequestError("the session has ended", code="session_ended", hint="open another one")
        return None, base

    def _toolbox(self, document: Any) -> Toolbox:
        try:
            digest = hashlib.sha256(msgspec.json.encode(document)).hexdigest()
        except (TypeError, ValueError, RecursionError):
            digest = ""
        found = self._tools.get(digest) if digest else None
        if found is None:
            imported = import_tools(document)
            if len(imported) > MAX_TOOLS:
                raise RequestError(f"a session has at most {MAX_TOOLS} tools", code="session_invalid")
            registry = ActionRegistry.build(each.action for each in imported)
            unsure = {each.action.name: each.unsure for each in imported}
            shapes = {action.name: Shape(action, unsure[action.name]) for action in registry}
            names = {each.tool: each.action.name for each in imported}
            found = Toolbox(registry, shapes, names)
            if digest:
                _keep(self._tools, digest, found)
        return found

    def _world(self, base: World, registry: ActionRegistry) -> World:
        key = (registry.digest, id(base))
        kept = self._worlds.get(key)
        if kept is None or kept[0] is not base:
            kept = base, session_world(base, registry)
            _keep(self._worlds, key, kept)
        return kept[1]


def _taken() -> RequestError:
    hint = "give it another id, or none"
    return RequestError("there is a session of this name already", code="session_taken", hint=hint)


def session_world(base: World, registry: ActionRegistry) -> World:
    """Return the world of a session with these tools: the rules for such sessions, and the project's own inventory."""
    entries = [each for each in base.inventory.resources if each.id != TOOLS.id]
    return msgspec.structs.replace(
        base,
        registry=registry,
        inventory=Inventory([*entries, TOOLS], base.inventory.principals),
        policies=session_policies(base.policies),
    )


def opening_record(
    opening: SessionOpening, opened: OpenedSession, commit: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return the record of an opened session: never the user's words, only a commitment to them."""
    record: dict[str, Any] = {
        "type": "session",
        "principal": opened.principal,
        "session": opened.session,
        "intent": commit(opening.intent),
        "tools": opened.tools,
        "policy_version": opened.policy_version,
    }
    if opening.subject:
        record["subject"] = commit(list(opening.subject))
    if opening.by is not None:
        record["by"] = opening.by.id
    return record


def _check(opening: SessionOpening) -> None:
    if not opening.principal.id:
        raise RequestError("nobody said whose session it is", code="session_invalid", hint="name a principal")
    by = opening.by
    if by is not None and by.kind is PrincipalKind.AGENT:
        raise RequestError("an agent does not say what its user wants", code="session_refused")
    for text, what in (
        (opening.intent, "intent"),
        (opening.session, "session id"),
        *((s, "subject") for s in opening.subject),
    ):
        if type(text) is not str or not _is_unicode(text):
            raise RequestError(f"the {what} is no text", code="session_invalid")
    if not opening.intent.strip():
        raise RequestError(
            "a session needs the user's words",
            code="session_invalid",
            hint="give what the user asked for as `intent`",
        )
    if len(opening.intent) > MAX_PROMPT:
        raise RequestError(
            f"the user's words are longer than {MAX_PROMPT} characters", code="session_invalid"
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identities(opening: SessionOpening) -> list[str]:
    who: Principal = opening.principal
    return [*opening.subject, *who.on_behalf_of]


def _lister(inventory: Inventory) -> Callable[[str], bool]:
    def is_listed(value: str) -> bool:
        if value in inventory.principals:
            return True
        if not inventory.resources:
            return False
        try:
            return inventory.resolve(normalise_resource_id(value)).listed
        except RequestError:
            return False

    return is_listed


def _keep(table: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    table[key] = value
    while len(table) > _MAX_KEPT:
        table.popitem(last=False)
