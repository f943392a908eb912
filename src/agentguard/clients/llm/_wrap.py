"""Guards clients that exist already: one of them, or all of a process."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from typing import Any, TypeVar

from agentguard.clients.llm._choke import Choke, Guarding, WebsocketChoke, arm, guard_of, guarded_class
from agentguard.clients.llm._exchange import Exchanges
from agentguard.core import ConfigError

T = TypeVar("T")

_SDKS = ("openai", "anthropic")
_ABSENT = object()
_lock = threading.Lock()
# What stood where before `install`: class, attribute, value.
_replaced: list[tuple[type, str, Any]] = []


def wrap(client: T, guard: Guarding) -> T:
    """Guard a client of OpenAI's or Anthropic's, sync or async, in its place, and return it.

    It stays an instance of its class with all its settings; what was made of it before (resources, copies by
    `with_raw_response`) is guarded too, and copies by `with_options` are. Wrapped again, it has the new guard.

    Raises:
        ConfigError: it is no such client.
    """
    sdk = _sdk_of(type(client))
    kind: Any = type(client)
    if not isinstance(kind.__dict__.get("_client"), Choke):
        kind = guarded_class(kind, sdk)
    arm(client, guard_of(guard), sdk)
    client.__class__ = kind
    return client


def install(guard: Guarding) -> None:
    """Guard every client of OpenAI's and Anthropic's in this process, those that exist already as well.

    A client with a guard of its own keeps it. Installed again, the new guard holds. SDKs that are not installed
    are passed over; those that are get loaded.

    Raises:
        ConfigError: neither SDK is installed.
    """
    armed = guard_of(guard)
    found = [name for name in _SDKS if importlib.util.find_spec(name) is not None]
    if not found:
        raise ConfigError(
            "neither `openai` nor `anthropic` is installed",
            hint="install `agentguard[openai]` or `agentguard[anthropic]`",
        )
    with _lock:
        _restore()
        for name in found:
            exchanges = Exchanges(armed, name)
            library = importlib.import_module(name)
            base = importlib.import_module(f"{name}._base_client")
            _replace(base.SyncAPIClient, "_client", Choke(exchanges))
            _replace(base.AsyncAPIClient, "_client", Choke(exchanges))
            if name == "openai":
                # The client behind `openai.chat...` has an attribute of its own there.
                _replace(library._ModuleClient, "_client", Choke(exchanges))  # noqa: SLF001 - a test pins the name
                library._reset_client()  # noqa: SLF001 - as above
                for kind in (library.OpenAI, library.AsyncOpenAI):
                    _replace(kind, "websocket_base_url", WebsocketChoke(exchanges))


def uninstall() -> None:
    """Take back what `install` did; clients with a guard of their own keep it. Idempotent."""
    with _lock:
        _restore()


def _sdk_of(kind: type) -> str:
    for each in kind.__mro__:
        name, _, module = each.__module__.partition(".")
        if (
            name in _SDKS
            and module == "_base_client"
            and each.__name__ in ("SyncAPIClient", "AsyncAPIClient")
        ):
            return name
    raise ConfigError(
        f"`{kind.__name__}` is no client of OpenAI's or Anthropic's", hint="pass an instance, not a class"
    )


def _replace(kind: type, name: str, value: Any) -> None:
    _replaced.append((kind, name, kind.__dict__.get(name, _ABSENT)))
    setattr(kind, name, value)


def _restore() -> None:
    library: Any = sys.modules.get("openai")
    if library is not None and _replaced:
        # It holds its HTTP client where the guard put it.
        library._reset_client()  # noqa: SLF001 - as in `install`
    while _replaced:
        kind, name, value = _replaced.pop()
        if value is _ABSENT:
            delattr(kind, name)
        else:
            setattr(kind, name, value)
