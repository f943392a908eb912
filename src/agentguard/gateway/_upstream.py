"""Upstreams: which providers may be called, where they are, and with which key."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from agentguard.core import ConfigError, Glob, Location
from agentguard.gateway._address import is_public

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agentguard.config import GatewaySettings, UpstreamSettings
    from agentguard.gateway._door import Door

_MAX_KEY_BYTES = 8192
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FILE = "agentguard.yaml"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One provider. `key` is a secret: it is in no text that this object shows."""

    name: str
    kind: str
    base_url: str
    key: str = field(repr=False)
    models: tuple[Glob, ...]
    provider: str
    order: int = 1
    weight: int = 1
    local: bool = False
    connect_timeout_s: float = 5.0
    idle_timeout_s: float = 120.0

    @property
    def host(self) -> str:
        """The host name that is dialled."""
        return urlsplit(self.base_url).hostname or ""

    def serves(self, model: str) -> bool:
        """Tell whether a model is one of this upstream's."""
        return any(glob.matches(model) for glob in self.models)

    def url(self, door: Door) -> str:
        """Return the address of what an agent asked for at a door."""
        if door.kind == "azure":
            return f"{self.base_url}/openai/deployments/{door.deployment}/{door.rest}"
        if self.kind == "azure":
            return f"{self.base_url}/openai/v1/{door.rest}"
        return (
            f"{self.base_url}/v1/{door.rest}" if self.kind == "anthropic" else f"{self.base_url}/{door.rest}"
        )

    def credentials(self) -> dict[str, str]:
        """Return the header that carries the key."""
        if self.kind == "anthropic":
            return {"x-api-key": self.key}
        return {"api-key": self.key} if self.kind == "azure" else {"authorization": f"Bearer {self.key}"}


def load_upstreams(
    settings: GatewaySettings, folder: Path, environ: Mapping[str, str]
) -> tuple[Upstream, ...]:
    """Return the upstreams that the settings name, with their keys.

    Raises:
        ConfigError: an address may not be dialled (`upstream_invalid`), or a key cannot be had (`upstream_key`).
    """
    return tuple(_load(name, each, folder, environ) for name, each in sorted(settings.upstreams.items()))


def _load(name: str, settings: UpstreamSettings, folder: Path, environ: Mapping[str, str]) -> Upstream:
    if _NAME.fullmatch(name) is None:
        raise _error(name, "", "an upstream is named by letters, digits, `-` and `_`", "rename it")
    return Upstream(
        name=name,
        kind=settings.kind,
        base_url=_base_url(name, settings),
        key=_key(name, settings.key, folder, environ),
        models=tuple(Glob(each) for each in settings.models),
        provider=settings.provider or settings.kind,
        order=settings.order,
        weight=settings.weight,
        local=settings.local,
        connect_timeout_s=settings.connect_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )


def _base_url(name: str, settings: UpstreamSettings) -> str:
    hint = "write `https://host/path`; for a provider on this machine or network, set `local: true`"
    try:
        url = urlsplit(settings.base_url)
        port = url.port
    except ValueError:
        raise _error(name, "base_url", "this is no URL", hint) from None
    plain = url.scheme == "http" and settings.local
    if (url.scheme != "https" and not plain) or not url.hostname or port == 0 or _has_more(url):
        raise _error(name, "base_url", "this is no `https` URL of a host and a path alone", hint)
    try:
        address = ipaddress.ip_address(url.hostname)
    except ValueError:
        address = None
    if not settings.local and (
        url.hostname == "localhost" or (address is not None and not is_public(address))
    ):
        raise _error(name, "base_url", "the address is a private one", hint)
    return settings.base_url.rstrip("/")


def _has_more(url: SplitResult) -> bool:
    return bool(url.query or url.fragment or "@" in url.netloc or "%" in url.path or ".." in url.path)


def _key(name: str, source: str, folder: Path, environ: Mapping[str, str]) -> str:
    how, _, where = source.partition(":")
    if how == "env":
        key = environ.get(where, "")
        if not key:
            raise _key_error(name, f"the environment has no `{where}`", "set it, or use `file:PATH`")
    else:
        key = _read_private(name, folder / where, where)
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise _key_error(name, "it is no key: one printable word", "write the key alone")
    return key


def _read_private(name: str, path: Path, shown: str) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = (error.strerror or "unknown").lower()
        raise _key_error(
            name, f"`{shown}` cannot be read: {why}", "make the file, readable by its owner"
        ) from None
    try:
        status = os.fstat(handle)
        own = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o077
        if not stat.S_ISREG(status.st_mode) or not own:
            raise _key_error(name, f"`{shown}` is not its owner's alone", f"run `chmod 600 {shown}`")
        return os.read(handle, _MAX_KEY_BYTES).decode("ascii", "replace")
    finally:
        os.close(handle)


def _key_error(name: str, message: str, hint: str) -> ConfigError:
    where = Location(_FILE, field=f"gateway.upstreams.{name}.key")
    return ConfigError(message, code="upstream_key", location=where, hint=hint)


def _error(name: str, key: str, message: str, hint: str) -> ConfigError:
    where = Location(_FILE, field=f"gateway.upstreams.{name}" + (f".{key}" if key else ""))
    return ConfigError(message, code="upstream_invalid", location=where, hint=hint)
