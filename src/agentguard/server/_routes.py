"""The routes that answer JSON or text beside the hot path."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from agentguard.server._openapi import openapi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request as HttpRequest

    from agentguard.server._admin import AdminRoutes
    from agentguard.server._metrics import Metrics
    from agentguard.server._services import Services
    from agentguard.server._tickets import TicketRoutes

_JSON = "application/json"


def api_routes(
    services: Services, metrics: Metrics, admin: AdminRoutes, tickets: TicketRoutes
) -> list[Route]:
    """Return the admin's routes and the ones for machines that watch."""
    description = msgspec.json.encode(openapi())

    async def healthz(_: HttpRequest) -> Response:
        return Response(b'{"status":"up"}', media_type=_JSON)

    async def readyz(_: HttpRequest) -> Response:
        problems = await asyncio.to_thread(services.ready)
        body = {"ready": not problems, "problems": problems}
        return Response(msgspec.json.encode(body), 503 if problems else 200, media_type=_JSON)

    async def expose(_: HttpRequest) -> Response:
        body = await asyncio.to_thread(metrics.expose)
        return Response(body, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def describe(_: HttpRequest) -> Response:
        return Response(description, media_type=_JSON)

    async def ticket_keys(_: HttpRequest) -> Response:
        return Response(await tickets.keys(), media_type=_JSON)

    return [
        Route("/v1/actions", _for_admin(admin, admin.actions)),
        Route("/v1/policies", _for_admin(admin, admin.policies)),
        Route("/v1/audit", _for_admin(admin, admin.audit)),
        Route("/v1/agents", _for_admin(admin, admin.agents)),
        Route("/v1/events", _for_admin(admin, admin.events)),
        Route("/v1/sensor", _for_admin(admin, admin.sensor)),
        Route("/v1/tickets/keys", ticket_keys),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", expose),
        Route("/openapi.json", describe),
    ]


def _for_admin(
    admin: AdminRoutes, answer: Callable[[Mapping[str, str]], Awaitable[bytes]]
) -> Callable[[HttpRequest], Awaitable[Response]]:
    async def endpoint(request: HttpRequest) -> Response:
        admin.require_reader(request.scope["headers_read"])
        return Response(await answer(request.query_params), media_type=_JSON)

    return endpoint
