"""Sessions with an intent: the tools and the user's words that one was opened with, and the world that it is in."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import (
    OpenedSession,
    Principal,
    PrincipalKind,
    RegistryError,
    RequestError,
    Sensitivity,
    SessionOpening,
    normalise_resource_id,
)
from agentguard.intent import IntentSession, IntentStore, Seen, Shape
from agentguard.pdp._evaluate import World
from agentguard.policy import session_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry, import_tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentguard.core import Action
    from agentguard.flow import Key
    from agentguard.intent import Event, Journal, Journals

_LOG = logging.getLogger("agentguard.pdp")

MAX_TOOLS = 1_000
MAX_PROMPT = 65_536
_ENOUGH = 200
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
    """Opens and finds sessions with an intent; `on_end` is told of each that ended. Safe to use from many threads.

    With `journals` they outlive the process: each is taken up where it was when it is asked for again.
    """

    def __init__(self, on_end: Callable[[Key], None], journals: Journals | None = None) -> None:
        self.store: IntentStore[OpenSession] = IntentStore(on_end=self._forget)
        self._on_end = on_end
        self._journals = journals
        self._kept: dict[Key, Journal] = {}
        self._restoring = threading.Lock()
        self._tools: OrderedDict[str, Toolbox] = OrderedDict()
        self._worlds: OrderedDict[tuple[str, int], tuple[World, World]] = OrderedDict()

    def open(
        self, opening: SessionOpening, base: World, now: float, record: Callable[[OpenedSession], None]
    ) -> OpenedSession:
        """Open a session and return what its opener is told, once `record` has recorded it.

        Raises:
            RequestError: nobody's session, one whose name is taken, or words or tools that cannot be used; or it cannot
                be kept (`session_unkept`).
            RegistryError: a tool cannot be read.
        """
        _check(opening)
        tools = self._toolbox(opening.tools, base.registry)
        world = self._world(base, tools.registry)
        name = opening.session or secrets.token_hex(8)
        key = (opening.principal.id, name)
        if self._is_taken(key):
            raise _taken()
        session = self._session(key, opening, tools, base)
        opened = OpenedSession(name, key[0], tools.names, tools.registry.digest, world.policies.version)
        record(opened)
        if self._journals is not None:
            self._journals.end_older(now - self.store.ttl_s, most=self.store.max_sessions)
            self._keep(key, opening, self._journals)
        if not self.store.open(key, OpenSession(session, tools, base, world), now):
            raise _taken()
        return opened

    def find(self, key: Key, base: World, moment: datetime) -> tuple[IntentSession | None, World]:
        """Return the session of this name and its world; None and `base` where none was opened.

        Raises:
            RequestError: there was one, and it has ended, or cannot be taken up again after a restart.
        """
        found = self.find_open(key, base, moment.timestamp())
        if found is not None:
            return found.intent, found.world_in(base)
        if self.store.has_ended(key) or (self._journals is not None and self._journals.has_ended(key)):
            raise RequestError("the session has ended", code="session_ended", hint="open another one")
        return None, base

    def find_open(self, key: Key, base: World, now: float) -> OpenSession | None:
        """Return the session of this name if it is there, also that of an earlier process; None if it is not.

        Raises:
            RequestError: there was one, and it cannot be taken up again after a restart.
        """
        found = self.store.find(key, now)
        if found is None and self._journals is not None and self._journals.is_waiting(key):
            with self._restoring:
                found = self.store.find(key, now) or self._restore(key, base, now, self._journals)
        return found

    def close(self) -> None:
        """Put on the disk what is kept."""
        for key, _, used in self.store.all():
            journal = self._kept.get(key)
            if journal is not None:
                try:
                    journal.close(used)
                except (OSError, ValueError):
                    _LOG.error("a session could not be saved, and ends")

    def _is_taken(self, key: Key) -> bool:
        return self.store.knows(key) or (self._journals is not None and self._journals.knows(key))

    def _session(self, key: Key, opening: SessionOpening, tools: Toolbox, base: World) -> IntentSession:
        return IntentSession(
            opening.intent,
            tools.shapes,
            identities=_identities(opening),
            is_listed=_lister(base.inventory),
            note=partial(self._note, key) if self._journals is not None else None,
        )

    def _keep(self, key: Key, opening: SessionOpening, journals: Journals) -> None:
        try:
            self._kept[key] = journals.create(key, opening)
        except FileExistsError:
            raise _taken() from None
        except OSError as error:
            raise _unkept(error) from None
        except (ValueError, TypeError, RecursionError):
            _LOG.warning("a session is too large to be kept, and ends with the process")

    def _restore(self, key: Key, base: World, now: float, journals: Journals) -> OpenSession | None:
        """Take up a session of an earlier process; if that fails it has ended."""
        found = journals.take(key)
        if found is None:
            return None
        try:
            tools = self._toolbox(found.opening.tools, base.registry)
            session = self._session(key, found.opening, tools, base)
            session.replay(found.events)
            opened = OpenSession(session, tools, base, self._world(base, tools.registry))
        except BaseException:
            journals.end(key)
            raise
        self._kept[key] = found.journal
        self.store.open(key, opened, found.used)
        # Only now: who asks meanwhile must not find that there never was one.
        journals.taken(key)
        return self.store.find(key, now)

    def _note(self, key: Key, event: Event) -> None:
        """Write down what happened in a session before it counts.

        Raises:
            RequestError: what was seen could not be written; the session has ended.
        """
        journal = self._kept.get(key)
        if journal is None:
            return
        try:
            journal.append(event)
        except OSError as error:
            self.store.end(key)
            if isinstance(event, Seen):
                raise _unkept(error) from None
        except (ValueError, TypeError, RecursionError):
            self._kept.pop(key, None)
            _LOG.warning("a session is too large to be kept, and ends with the process")

    def _forget(self, key: Key) -> None:
        if self._journals is not None:
            self._kept.pop(key, None)
            self._journals.end(key)
        self._on_end(key)

    def _toolbox(self, document: Any, base: ActionRegistry) -> Toolbox:
        try:
            digest = hashlib.sha256(msgspec.json.encode([document, base.digest])).hexdigest()
        except (TypeError, ValueError, RecursionError):
            digest = ""
        found = self._tools.get(digest) if digest else None
        if found is None:
            found = make_toolbox(document, base)
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


def _sorted_out(document: Any) -> tuple[list[str], Any]:
    """Return the actions of the project that a list of tools names, and the schemas in it."""
    if type(document) not in (list, tuple):
        return [], document
    named = [each for each in document if type(each) is str]
    return named, [each for each in document if type(each) is not str] if named else document


def make_toolbox(document: Any, base: ActionRegistry) -> Toolbox:
    """Return the tools of a document: schemas as frameworks write them, and names of actions of the project.

    Raises:
        RequestError: there are too many.
        RegistryError: a tool cannot be read, or no such action is declared.
    """
    named, schemas = _sorted_out(document)
    imported = import_tools(schemas) if schemas or not named else ()
    if len(imported) + len(named) > MAX_TOOLS:
        raise RequestError(f"a session has at most {MAX_TOOLS} tools", code="session_invalid")
    own = {name: _as_tool(name, base) for name in named}
    registry = ActionRegistry.build([*(each.action for each in imported), *own.values()])
    unsure = {each.action.name: each.unsure for each in imported}
    shapes = {action.name: Shape(action, unsure.get(action.name, ())) for action in registry}
    names = {each.tool: each.action.name for each in imported}
    return Toolbox(registry, shapes, names | {name: action.name for name, action in own.items()})


def _as_tool(name: str, base: ActionRegistry) -> Action:
    """Return a declared action as a tool of a session: on the tool itself, and without other actions beside it."""
    found = base.resolve(name)
    if found is None:
        raise RegistryError(
            f"no action is named `{name[:_ENOUGH]}`",
            hint="give a tool's schema, or the name of an action as `agentguard actions list` shows it",
        )
    return msgspec.structs.replace(
        found.action, resource_types=(), read_only_form=None, compensating_action=None
    )


def _unkept(error: OSError) -> RequestError:
    hint = "free some space or mend the state folder, and open another session"
    why = error.strerror or type(error).__name__
    return RequestError(f"the session cannot be kept: {why.lower()}", code="session_unkept", hint=hint)


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
