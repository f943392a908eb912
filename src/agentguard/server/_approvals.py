"""Approvals over HTTP: agents wait for theirs, people look and vote. Every vote takes a person's login."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agentguard.approvals import wait_decided
from agentguard.core import (
    Approval,
    ApprovalError,
    ApprovalFilter,
    ApprovalList,
    ApprovalState,
    ApprovalStatus,
    AuditError,
    BreakGlass,
    Cancel,
    CancelCall,
    CastVote,
    Defer,
    DeferCall,
    Delegate,
    DelegateCall,
    GlassCall,
    IdentityError,
    Origin,
    ReviewCall,
    ReviewGlass,
    VoteCall,
    WaitCall,
)
from agentguard.server._http import HttpError, bearer, parse_json, peer_of, read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request as HttpRequest

    from agentguard.core import ApprovalEngine, Move, Person, Principal
    from agentguard.identity import VerifiedToken
    from agentguard.server._http import Headers
    from agentguard.server._services import Services

T = TypeVar("T")

# So many callers are held at once; each has a thread while it waits. Others are answered at once and ask again.
MAX_HELD = 256
MAX_STREAMS = 32
MAX_WAIT_S = 60.0
MAX_LISTED = 1000
# A shutdown is noticed as soon as that by who is held.
_SLICE_S = 0.5
_POLL_S = 0.1
_HEARTBEAT_S = 15.0
_CLI = "agentguard-cli"
_QUERY = frozenset(("state", "principal", "effect_unknown", "awaits_review", "limit", "after", "newest"))
_STATUS = {
    "approval_unknown": HTTPStatus.NOT_FOUND,
    "approval_not_yours": HTTPStatus.FORBIDDEN,
    "approval_own_request": HTTPStatus.FORBIDDEN,
    "glass_refused": HTTPStatus.FORBIDDEN,
    "review_refused": HTTPStatus.FORBIDDEN,
    "delegate_refused": HTTPStatus.FORBIDDEN,
    "approval_invalid": HTTPStatus.BAD_REQUEST,
    "patch_invalid": HTTPStatus.BAD_REQUEST,
    "patch_refused": HTTPStatus.BAD_REQUEST,
    "approvals_unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "approvals_closed": HTTPStatus.SERVICE_UNAVAILABLE,
}
_wait_decoder = msgspec.json.Decoder(WaitCall)
_cancel_decoder = msgspec.json.Decoder(CancelCall)


def _vote(call: VoteCall, who: Person, origin: Origin) -> Move:
    return CastVote(
        person=who,
        origin=origin,
        approves=call.approve,
        note=call.note,
        edition=call.edition,
        patch=call.patch,
    )


def _defer(call: DeferCall, who: Person, origin: Origin) -> Move:
    return Defer(person=who, origin=origin, for_s=call.for_s, note=call.note)


def _delegate(call: DelegateCall, who: Person, origin: Origin) -> Move:
    return Delegate(person=who, origin=origin, to=call.to, note=call.note)


def _glass(call: GlassCall, who: Person, origin: Origin) -> Move:
    return BreakGlass(person=who, origin=origin, reason=call.reason, edition=call.edition)


def _review(call: ReviewCall, who: Person, origin: Origin) -> Move:
    return ReviewGlass(person=who, origin=origin, justified=call.justified, note=call.note)


# path -> (what the body says, the move that it becomes)
_MOVES: dict[str, tuple[type, Callable[[Any, Person, Origin], Move]]] = {
    "vote": (VoteCall, _vote),
    "defer": (DeferCall, _defer),
    "delegate": (DelegateCall, _delegate),
    "break-glass": (GlassCall, _glass),
    "review": (ReviewCall, _review),
}


class ApprovalRoutes:
    """Answers about approvals: agents by their tokens, people by their logins, and the admin token may look."""

    def __init__(
        self,
        services: Services,
        authenticate: Callable[[Headers], VerifiedToken],
        principal: Callable[[VerifiedToken, str | None], Principal],
    ) -> None:
        self._services = services
        self._authenticate = authenticate
        self._principal = principal
        self._pool = ThreadPoolExecutor(MAX_HELD, "agentguard-held")
        self._held = self._streams = 0
        self._closed = False

    def routes(self) -> list[Route]:
        """Return the routes beside the hot path."""
        moves = [
            Route(f"/v1/approvals/{{id}}/{name}", self._move(kind, make), methods=["POST"])
            for name, (kind, make) in _MOVES.items()
        ]
        return [
            Route("/v1/approvals", self.list),
            Route("/v1/approvals/stream", self.stream),
            Route("/v1/approvals/{id}", self.show),
            Route("/v1/approvals/{id}/cancel", self.cancel, methods=["POST"]),
            *moves,
        ]

    def end(self) -> None:
        """Answer who is held, and end the streams."""
        self._closed = True

    def close(self) -> None:
        """End the threads."""
        self.end()
        self._pool.shutdown()

    async def wait(self, headers: Headers, body: bytes) -> bytes:
        """Answer where an approval of the token's principal stands, once it is decided; for the hot path."""
        token = self._authenticate(headers)
        call = parse_json(body, _wait_decoder)
        who = self._principal(token, call.principal)
        approval = await self._own(who, call.approval, min(call.timeout_s, MAX_WAIT_S))
        return msgspec.json.encode(ApprovalStatus.of(approval))

    async def list(self, request: HttpRequest) -> Response:
        """List approvals for who may look."""
        self._look(request)
        query = request.query_params
        for name in query:
            if name not in _QUERY:
                hint = f"known are {', '.join(f'`{each}`' for each in sorted(_QUERY))}"
                raise HttpError(400, "query_invalid", f"unknown parameter `{name[:40]}`", hint=hint)
        wanted, limit = _filter(query), _number(query, "limit", 100, 1, MAX_LISTED)
        after, newest = _number(query, "after", 0, 0, 2**53), _flag(query, "newest")
        found = await self._ask(lambda engine: engine.find(wanted, after=after, limit=limit, newest=newest))
        cursor = found[-1].seq if len(found) == limit else None
        return _json(ApprovalList(tuple(each.approval for each in found), cursor))

    async def show(self, request: HttpRequest) -> Response:
        """Show one: all of it to people, where it stands to the principal who asked. `wait` holds the answer."""
        approval_id = request.path_params["id"]
        wait_s = _seconds(request.query_params.get("wait", "0"))
        headers: Headers = request.scope["headers_read"]
        token = bearer(headers)
        if token and not self._services.admin_matches(token) and self._is_agent(token):
            who = self._principal(self._authenticate(headers), None)
            return _json(ApprovalStatus.of(await self._own(who, approval_id, wait_s)))
        self._look(request)
        return _json(await self._decided(approval_id, wait_s))

    async def cancel(self, request: HttpRequest) -> Response:
        """Withdraw what the token's principal asked for."""
        who = self._authenticate(request.scope["headers_read"]).principal
        call = parse_json(await self._body(request), _cancel_decoder)
        approval_id = request.path_params["id"]
        await self._own(who, approval_id, 0.0)
        move = Cancel(why="withdrawn", by=who.id, note=call.note)
        return _json(ApprovalStatus.of(await self._ask(lambda engine: engine.apply(approval_id, move))))

    async def stream(self, request: HttpRequest) -> Response:
        """Stream changes as server-sent events, from `Last-Event-ID` or `?after=` on; else from now on."""
        self._look(request)
        if self._streams >= MAX_STREAMS:
            raise HttpError(503, "streams_exhausted", f"{MAX_STREAMS} streams are open already")
        headers: Headers = request.scope["headers_read"]
        text = headers.last_event_id.decode("latin-1") or request.query_params.get("after", "")
        if text.isascii() and text.isdigit():
            after = int(text[:16])
        else:
            newest = await self._ask(lambda engine: engine.find(ApprovalFilter(), limit=1, newest=True))
            after = newest[0].seq if newest else 0
        return StreamingResponse(self._stream(after), media_type="text/event-stream")

    def _move(
        self, kind: type, make: Callable[[Any, Person, Origin], Move]
    ) -> Callable[[HttpRequest], Awaitable[Response]]:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

        async def endpoint(request: HttpRequest) -> Response:
            # First who it is: a stranger learns nothing about bodies.
            person = self._services.people.person_of(request)
            call = parse_json(await self._body(request), decoder)
            move = make(call, person, _origin(request))
            approval_id = request.path_params["id"]
            return _json(await self._ask(lambda engine: engine.apply(approval_id, move)))

        return endpoint

    async def _stream(self, after: int) -> AsyncIterator[bytes]:
        self._streams += 1
        last = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not self._closed:
                place = after
                found = await self._ask(lambda engine: engine.find(ApprovalFilter(), after=place, limit=100))  # noqa: B023 - called at once
                for each in found:
                    after = each.seq
                    data = msgspec.json.encode(each.approval)
                    yield b"id: %d\nevent: approval\ndata: %s\n\n" % (after, data)
                if found:
                    last = time.monotonic()
                elif time.monotonic() - last > _HEARTBEAT_S:
                    last = time.monotonic()
                    yield b": still here\n\n"
                if len(found) < 100:  # noqa: PLR2004 - as above
                    await asyncio.sleep(_POLL_S)
        finally:
            self._streams -= 1

    async def _own(self, who: Principal, approval_id: str, timeout_s: float) -> Approval:
        approval = await self._ask(lambda engine: engine.wait(approval_id))
        if approval.principal != who.id:
            raise HttpError(404, "approval_unknown", f"there is no approval `{approval_id[:100]}`")
        return await self._decided(approval_id, timeout_s) if timeout_s else approval

    async def _decided(self, approval_id: str, timeout_s: float) -> Approval:
        if timeout_s == 0 or self._held >= MAX_HELD:
            return await self._ask(lambda engine: engine.wait(approval_id))
        self._held += 1
        try:
            return await self._ask(
                lambda engine: wait_decided(
                    engine, approval_id, timeout_s=timeout_s, slice_s=_SLICE_S, is_over=lambda: self._closed
                ),
                self._pool,
            )
        finally:
            self._held -= 1

    async def _ask(self, ask: Callable[[ApprovalEngine], T], pool: ThreadPoolExecutor | None = None) -> T:
        engine = self._services.approvals
        if engine is None:
            raise HttpError(503, "approvals_missing", "this server asks no people")
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, ask, engine)
        except ApprovalError as error:
            status = _STATUS.get(error.code, HTTPStatus.CONFLICT)
            raise HttpError(status, error.code, error.message, hint=error.hint) from None
        except AuditError as error:
            hint = "what you did is kept, and goes on record when the log works again"
            raise HttpError(503, error.code, error.message, hint=hint) from None

    def _look(self, request: HttpRequest) -> None:
        """Pass for the admin token and for a person's login."""
        token = bearer(request.scope["headers_read"])
        if token and self._services.admin_matches(token):
            return
        if token and self._is_agent(token):
            hint = "ask for one of its own, by its id"
            raise HttpError(403, "agent_may_only_check", "an agent's token may not see others'", hint=hint)
        self._services.people.person_of(request)

    def _is_agent(self, token: str) -> bool:
        try:
            self._services.verify_token(token)
        except IdentityError:
            return False
        return True

    async def _body(self, request: HttpRequest) -> bytes:
        settings = self._services.settings
        return await read_body(
            request.scope["headers_read"],
            request.scope,
            request.receive,
            limit=settings.max_body_bytes,
            deadline_s=settings.read_timeout_s,
        )


def _origin(request: HttpRequest) -> Origin:
    # What a client says of itself is shown, and decides nothing.
    is_cli = request.headers.get("user-agent", "").startswith(_CLI)
    return Origin("cli" if is_cli else "api", peer_of(request.scope))


def _filter(query: Mapping[str, str]) -> ApprovalFilter:
    names = [name for name in query.get("state", "").split(",") if name]
    try:
        states = tuple(ApprovalState(name) for name in names)
    except ValueError:
        known = ", ".join(state.value for state in ApprovalState)
        raise HttpError(
            400, "query_invalid", "`state` is no state of an approval", hint=f"one of {known}"
        ) from None
    return ApprovalFilter(
        states,
        query.get("principal", ""),
        effect_unknown=_flag(query, "effect_unknown"),
        awaits_review=_flag(query, "awaits_review"),
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise HttpError(400, "query_invalid", f"`{name}` is `true` or `false`")
    return text == "true"


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not least <= int(text) <= most:  # noqa: PLR2004 - digits of 2**53
        raise HttpError(400, "query_invalid", f"`{name}` is a number from {least} to {most}")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isascii() or not text.replace(".", "", 1).isdigit() or not float(text) <= MAX_WAIT_S:
        raise HttpError(400, "query_invalid", f"`wait` is a number of seconds up to {MAX_WAIT_S:g}")
    return float(text)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
