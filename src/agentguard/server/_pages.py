"""The routes of the console: login, the live page and its event stream, policies, documentation, static files."""

from __future__ import annotations

import asyncio
import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from agentguard.console import (
    event_row_of,
    render_docs,
    render_live,
    render_login,
    render_policies,
    row_of,
    static_files,
)
from agentguard.core import IdentityError
from agentguard.server._feed import MAX_STREAMS, News, Place
from agentguard.server._hosts import require_same_origin
from agentguard.server._http import Headers, HttpError, bearer, peer_of, read_body
from agentguard.server._openapi import openapi
from agentguard.server._people import record_login
from agentguard.server._sessions import LoginThrottle, csrf_matches, drop_cookie, set_cookie

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request as HttpRequest

    from agentguard.console import Row
    from agentguard.identity import Account
    from agentguard.server._admin import AdminRoutes
    from agentguard.server._feed import Feed
    from agentguard.server._services import Services
    from agentguard.server._sessions import Session, Sessions

    Reject = Callable[[str, str, bytes], None]

ROWS = 200
# The chain's state is sent with each batch and at least this often, which keeps the connection known as alive.
HEARTBEAT_S = 2.0
_MAX_FORM_BYTES = 65_536
_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-][A-Za-z0-9._-]{0,600}){0,3})?", re.ASCII)


class PageRoutes:
    """Answers browsers. A person is whoever holds a session's cookie."""

    def __init__(
        self, services: Services, sessions: Sessions, feed: Feed, admin: AdminRoutes, reject: Reject
    ) -> None:
        self._services = services
        self._reject = reject
        self._sessions = sessions
        self._feed = feed
        self._admin = admin
        self._throttle = LoginThrottle()
        self._static = static_files()
        self._docs = render_docs(openapi())

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.live),
            Route("/login", self.show_login, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/events", self.events),
            Route("/policies", self.policies),
            Route("/docs", self.docs),
            Route("/static/{name}", self.static),
        ]

    async def live(self, request: HttpRequest) -> Response:
        """Show the newest decisions; without a session, the way to log in."""
        session = self._sessions.find(_headers(request).cookie)
        if session is None:
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        await self._feed.catch_up()
        chain = self._feed.chain()
        newest, events = self._feed.newest(ROWS), self._feed.newest_events(ROWS)
        place = Place(newest[-1][0] if newest else chain.seq, events[-1].seq if events else 0)
        page = render_live(
            rows=[row for _, row in _rows(News(place, 0, tuple(newest), tuple(events)), Place(0))][::-1],
            chain=chain,
            after=str(place),
            **who(session),
            version=self._services.version,
            effects=request.query_params.getlist("effect"),
            text=request.query_params.get("q", "")[:200],
        )
        return _page(page)

    async def show_login(self, request: HttpRequest) -> Response:
        """Show the form; with `?code=`, one that redeems the code by a POST, so that no prefetch burns it."""
        return self._door(
            code=request.query_params.get("code", "")[:200], then=_then(request.query_params.get("then"))
        )

    def _door(self, *, status: int = 200, headers: dict[str, str] | None = None, **shown: str) -> Response:
        has_people = not self._services.people.is_empty()
        return _page(render_login(has_people=has_people, **shown), status, headers)

    async def login(self, request: HttpRequest) -> Response:
        """Open a session for a person, for the admin token or for a one-time code."""
        headers = _headers(request)
        require_same_origin(headers, request.scope)
        peer = peer_of(request.scope)
        wait_s = math.ceil(self._throttle.wait_s(peer))
        if wait_s:
            problem = f"Too many attempts. Try again in {wait_s} s."
            return self._door(status=429, headers={"retry-after": str(wait_s)}, problem=problem)
        form = await self.form(request)
        token, code, then = form.get("token", ""), form.get("code", ""), _then(form.get("then"))
        account = None
        if form.get("name"):
            account, problem = await self._person(form, peer)
        elif code:
            problem = "" if self._services.login_codes.redeem(code) else "This link was used or is too old."
        else:
            problem = "" if self._services.admin_matches(token.strip()) else "This is not the admin token."
        if problem:
            self._throttle.failed(peer)
            self._reject(peer, "login_failed", b"")
            return self._door(status=HTTPStatus.FORBIDDEN, problem=problem, then=then)
        self._sessions.end(headers.cookie)
        answer = RedirectResponse(then, HTTPStatus.SEE_OTHER)
        secret = self._sessions.start(account)
        answer.raw_headers.append(set_cookie(secret, is_secure=request.scope["scheme"] == "https"))
        return answer

    async def _person(self, form: dict[str, str], peer: str) -> tuple[Account | None, str]:
        """Return the account that a form proves, or what is wrong."""
        try:
            account = await self._services.people.login(
                form["name"].strip().lower(), form.get("password", ""), peer
            )
        except IdentityError as error:
            return None, f"{error.message[:1].upper()}{error.message[1:]}."
        await record_login(self._services, account, "page", peer)
        return account, ""

    async def logout(self, request: HttpRequest) -> Response:
        """End the session."""
        headers = _headers(request)
        require_same_origin(headers, request.scope)
        session = self._sessions.find(headers.cookie)
        form = await self.form(request)
        if session is not None and not csrf_matches(session, form.get("csrf", "")):
            raise HttpError(
                403, "csrf_invalid", "the form is not of this session", hint="load the page again"
            )
        self._sessions.end(headers.cookie)
        answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        answer.raw_headers.append(drop_cookie())
        return answer

    async def events(self, request: HttpRequest) -> Response:
        """Stream new rows and the chain's state as server-sent events, from `Last-Event-ID` or `?after=` on."""
        if request.method == "HEAD":
            raise HTTPException(405, headers={"Allow": "GET"})  # an answer without a body would never end
        headers = _headers(request)
        self._admin.require_reader(headers)
        if self._feed.streams >= MAX_STREAMS:
            raise HttpError(503, "streams_exhausted", f"{MAX_STREAMS} streams are open already")
        session = None if bearer(headers) else self._sessions.find(headers.cookie)
        await self._feed.catch_up()
        text = headers.last_event_id.decode("latin-1") or request.query_params.get("after", "")
        after = _place(text, self._feed.place())
        return StreamingResponse(self._stream(after, session), media_type="text/event-stream")

    async def policies(self, request: HttpRequest) -> Response:
        """Show the policy set in force; without a session, the way to log in."""
        session = self._sessions.find(_headers(request).cookie)
        if session is None:
            return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        page = await asyncio.to_thread(
            render_policies,
            self._services.describe_policies(),
            **who(session),
            version=self._services.version,
            text=request.query_params.get("q", "")[:200],
        )
        return _page(page)

    async def docs(self, _: HttpRequest) -> Response:
        """Show the documentation of the API."""
        return _page(self._docs)

    async def static(self, request: HttpRequest) -> Response:
        """Return a file of the console."""
        found = self._static.get(request.path_params["name"])
        if found is None:
            raise HttpError(404, "route_unknown", "there is no such file")
        return Response(found.body, headers={"content-type": found.content_type})

    async def _stream(self, after: Place, session: Session | None) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n\n" + self._chain_event()
        async for news in self._feed.follow(after, heartbeat_s=HEARTBEAT_S):
            if session is not None and not self._sessions.is_open(session):
                yield b"event: bye\ndata: {}\n\n"
                return
            if news.skipped:
                yield b'event: skipped\ndata: {"count": %d}\n\n' % news.skipped
            for place, row in _rows(news, after):
                kind = b"event" if row.is_event else b"decision"
                yield b"id: %s\nevent: %s\ndata: %s\n\n" % (
                    str(place).encode(),
                    kind,
                    msgspec.json.encode(row),
                )
            after = news.place
            yield self._chain_event()

    def _chain_event(self) -> bytes:
        return b"event: chain\ndata: %s\n\n" % msgspec.json.encode(self._feed.chain())

    async def form(self, request: HttpRequest) -> dict[str, str]:
        """Return the fields of a form.

        Raises:
            HttpError: the body is none, too long or slow.
        """
        body = await read_body(
            _headers(request),
            request.scope,
            request.receive,
            limit=_MAX_FORM_BYTES,
            deadline_s=self._services.settings.read_timeout_s,
        )
        try:
            fields = parse_qs(body.decode(), max_num_fields=20, strict_parsing=bool(body))
        except ValueError:
            raise HttpError(400, "form_invalid", "the body is no form") from None
        return {name: values[0] for name, values in fields.items()}


def _rows(news: News, after: Place) -> Iterator[tuple[Place, Row]]:
    """Yield decisions and events as rows by time, each with the place after it, from which a stream goes on."""
    records = [(seq, row) for seq, record in news.records if (row := row_of(record)) is not None]
    events = [(each.seq, event_row_of(each)) for each in news.events]
    # Each of the two keeps its own order, or a stream that was cut would miss what came late.
    while records or events:
        is_event = not records or (bool(events) and events[0][1].timestamp < records[0][1].timestamp)
        seq, row = events.pop(0) if is_event else records.pop(0)
        after = Place(after.record, seq) if is_event else Place(seq, after.event)
        yield after, row


def _place(text: str, default: Place) -> Place:
    """Read a place as `Place` writes it; an `id` of a record alone is one too."""
    record, _, event = text.partition(".")
    numbers = [int(part) for part in (record, event) if part.isascii() and part.isdigit() and len(part) < 17]  # noqa: PLR2004
    if not numbers or len(numbers) < 1 + bool(event):
        return default
    return Place(numbers[0], numbers[1] if event else default.event)


def who(session: Session) -> dict[str, str]:
    """Return what every page shows of its session: its form token, and who has logged in."""
    return {"csrf": session.csrf, "person": session.account.name if session.account is not None else ""}


def _headers(request: HttpRequest) -> Headers:
    headers: Headers = request.scope["headers_read"]
    return headers


def _then(path: str | None) -> str:
    """Return where to go after a login: a path of ours, and nothing that leads elsewhere (an open redirect)."""
    return path if path and _OWN_PATH.fullmatch(path) else "/"


def _page(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(text, status, headers=headers, media_type="text/html")
