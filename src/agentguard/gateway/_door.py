"""Doors: what an agent asks for at which path, and its credentials and session."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from agentguard.gateway._refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIXES = (
    ("/openai/v1/", "openai", ("openai", "azure")),
    ("/anthropic/v1/", "anthropic", ("anthropic",)),
)
_DEPLOYMENT = re.compile(r"/openai/deployments/([A-Za-z0-9][A-Za-z0-9._-]{0,127})/(.+)")
# No encoded byte, no empty and no dotted segment: the upstream reads the path as it was decided on.
_PATH = re.compile(r"(?:[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*)(?:/[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]*)*")
_QUERY = re.compile(rb"[A-Za-z0-9._~:@/?&=+,%*;!$'()-]{0,2048}")
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_SERVED = {
    "openai": re.compile(
        r"POST (?:chat/completions|completions|responses|responses/input_tokens|embeddings|moderations)"
        r"|GET models(?:/.+)?"
        r"|(?:GET|DELETE) (?:responses|chat/completions)/[^/]+|GET responses/[^/]+/input_items"
        r"|POST responses/[^/]+/cancel"
        r"|POST images/(?:generations|edits|variations)|POST audio/(?:speech|transcriptions|translations)"
        r"|POST files|GET files(?:/[^/]+(?:/content)?)?|DELETE files/[^/]+"
        r"|POST batches(?:/[^/]+/cancel)?|GET batches(?:/[^/]+)?"
    ),
    "azure": re.compile(
        r"POST (?:chat/completions|completions|embeddings|images/(?:generations|edits)"
        r"|audio/(?:speech|transcriptions|translations))"
    ),
    "anthropic": re.compile(
        r"POST messages(?:/count_tokens)?|GET models(?:/[^/]+)?"
        r"|POST messages/batches(?:/[^/]+/cancel)?|GET messages/batches(?:/[^/]+(?:/results)?)?"
        r"|DELETE messages/batches/[^/]+"
        r"|POST files|GET files(?:/[^/]+(?:/content)?)?|DELETE files/[^/]+"
    ),
}
# What people look for, and why it is not there.
_WHY_NOT = {
    "realtime": "realtime sessions: nothing that is said in one could be decided",
    "uploads": "uploads in parts: a file is looked into as a whole, so send it to `files`",
    "fine_tuning": "fine-tuning: what a model learns from cannot be decided call by call",
    "assistants": "assistants: they run at the provider, past what is decided here; use `responses`",
    "threads": "assistants: they run at the provider, past what is decided here; use `responses`",
    "vector_stores": "vector stores: what a model is given from one would not be seen",
    "conversations": "conversations: what the provider adds to a prompt would not be seen",
    "containers": "containers: what runs in one at the provider would not be seen",
    "videos": "videos",
    "evals": "evaluations: they call models past what is decided here",
}


class Door(msgspec.Struct, frozen=True):
    """What is asked for: `kind` says in whose shapes, `kinds` which upstreams can answer, `rest` the path below."""

    kind: str
    kinds: tuple[str, ...]
    rest: str
    deployment: str = ""

    @property
    def path(self) -> str:
        """The path as the provider knows it."""
        return f"/deployments/{self.deployment}/{self.rest}" if self.deployment else f"/v1/{self.rest}"

    @property
    def counts_only(self) -> bool:
        """Whether tokens are counted and no model answers."""
        return self.rest in ("messages/count_tokens", "responses/input_tokens")

    @property
    def is_media(self) -> bool:
        """Whether images or sound are asked for."""
        return self.rest.startswith(("images/", "audio/"))

    @property
    def takes_forms(self) -> bool:
        """Whether a body may be a form with files."""
        return self.is_media or self.rest == "files"

    @property
    def is_bare(self) -> bool:
        """Whether what comes back may be anything, and is not read as an answer of a model."""
        return self.is_media or self.rest.startswith(("files", "batches", "messages/batches"))


class Asked(msgspec.Struct, frozen=True):
    """A request as it came, with its whole body; header names are in lower case. All of it is hostile."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def is_gateway_path(path: str) -> bool:
    """Tell whether a path is the gateway's to answer."""
    return path.startswith(("/openai/", "/anthropic/"))


@lru_cache(maxsize=1024)
def find_door(method: str, path: str) -> Door:
    """Return what is asked for.

    Raises:
        RefusalError: 404, nothing that the gateway serves.
    """
    for prefix, kind, kinds in _PREFIXES:
        if path.startswith(prefix):
            return _checked(method, Door(kind, kinds, path.removeprefix(prefix)))
    found = _DEPLOYMENT.fullmatch(path)
    if found is not None:
        return _checked(method, Door("azure", ("azure",), found.group(2), found.group(1)))
    raise _unknown()


def _checked(method: str, door: Door) -> Door:
    first = door.rest.partition("/")[0]
    if first in _WHY_NOT:
        raise RefusalError(404, "route_unknown", f"the gateway serves no {_WHY_NOT[first]}")
    if _PATH.fullmatch(door.rest) is None or _SERVED[door.kind].fullmatch(f"{method} {door.rest}") is None:
        raise _unknown()
    return door


def _unknown() -> RefusalError:
    return RefusalError(404, "route_unknown", "the gateway does not serve this path and method")


def token_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the token that a request carries in the place of a provider's key.

    Raises:
        RefusalError: 401, there is none, or there are two.
    """
    found: set[str] = set()
    for name, value in headers:
        if name in (b"x-api-key", b"api-key"):
            found.add(value.decode("latin-1").strip())
        elif name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            found.add(token.strip() if scheme.lower() == "bearer" else "")
    found.discard("")
    if not found:
        raise RefusalError(401, "token_missing", "there is no AgentGuard token in the place of the API key")
    if len(found) > 1:
        raise RefusalError(401, "token_invalid", "the request carries two different tokens")
    return found.pop()


def session_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the session that `x-agentguard-session` names, or the empty text.

    Raises:
        RefusalError: 400, it is no session id, or there are two.
    """
    found = [value.decode("latin-1") for name, value in headers if name == b"x-agentguard-session"]
    if not found:
        return ""
    if len(found) > 1 or _SESSION.fullmatch(found[0]) is None:
        raise RefusalError(
            400,
            "session_id_invalid",
            "`x-agentguard-session` is one id of at most 128 letters, digits, `.`, `_`, `:`, `@` and `-`",
        )
    return found[0]


def task_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the task that `x-agentguard-task` names, or the empty text.

    Raises:
        RefusalError: 400, it is no id, or there are two.
    """
    found = [value.decode("latin-1") for name, value in headers if name == b"x-agentguard-task"]
    if not found:
        return ""
    if len(found) > 1 or _SESSION.fullmatch(found[0]) is None:
        raise RefusalError(
            400,
            "task_id_invalid",
            "`x-agentguard-task` is one id of at most 128 letters, digits, `.`, `_`, `:`, `@` and `-`",
        )
    return found[0]


def approval_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the approval that `x-agentguard-approval` names, or the empty text.

    Raises:
        RefusalError: 400, it is no id, or there are two.
    """
    found = [value.decode("latin-1") for name, value in headers if name == b"x-agentguard-approval"]
    if not found:
        return ""
    if len(found) > 1 or _SESSION.fullmatch(found[0]) is None:
        raise RefusalError(400, "approval_invalid", "`x-agentguard-approval` is the id of one approval")
    return found[0]


def query_of(query: bytes) -> str:
    """Return the query to pass on, with its question mark.

    Raises:
        RefusalError: 400, it is too long or has characters that two readers may read differently.
    """
    if _QUERY.fullmatch(query) is None:
        raise RefusalError(
            400, "http_invalid", "the query is too long or has characters that are not allowed"
        )
    return f"?{query.decode()}" if query else ""
