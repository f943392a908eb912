"""The pages of approvals: what waits, one in full, and the forms with which a person decides."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import msgspec
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agentguard.console import render_approval, render_approvals, view_of
from agentguard.core import (
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    AuditError,
    BreakGlass,
    CastVote,
    Defer,
    Delegate,
    IdentityError,
    Origin,
    ReviewGlass,
)
from agentguard.server._http import HttpError, peer_of
from agentguard.server._pages import who

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request as HttpRequest

    from agentguard.core import Approval, ApprovalEngine, Move, Person
    from agentguard.server._http import Headers
    from agentguard.server._services import Services
    from agentguard.server._sessions import Session

    ReadForm = Callable[[HttpRequest], Awaitable[dict[str, str]]]

T = TypeVar("T")

_DECIDED = (
    ApprovalState.DENIED,
    ApprovalState.EXPIRED,
    ApprovalState.CANCELLED,
    ApprovalState.CONSUMED,
    ApprovalState.APPROVED,
)
_LATELY = 30
_MOST = 500


class ApprovalPages:
    """Shows approvals to who may look, and takes the word of a person who has logged in."""

    def __init__(
        self, services: Services, require_reader: Callable[[Headers], None], read_form: ReadForm
    ) -> None:
        self._services, self._require_reader, self._read_form = services, require_reader, read_form

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/approvals", self.index),
            Route("/approvals/{id}", self.show, methods=["GET"]),
            Route("/approvals/{id}", self.decide, methods=["POST"]),
        ]

    async def index(self, request: HttpRequest) -> Response:
        """Show what waits, what is worth a look, and what was decided lately."""
        session = self._session(request)
        if session is None:
            return _to_login("/approvals")
        newest = await self._ask(lambda engine: engine.find(ApprovalFilter(), limit=1, newest=True))
        pending = await self._find(ApprovalFilter(states=(ApprovalState.PENDING,)), _MOST)
        unknown = await self._find(ApprovalFilter(effect_unknown=True), _MOST)
        glass = await self._find(ApprovalFilter(awaits_review=True), _MOST)
        attention = list(
            {each.id: each for each in (*unknown, *glass) if each.dispatched or each.glass}.values()
        )
        seen = {each.id for each in attention}
        decided = [
            each for each in await self._find(ApprovalFilter(states=_DECIDED), _LATELY) if each.id not in seen
        ]
        page = render_approvals(
            pending=[view_of(each) for each in sorted(pending, key=lambda each: each.deadline)],
            attention=[view_of(each) for each in attention],
            decided=[view_of(each) for each in decided[::-1]],
            after=newest[0].seq if newest else 0,
            version=self._services.version,
            **who(session),
        )
        return Response(page, media_type="text/html")

    async def show(self, request: HttpRequest) -> Response:
        """Show one."""
        session = self._session(request)
        if session is None:
            return _to_login(f"/approvals/{request.path_params['id'][:64]}")
        return await self._page(request, session)

    async def decide(self, request: HttpRequest) -> Response:
        """Do what a person chose in a form."""
        form = await self._read_form(request)
        request.scope["form_csrf"] = form.get("csrf", "")
        session = self._session(request)
        if session is None:
            return _to_login(f"/approvals/{request.path_params['id'][:64]}")
        try:
            person = self._services.people.person_of(request)
            move = _move(form, person, Origin(via="page", address=peer_of(request.scope)))
            approval_id = request.path_params["id"]
            await self._ask(lambda engine: engine.apply(approval_id, move))
        except (ApprovalError, AuditError, IdentityError) as error:
            text = f"{error.message[:1].upper()}{error.message[1:]}." + (
                f" {error.hint[:1].upper()}{error.hint[1:]}." if error.hint else ""
            )
            return await self._page(request, session, problem=text, given=form)
        return RedirectResponse(f"/approvals/{approval_id}", HTTPStatus.SEE_OTHER)

    async def _page(
        self,
        request: HttpRequest,
        session: Session,
        *,
        problem: str = "",
        given: dict[str, str] | None = None,
    ) -> Response:
        approval_id = request.path_params["id"]
        newest = await self._ask(lambda engine: engine.find(ApprovalFilter(), limit=1, newest=True))
        try:
            approval = await self._ask(lambda engine: engine.wait(approval_id))
        except ApprovalError as error:
            raise HttpError(404, error.code, error.message, hint="see `/approvals`") from None
        kept = {name: (given or {}).get(name, "") for name in ("note", "patch", "minutes", "to")}
        page = render_approval(
            view_of(approval),
            after=newest[0].seq if newest else 0,
            version=self._services.version,
            problem=problem,
            given=kept,
            **who(session),
        )
        return Response(page, HTTPStatus.CONFLICT if problem else 200, media_type="text/html")

    def _session(self, request: HttpRequest) -> Session | None:
        session = self._services.people.session_of(request)
        if session is not None and session.via == "page":
            # A person without any role sees nothing.
            self._require_reader(request.scope["headers_read"])
            return session
        return None

    async def _find(self, wanted: ApprovalFilter, limit: int) -> list[Approval]:
        found = await self._ask(lambda engine: engine.find(wanted, limit=limit, newest=True))
        return [each.approval for each in found]

    async def _ask(self, ask: Callable[[ApprovalEngine], T]) -> T:
        engine = self._services.approvals
        if engine is None:
            raise HttpError(503, "approvals_missing", "this server asks no people")
        return await asyncio.to_thread(ask, engine)


def _move(form: dict[str, str], person: Person, origin: Origin) -> Move:
    """Return what a form asks for.

    Raises:
        ApprovalError: a field is malformed (`approval_invalid`).
    """
    choice, note = form.get("choice", ""), form.get("note", "")
    edition = int(form["edition"]) if form.get("edition", "").isdecimal() else None
    if choice in {"approve", "deny"}:
        return CastVote(
            person=person, origin=origin, approves=choice == "approve", note=note, edition=edition
        )
    if choice == "edit":
        return CastVote(
            person=person, origin=origin, approves=True, note=note, edition=edition, patch=_patch(form)
        )
    if choice == "defer":
        minutes = form.get("minutes", "").strip()
        if not minutes.isdecimal() or not int(minutes):
            raise ApprovalError("minutes are a number above zero", code="approval_invalid")
        return Defer(person=person, origin=origin, for_s=60.0 * int(minutes), note=note)
    if choice == "delegate":
        return Delegate(person=person, origin=origin, to=form.get("to", "").strip().lower(), note=note)
    if choice == "glass":
        return BreakGlass(person=person, origin=origin, reason=note, edition=edition)
    if choice in {"justified", "unjustified"}:
        return ReviewGlass(person=person, origin=origin, justified=choice == "justified", note=note)
    raise ApprovalError("the form says nothing that can be done", code="approval_invalid")


def _patch(form: dict[str, str]) -> dict[str, object]:
    try:
        return msgspec.json.decode(form.get("patch", ""), type=dict[str, object])
    except msgspec.MsgspecError:
        raise ApprovalError(
            "the change is no JSON object",
            code="approval_invalid",
            hint='write only what changes, as {"replicas": 3}',
        ) from None


def _to_login(then: str) -> Response:
    return RedirectResponse(f"/login?then={then}", HTTPStatus.SEE_OTHER)
