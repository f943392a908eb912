"""The ASGI application: one guard in front of all routes, the hot path beside the router."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Router

from agentguard.core import IdentityError
from agentguard.gateway import is_gateway_path
from agentguard.server._admin import AdminRoutes
from agentguard.server._agents import AgentsSeen
from agentguard.server._approval_pages import ApprovalPages
from agentguard.server._approvals import ApprovalRoutes
from agentguard.server._check import CheckRoutes
from agentguard.server._decide_links import LinkRoutes, SlackRoute
from agentguard.server._feed import Feed
from agentguard.server._gateway import GatewayRoute
from agentguard.server._hosts import HostGuard
from agentguard.server._http import (
    API_HEADERS,
    PAGE_HEADERS,
    ClientGoneError,
    Headers,
    HttpError,
    peer_of,
    read_body,
    respond,
    respond_error,
)
from agentguard.server._kernel_policy import KernelPolicyRoute
from agentguard.server._labels import LabelRoutes
from agentguard.server._metrics import Metrics
from agentguard.server._pages import PageRoutes
from agentguard.server._people import PeopleRoutes, refusal_of
from agentguard.server._routes import api_routes
from agentguard.server._tickets import TicketRoutes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from agentguard.server._services import Services

    HotRoute = Callable[[Headers, bytes], Awaitable[bytes]]

_log = logging.getLogger("agentguard.server")
# Answers to what never became a request: noted in the audit log by size and digest.
_REJECTED = frozenset((400, 401, 403, 408, 413, 421))


def create_app(services: Services) -> App:
    """Return the ASGI application that serves `services`."""
    return App(services)


class App:
    """Answers HTTP. Nothing that it is sent makes it raise; what fails inside is a 500 without details."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._metrics = Metrics(
            services.audit,
            services.spending,
            services.sensor,
            approvals=services.approvals,
            notices=services.notices,
        )
        self._hosts = HostGuard(services.settings.allowed_hosts)
        agents, sessions = AgentsSeen(), services.people.sessions
        self._feed = Feed(services.audit, agents, services.events)
        self._check = CheckRoutes(services, self._metrics, agents)
        admin = AdminRoutes(services, sessions, self._feed, agents)
        pages = PageRoutes(services, sessions, self._feed, admin, self.reject)
        labels = LabelRoutes(services, self._check)
        self._gateway = (
            GatewayRoute(services.gateway, services.settings, self._metrics, self._check.note, self.reject)
            if services.gateway is not None
            else None
        )
        self._approvals = ApprovalRoutes(services, self._check.authenticate, self._check.principal)
        tickets = TicketRoutes(services, self._check.authenticate, admin.require_admin)
        self._hot: dict[str, HotRoute] = {
            "/v1/check": self._check.check,
            "/v1/check/plan": self._check.plan,
            "/v1/outcome": self._check.outcome,
            "/v1/observe": self._check.observe,
            "/v1/regrade": labels.regrade,
            "/v1/vouch": labels.vouch,
            "/v1/tickets/consume": tickets.consume,
            "/v1/tickets/revoke": tickets.revoke,
            "/v1/kernel-policy": KernelPolicyRoute(
                services, self._check.authenticate, self._check.principal
            ).issue,
            "/v1/sessions": labels.open_session,
            "/v1/approvals/wait": self._approvals.wait,
        }
        api = api_routes(services, self._metrics, admin, tickets)
        people = PeopleRoutes(services)
        asked = ApprovalPages(services, admin.require_reader, pages.form)
        routes = [*api, *people.routes(), *self._approvals.routes(), *asked.routes(), *pages.routes()]
        if services.links is not None:
            links = LinkRoutes(
                services, services.links, admin.require_reader, read_form=pages.form, reject=self.reject
            )
            routes += links.routes()
        if services.clicks is not None:
            routes += SlackRoute(services, services.clicks, reject=self.reject).routes()
        self._known = frozenset(route.path for route in routes)
        self._router = Router(routes, redirect_slashes=False)
        self._following: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's message (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def reject(self, peer: str, kind: str, body: bytes) -> None:
        """Note a request that never became one."""
        self._metrics.rejected(kind)
        try:
            self._services.rejections.record(peer, kind, body)
        except Exception:  # noqa: BLE001 - the answer to a bad request must not depend on a disk
            _log.exception("a rejected request could not be recorded")

    def end_streams(self) -> None:
        """End all event streams and answer who is held, so that a shutdown need not wait for them."""
        self._approvals.end()
        self._feed.close()

    def close(self) -> None:
        """Release threads. The services belong to whoever made them."""
        self._check.close()
        self._approvals.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        body = b""
        try:
            headers = Headers(scope["headers"])
            self._hosts.check(headers.host, scope)
            if self._gateway is not None and is_gateway_path(path):
                await self._gateway.answer(headers, scope, receive, send)
                return
            hot = self._hot.get(path)
            if hot is None:
                await self._route(path, headers, scope, receive, send)
                return
            if scope["method"] != "POST":
                raise _method_not_allowed("POST")  # noqa: TRY301 - one place answers errors
            settings = self._services.settings
            body = await read_body(
                headers, scope, receive, limit=settings.max_body_bytes, deadline_s=settings.read_timeout_s
            )
            reply = await hot(headers, body)
            status = 200 if reply else 204
            await respond(send, status, reply)
            self._metrics.answered(path, status)
        except HttpError as error:
            await self._fail(error, path, body, scope, send)
        except IdentityError as error:
            await self._fail(refusal_of(error), path, body, scope, send)
        except ClientGoneError:
            self.reject(peer_of(scope), "client_gone", body)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever failed, nothing was allowed
            _log.exception("a request failed", extra={"route": path if path in self._hot else "other"})
            if not isinstance(error, _StartedError):
                failure = HttpError(500, "internal_error", "the server failed; nothing was allowed")
                await self._fail(failure, path, body, scope, send)

    async def _route(self, path: str, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own: list[tuple[bytes, bytes]] = message["headers"]
                is_page = any(name == b"content-type" and b"html" in value for name, value in own)
                message["headers"] = [*own, *(PAGE_HEADERS if is_page else API_HEADERS)]
                self._metrics.answered(path if path in self._known else "unknown", message["status"])
            await send(message)

        # With an `app`, the router raises what it refuses, so that it gets the one shape.
        scope["app"] = self
        scope["headers_read"] = headers
        try:
            await self._router(scope, receive, send_guarded)
        except HTTPException as error:
            raise _of_router(error) from None
        except Exception as error:
            if started:
                raise _StartedError from error
            raise

    async def _fail(self, error: HttpError, path: str, body: bytes, scope: Scope, send: Send) -> None:
        if error.status in _REJECTED:
            self.reject(peer_of(scope), error.code, body)
        known = path in self._hot or path in self._known
        self._metrics.answered(path if known else "unknown", error.status)
        await respond_error(send, error)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._following = asyncio.create_task(self._feed.run())
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._feed.close()
                if self._following is not None:
                    await self._following
                if self._gateway is not None:
                    await self._gateway.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


class _StartedError(Exception):
    """A route failed after its answer had begun: all that is left is to cut it off."""


def _method_not_allowed(allowed: str) -> HttpError:
    return HttpError(
        405, "method_not_allowed", f"this takes {allowed}", headers=((b"allow", allowed.encode()),)
    )


def _of_router(error: HTTPException) -> HttpError:
    allowed = (error.headers or {}).get("Allow")
    if allowed:
        return _method_not_allowed(allowed)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return HttpError(404, "route_unknown", "there is nothing here", hint="see `/docs`")
    return HttpError(error.status_code, "http_invalid", str(error.detail).lower())
