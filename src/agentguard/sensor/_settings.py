"""From the project's settings to what the sensor is given."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError
from agentguard.sensor._discovery import Rules
from agentguard.sensor._pods import FilePods, KubeletPods, PodSource

if TYPE_CHECKING:
    from agentguard.config import Config

_EXPOSED = 0o002
_FIXED = ("socket", "buffer_folder", "buffer_bytes", "pods", "pods_token", "pods_ca")


class Watching(msgspec.Struct, frozen=True):
    """Which agents are watched, and whose sidecar is told. `fixed` are the settings that count until the sensor ends."""

    project: str
    rules: Rules
    uids: frozenset[int]
    buffer_folder: Path
    buffer_bytes: int
    pods: PodSource | None = None
    fixed: dict[str, str] = {}


def watching_of(config: Config, file: Path) -> Watching:
    """Return what the settings in `file` say.

    Raises:
        ConfigError: everybody may write the file, there is no such user, or agents are to be found by labels of pods and
            nothing says where those come from.
    """
    settings = config.sensor
    found = file.stat()
    if found.st_mode & _EXPOSED:
        raise ConfigError(
            f"everybody can write `{file}`, which says whom root watches",
            code="config_exposed",
            hint=f"chmod o-w {file}",
        )
    rules = Rules(settings.watch)
    if rules.asks_pods and not settings.pods:
        raise ConfigError(
            "agents are to be found by their pods, and nothing says which pods there are",
            code="config_invalid",
            hint="set `sensor.pods`",
        )
    uid = _uid(settings.user) if settings.user else found.st_uid
    return Watching(
        config.project.id,
        rules,
        frozenset((uid,)),
        config.folder / settings.buffer_folder,
        settings.buffer_bytes,
        _pods(config),
        {f"sensor.{name}": str(getattr(settings, name)) for name in _FIXED} | {"log.level": config.log.level},
    )


def _pods(config: Config) -> PodSource | None:
    settings = config.sensor
    if not settings.pods:
        return None
    if settings.pods.startswith("file:"):
        return FilePods(Path(settings.pods.removeprefix("file:")))
    authority = Path(settings.pods_ca) if settings.pods_ca else None
    return KubeletPods(settings.pods, token=Path(settings.pods_token), authority=authority)


def _uid(user: str) -> int:
    if user.isascii() and user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ConfigError(
            f"there is no user `{user}`", code="config_invalid", hint="see `sensor.user`"
        ) from None
