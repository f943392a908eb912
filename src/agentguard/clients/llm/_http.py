"""The one place where a guarded client's requests leave: its HTTP client's `send`.

Every version of both SDKs sends each attempt through the `send` of an httpx or httpx2 client. So what is guarded
is a view of that client: the same connections, settings and state, with another `send`. The client itself, which
may be the caller's own and shared, is not changed.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from agentguard.clients.llm._body import async_body, sync_body
from agentguard.clients.llm._exchange import Exchanges, RefusedError, Sent, is_ok, looks_like, unreadable
from agentguard.clients.llm._steps import arun, run
from agentguard.llm import MEDIA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


def view_of(client: Any, exchanges: Exchanges) -> Any:
    """Return a client that is `client` in everything but that its `send` is guarded."""
    kind: Any = _view_class(type(client))  # type: ignore[arg-type]  # a class is hashable
    view = kind.__new__(kind)
    # One state for both: closed is closed, and settings changed on one are changed on the other.
    view.__dict__ = client.__dict__
    view.agentguard_exchanges = exchanges
    view.agentguard_inner = client
    return view


def inner_of(client: Any) -> Any:
    """Return the client behind a view, or the client itself."""
    return getattr(client, "agentguard_inner", client)


@lru_cache(maxsize=64)
def _view_class(kind: Hashable) -> type:
    assert isinstance(kind, type)
    library = sys.modules[_library(kind)]
    is_async = issubclass(kind, library.AsyncClient)
    plain: Any = kind.send  # type: ignore[attr-defined]  # both libraries' clients have it

    def send(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        inner = partial(plain, self)
        return _send(self.agentguard_exchanges, inner, request, stream=stream, kwargs=kwargs)

    async def asend(self: Any, request: Any, *, stream: bool = False, **kwargs: Any) -> Any:
        inner = partial(plain, self)
        return await _asend(self.agentguard_exchanges, inner, request, stream=stream, kwargs=kwargs)

    members = {
        "__slots__": ("agentguard_exchanges", "agentguard_inner"),
        "__module__": kind.__module__,
        "send": asend if is_async else send,
        # The client itself does that, once nobody has it any more.
        "__del__": lambda _self: None,
    }
    return type(kind.__name__, (kind,), members)


def _library(kind: type) -> str:
    """Return the HTTP library that a client is of: a class of the caller's own may stand before it."""
    for each in kind.__mro__:
        name = each.__module__.partition(".")[0]
        if name in ("httpx", "httpx2"):
            return name
    raise TypeError(f"`{kind.__name__}` is no client of httpx or httpx2")


def _send(
    exchanges: Exchanges, inner: Callable[..., Any], request: Any, *, stream: bool, kwargs: dict[str, Any]
) -> Any:
    try:
        sent = run(exchanges.guard.session, exchanges.before(request))
    except RefusedError as error:
        return exchanges.refused(error.refusal, request)
    try:
        response = inner(sent.request, stream=stream, **kwargs)
    except BaseException as error:
        exchanges.failed(sent, error)
        raise
    if not is_ok(response):
        exchanges.error_status(sent, response.status_code)
        return response
    shape = looks_like(response, sent.call)
    if shape == "unreadable":
        response.close()
        return _unread(exchanges, sent)
    if shape == "events":
        return sync_body(exchanges, sent, response)
    if stream and shape == "other" and not sent.needs_reading:
        return _untouched(exchanges, sent, response)
    try:
        response.read()
    except BaseException as error:
        exchanges.failed(sent, error)
        raise
    return run(exchanges.guard.session, exchanges.whole(sent, response))


async def _asend(
    exchanges: Exchanges,
    inner: Callable[..., Awaitable[Any]],
    request: Any,
    *,
    stream: bool,
    kwargs: dict[str, Any],
) -> Any:
    try:
        # What is reserved for a call that nobody waits for any more would wait for its bill until it expires.
        sent = await arun(exchanges.guard.session, exchanges.before(request), on_lost=exchanges.abandoned)
    except RefusedError as error:
        return exchanges.refused(error.refusal, request)
    try:
        response = await inner(sent.request, stream=stream, **kwargs)
    except BaseException as error:
        exchanges.failed(sent, error)
        raise
    if not is_ok(response):
        await asyncio.to_thread(exchanges.error_status, sent, response.status_code)
        return response
    shape = looks_like(response, sent.call)
    if shape == "unreadable":
        await response.aclose()
        return _unread(exchanges, sent)
    if shape == "events":
        return await async_body(exchanges, sent, response)
    if stream and shape == "other" and not sent.needs_reading:
        return _untouched(exchanges, sent, response)
    try:
        await response.aread()
    except BaseException as error:
        exchanges.failed(sent, error)
        raise
    return await arun(exchanges.guard.session, exchanges.whole(sent, response))


def _unread(exchanges: Exchanges, sent: Sent) -> Any:
    exchanges.failed(sent, ValueError())
    return exchanges.refused(unreadable(sent.decision), sent.request)


def _untouched(exchanges: Exchanges, sent: Sent, response: Any) -> Any:
    """Return an answer that the caller reads itself; of what it says, only its label is known."""
    if sent.meter is not None:
        sent.meter.settle(None)
    if sent.call.is_seen or sent.call.action == MEDIA:
        exchanges.guard.session.observe(sent.decision, None, "an answer that is read piece by piece")
    exchanges.guard.session.report(sent.decision, "succeeded")
    return response
