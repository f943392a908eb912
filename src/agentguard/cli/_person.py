"""A person's login on the command line: kept in their own state folder, said to the sidecar with each call."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from agentguard.core import ConfigError, IdentityError

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.identity import StateFolder

_FILE = "login.json"
_DEADLINE_S = 15.0
_MAX_ANSWER = 16 * 1024 * 1024


class Login(msgspec.Struct, frozen=True):
    """An open login: at which sidecar, as whom, until when (Unix seconds) at most."""

    url: str
    name: str
    token: str
    until: float


class SidecarApi:
    """The sidecar's API as a person, or as nobody with an empty token."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._token = token

    def ask(self, method: str, path: str, body: Any = None, *, deadline_s: float = _DEADLINE_S) -> Any:
        """Return the JSON of the answer, or None where there is none.

        Raises:
            IdentityError: nobody has logged in, or their role or a rule of the approval does not let them; the code is the
                sidecar's.
            ConfigError: there is no sidecar (`sidecar_unreachable`), or it refuses what was asked, with its code.
        """
        status, text = self._send(method, path, body, deadline_s)
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            raise _unreachable(self.url, "it answers something else than JSON") from None
        if status < http.client.BAD_REQUEST:
            return answer
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        code = str(error.get("code", "error"))
        kind = IdentityError if status in {401, 403, 429} else ConfigError
        raise kind(str(error.get("message", f"status {status}")), code=code, hint=error.get("hint"))

    def _send(self, method: str, path: str, body: Any, deadline_s: float) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        https = parts.scheme == "https"
        kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
        headers = {"Accept": "application/json", "User-Agent": "agentguard-cli"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=deadline_s)
            with contextlib.closing(connection):
                connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
                answer = connection.getresponse()
                return answer.status, answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _unreachable(self.url, str(error).lower() or type(error).__name__) from None


def sidecar_url(folder: Path, url: str | None) -> str:
    """Return the address that was given, or the one of the project's settings."""
    if url is not None:
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ConfigError(
                f"`{url[:100]}` is no address of a sidecar", hint="write it as http://127.0.0.1:8787"
            )
        return url.rstrip("/")
    from agentguard.cli._options import environ
    from agentguard.config import load_config

    server = load_config(folder, environ()).server
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}"


def person_state(folder: Path) -> StateFolder:
    """Return the state folder of the project that belongs to whoever runs this."""
    from agentguard.cli._options import environ
    from agentguard.config import load_config
    from agentguard.identity import StateFolder

    return StateFolder.open(load_config(folder, environ()).project.id, environ())


def save_login(state: StateFolder, login: Login) -> None:
    """Keep a login for the calls that follow."""
    state.write(_FILE, msgspec.json.encode(login))


def load_login(state: StateFolder) -> Login | None:
    """Return the login that is kept, if it can still be good."""
    with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
        login = msgspec.json.decode(state.read(_FILE), type=Login)
        return login if time.time() < login.until else None
    return None


def forget_login(state: StateFolder) -> None:
    """Forget the login that is kept. Idempotent."""
    (state.path / _FILE).unlink(missing_ok=True)


def as_person(folder: Path, url: str | None = None) -> tuple[SidecarApi, Login]:
    """Return the API as the person who has logged in, and that login.

    Raises:
        IdentityError: nobody has, or at another sidecar (`person_needed`).
    """
    login = load_login(person_state(folder))
    if login is None or (url is not None and sidecar_url(folder, url) != login.url):
        raise IdentityError(
            "nobody has logged in here",
            code="person_needed",
            hint="log in with `agentguard people login NAME`",
        )
    return SidecarApi(login.url, login.token), login


def _unreachable(url: str, why: str) -> ConfigError:
    return ConfigError(
        f"the sidecar at {url} cannot be asked: {why}",
        code="sidecar_unreachable",
        hint="start it with `agentguard up`, or name it with --url",
    )
