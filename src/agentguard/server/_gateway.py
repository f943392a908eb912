"""Hands model calls to the gateway, with their bodies bounded; what never became a call is noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.gateway import Asked, RefusalError, refuse
from agentguard.server._http import API_HEADERS, HANG_UPS, WHOLE, HttpError, peer_of, read_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import Message, Receive, Scope, Send

    from agentguard.config import ServerSettings
    from agentguard.core import Decision
    from agentguard.gateway import Gateway
    from agentguard.server._http import Headers
    from agentguard.server._metrics import Metrics

    SendWhole = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], Awaitable[None]]

# Answers to what never became a call, as in the application.
_REJECTED = frozenset((400, 401, 408, 413))


class GatewayRoute:
    """Everything below `/openai/` and `/anthropic/`."""

    def __init__(
        self,
        gateway: Gateway,
        settings: ServerSettings,
        metrics: Metrics,
        note: Callable[[Decision], None],
        reject: Callable[[str, str, bytes], None],
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._metrics = metrics
        self._reject = reject
        gateway.listen(note)

    async def answer(self, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in the shape of the provider whose path it asks for."""
        path: str = scope["path"]
        route = "/" + path.split("/", 2)[1]

        async def send_own(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *API_HEADERS]
                self._metrics.answered(route, message["status"])
            await send(message)

        try:
            body = await read_body(
                headers,
                scope,
                receive,
                limit=self._gateway.max_body_bytes,
                deadline_s=self._settings.read_timeout_s,
            )
        except HttpError as error:
            if error.status in _REJECTED:
                self._reject(peer_of(scope), error.code, b"")
            await refuse(path, RefusalError(error.status, error.code, error.message), send_own)
            return
        asked = Asked(scope["method"], path, scope["query_string"], tuple(scope["headers"]), body)
        whole: SendWhole | None = scope.get(WHOLE)

        rejected = await self._gateway.answer(
            asked,
            scope.get(HANG_UPS, set()),
            send_own,
            None if whole is None else self._counted(route, whole),
        )
        if rejected is not None and rejected.status in _REJECTED:
            self._reject(peer_of(scope), rejected.code, body)

    def _counted(self, route: str, whole: SendWhole) -> SendWhole:
        async def send_whole(status: int, own: Sequence[tuple[bytes, bytes]], content: bytes) -> None:
            self._metrics.answered(route, status)
            await whole(status, (*own, *API_HEADERS), content)

        return send_whole

    async def close(self) -> None:
        """Close the connections to the providers."""
        await self._gateway.close()
