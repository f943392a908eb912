"""What the admin token opens: actions, policies, the audit log and the agents, as JSON."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.audit import Filter
from agentguard.core import ADMIN, PERSON_ROLES, EventError, EventFilter, EventKind, IdentityError
from agentguard.server._agents import parse_time
from agentguard.server._http import HttpError, bearer, unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from agentguard.core import StoredEvent
    from agentguard.server._agents import AgentsSeen
    from agentguard.server._feed import Feed
    from agentguard.server._http import Headers
    from agentguard.server._services import Services
    from agentguard.server._sessions import Sessions

MAX_RECORDS = 1000
# One call reads at most this much of the log; the cursor it returns goes on from there.
_MAX_SCANNED = 200_000
_EVENT_FILTERS = frozenset(
    ("kind", "principal", "session", "action", "resource", "effect", "since", "until", "limit", "after")
)
_FILTERS = frozenset(("principal", "action", "effect", "since", "until", "correlation_id", "limit", "after"))


class AdminRoutes:
    """Answers people and their tools. Each method takes the query and returns the answer's body."""

    def __init__(self, services: Services, sessions: Sessions, feed: Feed, agents: AgentsSeen) -> None:
        self._services = services
        self._sessions = sessions
        self._feed = feed
        self._agents = agents
        self._scans = asyncio.Semaphore(2)

    def require_reader(self, headers: Headers) -> None:
        """Pass for the admin token, and for whoever has logged in with it or as a person with any role.

        Raises:
            HttpError: 403 for an agent's valid token and for a person without a role, 401 for anything else.
        """
        self._require(headers, frozenset(PERSON_ROLES))

    def require_admin(self, headers: Headers) -> None:
        """Pass for the admin token, and for whoever has logged in with it or as a person with the role `admin`.

        Raises:
            HttpError: as `require_reader`.
        """
        self._require(headers, frozenset((ADMIN,)))

    def _require(self, headers: Headers, roles: frozenset[str]) -> None:
        token = bearer(headers)
        if token and self._services.admin_matches(token):
            return
        session = self._sessions.find_token(token) if token else self._sessions.find(headers.cookie)
        if session is not None:
            if session.account is None or roles.intersection(session.account.roles):
                return
            raise HttpError(
                403,
                "role_missing",
                "this needs another role",
                hint="an admin gives it: `agentguard people role`",
            )
        if token:
            self._refuse_agent(token)
        raise unauthorized(
            "admin_token_needed",
            "this needs the admin token",
            hint="send `Authorization: Bearer TOKEN`; the token is in the state folder",
        )

    async def actions(self, query: Mapping[str, str]) -> bytes:
        """Return the actions that can be asked for."""
        _only(query, frozenset())
        return msgspec.json.encode({"actions": self._services.describe_actions()})

    async def policies(self, query: Mapping[str, str]) -> bytes:
        """Return the policy set in force."""
        _only(query, frozenset())
        return msgspec.json.encode(self._services.describe_policies())

    async def agents(self, query: Mapping[str, str]) -> bytes:
        """Return who asked, since when, and the last decision on each."""
        _only(query, frozenset())
        await self._feed.catch_up()
        return msgspec.json.encode({"agents": self._agents.list()})

    async def audit(self, query: Mapping[str, str]) -> bytes:
        """Return records that pass the filters, oldest first, and the cursor that goes on after them."""
        _only(query, _FILTERS)
        chosen = _filter(query)
        after, limit = _number(query, "after", 0, 2**53), _number(query, "limit", 100, MAX_RECORDS, least=1)
        async with self._scans:
            records, cursor = await asyncio.to_thread(self._select, chosen, after, limit)
        return msgspec.json.encode({"records": records, "next": cursor})

    async def events(self, query: Mapping[str, str]) -> bytes:
        """Return events that pass the filters, oldest first, and the cursor that goes on after them."""
        _only(query, _EVENT_FILTERS)
        wanted = _event_filter(query)
        after, limit = _number(query, "after", 0, 2**53), _number(query, "limit", 100, MAX_RECORDS, least=1)
        store = self._services.events
        found: list[StoredEvent] = []
        if store is not None:
            try:
                async with self._scans:
                    found = await asyncio.to_thread(store.read, wanted, after=after, limit=limit)
            except EventError as error:
                raise HttpError(503, error.code, "the event store cannot be read", hint=error.hint) from None
        cursor = found[-1].seq if len(found) == limit else None
        return msgspec.json.encode({"events": [_flat(each) for each in found], "next": cursor})

    async def sensor(self, query: Mapping[str, str]) -> bytes:
        """Return how the sensor is, whom it watches, and what was taken from it."""
        _only(query, frozenset())
        state = self._services.sensor
        if state is None:
            raise HttpError(404, "sensor_missing", "this sidecar follows no sensor")
        return msgspec.json.encode(state())

    def _select(self, chosen: Filter, after: int, limit: int) -> tuple[list[Mapping[str, Any]], int | None]:
        found: list[Mapping[str, Any]] = []
        seq = after
        scanned = 0
        for record in self._services.audit.read(after=after, limit=_MAX_SCANNED):
            scanned, seq = scanned + 1, int(record["seq"])
            if chosen.matches(dict(record)):
                found.append(record)
                if len(found) == limit:
                    return found, seq
        return found, seq if scanned == _MAX_SCANNED else None

    def _refuse_agent(self, token: str) -> None:
        try:
            self._services.verify_token(token)
        except IdentityError:
            return
        raise HttpError(
            403, "agent_may_only_check", "an agent's token may only check", hint="use the admin token"
        )


def _only(query: Iterable[str], known: frozenset[str]) -> None:
    for name in query:
        if name not in known:
            hint = f"known are {', '.join(f'`{each}`' for each in sorted(known))}" if known else None
            raise HttpError(400, "query_invalid", f"unknown parameter `{name[:40]}`", hint=hint)


def _filter(query: Mapping[str, str]) -> Filter:
    return Filter(
        principal=query.get("principal", ""),
        action=query.get("action", ""),
        effect=query.get("effect", ""),
        since=_time(query, "since"),
        until=_time(query, "until"),
        correlation_id=query.get("correlation_id", ""),
    )


def _event_filter(query: Mapping[str, str]) -> EventFilter:
    kinds = [kind for kind in query.get("kind", "").split(",") if kind]
    try:
        chosen = tuple(EventKind(kind) for kind in kinds)
    except ValueError:
        known = ", ".join(kind.value for kind in EventKind)
        raise HttpError(400, "query_invalid", "`kind` is no kind of event", hint=f"one of {known}") from None
    texts = {name: query.get(name, "") for name in ("principal", "session", "action", "resource", "effect")}
    return EventFilter(kinds=chosen, since=_time(query, "since"), until=_time(query, "until"), **texts)


def _flat(stored: StoredEvent) -> dict[str, Any]:
    return {"seq": stored.seq, **msgspec.structs.asdict(stored.event)}


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    if name not in query:
        return None
    when = parse_time(query[name].replace(" ", "+"))
    if when is None:
        raise HttpError(
            400, "query_invalid", f"`{name}` is no time", hint="write it as `2026-01-31T12:00:00Z`"
        )
    return when


def _number(query: Mapping[str, str], name: str, default: int, most: int, *, least: int = 0) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not least <= int(text) <= most:  # noqa: PLR2004
        raise HttpError(400, "query_invalid", f"`{name}` is a number from {least} to {most}")
    return int(text)
