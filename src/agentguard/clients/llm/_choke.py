"""Puts the guard into an SDK's client class: whatever HTTP client it has, it sends through a guarded view of it."""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agentguard.clients._point import EnforcementPoint
from agentguard.clients._session import Session
from agentguard.clients.llm._exchange import Exchanges, RefusedError
from agentguard.clients.llm._guard import LlmGuard
from agentguard.clients.llm._http import inner_of, view_of
from agentguard.clients.llm._refusal import error_of
from agentguard.clients.llm._steps import run_at_once
from agentguard.core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Guarding = LlmGuard | EnforcementPoint | Session

_ARMED, _VIEW = "_agentguard", "_agentguard_view"
# Whose guard a client gets that is made while another one is copied.
_copying: ContextVar[Exchanges | None] = ContextVar("agentguard_copying", default=None)


def guard_of(given: Guarding) -> LlmGuard:
    """Return the guard, made of an enforcement point or a session where it is none yet.

    Raises:
        ConfigError: it is none of the three.
    """
    if isinstance(given, LlmGuard):
        return given
    if isinstance(given, EnforcementPoint | Session):
        return LlmGuard(given)
    raise ConfigError(
        "a client needs a guard", hint="pass `guard=Guard.open(...)`, a session, or an `LlmGuard`"
    )


class Choke:
    """Stands for the attribute that holds a client's HTTP client, and gives out a guarded view of it.

    `exchanges` is for clients that have no guard of their own.
    """

    def __init__(self, exchanges: Exchanges | None = None) -> None:
        self._exchanges = exchanges

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        held = client.__dict__
        exchanges = held.get(_ARMED) or self._exchanges
        assert exchanges is not None
        try:
            inner, view = held["_client"], held.get(_VIEW)
        except KeyError:
            raise AttributeError(f"`{owner.__name__}` has no HTTP client yet") from None
        if view is None or view[0] is not inner or view[1] is not exchanges:
            view = held[_VIEW] = (inner, exchanges, view_of(inner, exchanges))
        return view[2]

    def __set__(self, client: Any, value: Any) -> None:
        client.__dict__["_client"] = inner_of(value)


class WebsocketChoke:
    """Stands for the address of an SDK's websockets, which is looked at whenever one is opened.

    What goes over a websocket cannot be looked into, so opening one is a request of its own: `llm.api`.
    """

    def __init__(self, exchanges: Exchanges | None = None) -> None:
        self._exchanges = exchanges

    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        address = client.__dict__.get("websocket_base_url")
        exchanges = client.__dict__.get(_ARMED) or self._exchanges
        if _copying.get() is None and exchanges is not None:
            _ask_for_websocket(client, exchanges)
        return address

    def __set__(self, client: Any, value: Any) -> None:
        client.__dict__["websocket_base_url"] = value


def _ask_for_websocket(client: Any, exchanges: Exchanges) -> None:
    request = client._client.build_request("GET", f"{str(client.base_url).rstrip('/')}/websocket")  # noqa: SLF001 - the attribute that is guarded
    try:
        run_at_once(exchanges.before(request))
    except RefusedError as error:
        raise error_of(error.refusal, request, exchanges.sdk) from None


def arm(client: Any, guard: LlmGuard, sdk: str) -> None:
    """Give a client its guard."""
    client.__dict__[_ARMED] = Exchanges(guard, sdk)


@contextmanager
def copying(exchanges: Exchanges | None) -> Iterator[None]:
    """Let clients that are made meanwhile have this guard."""
    token = _copying.set(exchanges)
    try:
        yield
    finally:
        _copying.reset(token)


def guarded(sdk: str) -> Callable[[type], type]:
    """Return a decorator of a subclass of an SDK's client that takes `guard` and guards all that it sends."""

    def decorate(kind: Any) -> type:
        base = kind.__mro__[1]
        plain_init, plain_copy = base.__init__, base.copy

        @functools.wraps(plain_init)
        def __init__(self: Any, *args: Any, guard: Guarding | None = None, **kwargs: Any) -> None:  # noqa: N807 - it becomes one
            inherited = _copying.get()
            if guard is None and inherited is not None:
                self.__dict__[_ARMED] = inherited
            else:
                arm(self, guard_of(guard), sdk)  # type: ignore[arg-type]  # None is refused there
            with copying(self.__dict__[_ARMED]):
                plain_init(self, *args, **kwargs)

        @functools.wraps(plain_copy)
        def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
            with copying(self.__dict__[_ARMED]):
                return plain_copy(self, *args, **kwargs)

        __init__.__signature__ = _with_guard(plain_init)  # type: ignore[attr-defined]  # functions may have one
        members = {"__init__": __init__, "copy": copy, "with_options": copy, "_client": Choke()}
        if sdk == "openai":
            members["websocket_base_url"] = WebsocketChoke()
        for name, value in members.items():
            setattr(kind, name, value)
        return kind  # type: ignore[no-any-return]  # the class that came

    return decorate


def _with_guard(init: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(init)
    guard = inspect.Parameter("guard", inspect.Parameter.KEYWORD_ONLY, annotation=Guarding)
    return signature.replace(parameters=[*signature.parameters.values(), guard])


@functools.lru_cache(maxsize=64)
def guarded_class(kind: type, sdk: str) -> type:
    """Return the guarded subclass of any client class of an SDK; it has the name of its base."""
    made = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__doc__": kind.__doc__})
    made.__qualname__ = kind.__qualname__
    return guarded(sdk)(made)
