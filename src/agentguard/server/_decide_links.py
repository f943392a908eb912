"""Votes from elsewhere: links in mails and chats, and clicks on Slack's buttons. Each is one person's, once."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agentguard.console import render_decide, view_of
from agentguard.core import ApprovalError, AuditError, CastVote, IdentityError, NotifyError, Origin
from agentguard.notify import DeliveryError, answer_click
from agentguard.server._http import Headers, HttpError, peer_of, read_body
from agentguard.server._pages import who

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request as HttpRequest

    from agentguard.core import Approval, ApprovalEngine
    from agentguard.notify import Click, SlackClicks, VoteLink, VoteLinks
    from agentguard.server._services import Services
    from agentguard.server._sessions import Session

    Reject = Callable[[str, str, bytes], None]
    ReadForm = Callable[[HttpRequest], Awaitable[dict[str, str]]]

T = TypeVar("T")

_MAX_CLICK_BYTES = 256 * 1024


class LinkRoutes:
    """Shows what a link is about, and votes for who has logged in and confirms it; a GET changes nothing."""

    def __init__(
        self,
        services: Services,
        links: VoteLinks,
        require_reader: Callable[[Headers], None],
        *,
        read_form: ReadForm,
        reject: Reject,
    ) -> None:
        self._services, self._links = services, links
        self._require_reader, self._read_form, self._reject = require_reader, read_form, reject

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/decide/{token}", self.show, methods=["GET"]),
            Route("/decide/{token}", self.vote, methods=["POST"]),
        ]

    async def show(self, request: HttpRequest) -> Response:
        """Show what the link would do, to who has logged in."""
        link = self._read(request)
        session = self._session(request)
        if session is None:
            return _to_login(request)
        return await self._page(request, session, link)

    async def vote(self, request: HttpRequest) -> Response:
        """Vote as the person who has logged in, and use the link up."""
        form = await self._read_form(request)
        request.scope["form_csrf"] = form.get("csrf", "")
        link = self._read(request)
        session = self._session(request)
        if session is None:
            return _to_login(request)
        try:
            person = self._services.people.person_of(request)
            await asyncio.to_thread(self._links.spend, link)
            move = CastVote(
                person=person,
                origin=Origin(via="link", address=peer_of(request.scope)),
                approves=link.approves,
                note=form.get("note", ""),
                edition=link.edition,
            )
            await self._ask(lambda engine: engine.apply(link.approval, move))
        except (ApprovalError, AuditError, IdentityError, NotifyError) as error:
            if isinstance(error, NotifyError | IdentityError):
                self._reject(peer_of(request.scope), error.code, b"")
            return await self._page(
                request, session, link, problem=f"{error.message[:1].upper()}{error.message[1:]}."
            )
        return RedirectResponse(f"/approvals/{link.approval}", HTTPStatus.SEE_OTHER)

    def _read(self, request: HttpRequest) -> VoteLink:
        try:
            return self._links.read(request.path_params["token"])
        except NotifyError as error:
            self._reject(peer_of(request.scope), error.code, b"")
            raise HttpError(HTTPStatus.FORBIDDEN, error.code, error.message, hint=error.hint) from None

    def _session(self, request: HttpRequest) -> Session | None:
        session = self._services.people.session_of(request)
        # The admin token is nobody who could vote.
        if session is None or session.via != "page" or session.account is None:
            return None
        self._require_reader(request.scope["headers_read"])
        return session

    async def _page(
        self, request: HttpRequest, session: Session, link: VoteLink, *, problem: str = ""
    ) -> Response:
        try:
            approval: Approval = await self._ask(lambda engine: engine.wait(link.approval))
        except ApprovalError as error:
            raise HttpError(404, error.code, error.message, hint="see `/approvals`") from None
        page = render_decide(
            view_of(approval),
            token=request.path_params["token"],
            approves=link.approves,
            is_current=link.edition == approval.edition,
            version=self._services.version,
            problem=problem,
            **who(session),
        )
        return Response(page, HTTPStatus.CONFLICT if problem else 200, media_type="text/html")

    async def _ask(self, ask: Callable[[ApprovalEngine], T]) -> T:
        engine = self._services.approvals
        if engine is None:
            raise HttpError(503, "approvals_missing", "this server asks no people")
        return await asyncio.to_thread(ask, engine)


class SlackRoute:
    """`/v1/slack/interactions`: clicks on buttons, signed by Slack."""

    def __init__(self, services: Services, clicks: SlackClicks, *, reject: Reject) -> None:
        self._services, self._clicks, self._reject = services, clicks, reject
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/slack/interactions", self.click, methods=["POST"])]

    async def click(self, request: HttpRequest) -> Response:
        """Take a click; Slack waits three seconds, so who clicked is told by itself."""
        headers: Headers = request.scope["headers_read"]
        body = await read_body(
            headers,
            request.scope,
            request.receive,
            limit=_MAX_CLICK_BYTES,
            deadline_s=self._services.settings.read_timeout_s,
        )
        try:
            found = self._clicks.read(
                body,
                timestamp=request.headers.get("x-slack-request-timestamp", ""),
                signature=request.headers.get("x-slack-signature", ""),
            )
        except NotifyError as error:
            self._reject(peer_of(request.scope), error.code, body)
            status = HTTPStatus.UNAUTHORIZED if error.code == "slack_signature" else HTTPStatus.FORBIDDEN
            raise HttpError(status, error.code, error.message, hint=error.hint) from None
        if found is not None:
            said = await asyncio.to_thread(self._vote, found, peer_of(request.scope))
            task = asyncio.create_task(asyncio.to_thread(_answer, found, said))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return Response(status_code=200)

    def _vote(self, click: Click, peer: str) -> str:
        engine = self._services.approvals
        try:
            person = self._services.people.named(click.person)
            if person is None or engine is None:
                self._reject(peer, "slack_person", b"")
                return f"Nobody called {click.person} may vote."
            origin = Origin(via="slack", address=peer)
            move = CastVote(person=person, origin=origin, approves=click.approves, edition=click.edition)
            engine.apply(click.approval, move)
        except (ApprovalError, AuditError, IdentityError) as error:
            return f"That was not counted: {error.message}."
        return "Your vote is counted."


def _answer(click: Click, text: str) -> None:
    try:
        answer_click(click, text)
    except DeliveryError:
        # The vote and its refusal are on record; only the word to who clicked is lost.
        return


def _to_login(request: HttpRequest) -> Response:
    return RedirectResponse(f"/login?then={request.url.path}", HTTPStatus.SEE_OTHER)
