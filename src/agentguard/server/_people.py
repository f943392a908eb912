"""People's logins over HTTP, and who it is that a request comes from."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from agentguard.core import AuditError, IdentityError, LoginCall, LoginReply, Person, WhoReply
from agentguard.server._hosts import require_same_origin
from agentguard.server._http import Headers, HttpError, bearer, parse_json, peer_of, read_body, unauthorized
from agentguard.server._sessions import ABSOLUTE_S, LoginThrottle, Session, Sessions, csrf_matches

if TYPE_CHECKING:
    from starlette.requests import Request as HttpRequest

    from agentguard.identity import Account, People
    from agentguard.server._services import Services

# A form of the page carries its session's token in a field, a script of the page in this header.
CSRF_HEADER = "x-csrf-token"
_MAX_LOGIN_BYTES = 8192
_SAFE = frozenset(("GET", "HEAD"))


_decoder = msgspec.json.Decoder(LoginCall)


class PeopleDoor:
    """Lets people in with name and password, and tells which person a request comes from.

    `sessions` are those of the server; who fails to log in has to wait, by peer and by name.
    """

    def __init__(self, people: People) -> None:
        self._people = people
        self.sessions = Sessions(find_account=people.find)
        self._throttle = LoginThrottle()
        # Each password costs 64 MiB for a moment.
        self._at_once = asyncio.Semaphore(2)

    def is_empty(self) -> bool:
        """Tell whether nobody has an account yet."""
        try:
            return not self._people.list()
        except IdentityError:
            return False

    def person_of(self, request: HttpRequest) -> Person:
        """Return who is logged in; of a request that changes something, also that it is their own page that asks.

        Raises:
            IdentityError: nobody is (`person_needed`), or the request comes from elsewhere (`csrf_invalid`). No token of
                an agent and no admin token is a login.
        """
        session = self.session_of(request)
        if session is None or session.account is None:
            raise IdentityError(
                "this needs a person who has logged in; no token of an agent or of the admin is one",
                code="person_needed",
                hint="`agentguard people login`, or log in with name and password on the page",
            )
        if session.via == "page" and request.method not in _SAFE:
            self._check_origin(request, session)
        return session.account.person

    def named(self, name: str) -> Person | None:
        """Return the person with an account that is not disabled, or None.

        Raises:
            IdentityError: accounts cannot be read (`people_unavailable`).
        """
        account = self._people.find(name)
        return None if account is None else account.person

    def session_of(self, request: HttpRequest) -> Session | None:
        """Return the open session of a request, or None."""
        headers: Headers = request.scope["headers_read"]
        token = bearer(headers)
        return self.sessions.find_token(token) if token else self.sessions.find(headers.cookie)

    def _check_origin(self, request: HttpRequest, session: Session) -> None:
        try:
            require_same_origin(request.scope["headers_read"], request.scope)
        except HttpError as error:
            raise IdentityError(error.message, code="csrf_invalid") from None
        given = request.headers.get(CSRF_HEADER, "") or str(request.scope.get("form_csrf", ""))
        if not csrf_matches(session, given):
            raise IdentityError(
                "the form is not of this session", code="csrf_invalid", hint="load the page again"
            )

    async def login(self, name: str, password: str, peer: str) -> Account:
        """Return the account that name and password prove.

        Raises:
            IdentityError: they prove none (`login_failed`), there were too many attempts (`login_throttled`), or
                accounts cannot be read (`people_unavailable`).
        """
        keys = (f"peer {peer}", f"name {name[:64]}")
        wait_s = math.ceil(max(self._throttle.wait_s(key) for key in keys))
        if wait_s:
            raise IdentityError(
                f"too many attempts; try again in {wait_s} s", code="login_throttled", hint="wait that long"
            )
        try:
            async with self._at_once:
                return await asyncio.to_thread(self._people.login, name, password)
        except IdentityError as error:
            if error.code == "login_failed":
                for key in keys:
                    self._throttle.failed(key)
            raise


class PeopleRoutes:
    """`/v1/login`, `/v1/logout`, `/v1/me`: for the command line and other programs that a person uses."""

    def __init__(self, services: Services) -> None:
        self._door, self._services = services.people, services

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v1/login", self.login, methods=["POST"]),
            Route("/v1/logout", self.logout, methods=["POST"]),
            Route("/v1/me", self.me, methods=["GET"]),
        ]

    async def login(self, request: HttpRequest) -> Response:
        """Open a session for the command line."""
        headers: Headers = request.scope["headers_read"]
        body = await read_body(
            headers,
            request.scope,
            request.receive,
            limit=_MAX_LOGIN_BYTES,
            deadline_s=self._services.settings.read_timeout_s,
        )
        call, peer = parse_json(body, _decoder), peer_of(request.scope)
        account = await self._door.login(call.name, call.password, peer)
        await record_login(self._services, account, "cli", peer)
        token = self._door.sessions.start(account, via="cli")
        return _json(LoginReply(token, ABSOLUTE_S))

    async def logout(self, request: HttpRequest) -> Response:
        """End the session whose token this is."""
        headers: Headers = request.scope["headers_read"]
        session = self._door.sessions.find_token(bearer(headers))
        if session is None:
            raise unauthorized("person_needed", "this is no open login")
        self._door.sessions.close(session)
        return _json({"ended": True})

    async def me(self, request: HttpRequest) -> Response:
        """Say who has logged in."""
        person = self._door.person_of(request)
        return _json(WhoReply(person.name, tuple(sorted(person.roles)), tuple(sorted(person.groups))))


async def record_login(services: Services, account: Account, via: str, peer: str) -> None:
    """Record that somebody has logged in.

    Raises:
        HttpError: the log cannot take it, so nobody is let in.
    """
    record = {"type": "login", "person": account.name, "via": via, "address": peer}
    try:
        await asyncio.to_thread(services.audit.append, record)
    except AuditError as error:
        raise HttpError(503, error.code, error.message, hint=error.hint) from None


def refusal_of(error: IdentityError) -> HttpError:
    """Return what a refused login is answered with."""
    status = {"csrf_invalid": 403, "login_throttled": 429, "people_unavailable": 503}.get(error.code, 401)
    if status == 401:  # noqa: PLR2004 - unauthorised
        return unauthorized(error.code, error.message, hint=error.hint)
    return HttpError(status, error.code, error.message, hint=error.hint)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
