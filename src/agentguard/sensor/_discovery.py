"""Which cgroups are agents that nobody launched: by label, by systemd unit, by the labels of their pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError, Glob
from agentguard.kernel import PARENT, container_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentguard.config import WatchSettings
    from agentguard.sensor._pods import Pod

# Only who has CAP_SYS_ADMIN can write attributes of this kind, and everybody can read them: an agent that owns its
# cgroup cannot take another's name.
LABEL = "security.agentguard.agent"
_MAX_LABEL = 256


class Found(msgspec.Struct, frozen=True):
    """A cgroup that is an agent: `path` is below the mount, as `/agents.slice/a.service`."""

    folder: Path
    path: str
    principal: str
    depth: int
    labels: dict[str, str]


class _PodRule(msgspec.Struct, frozen=True):
    namespace: Glob
    labels: dict[str, str]

    def matches(self, pod: Pod) -> bool:
        return self.namespace.matches(pod.namespace) and self.labels.items() <= pod.labels.items()


class _Rule(msgspec.Struct, frozen=True):
    principal: str
    labels: tuple[Glob, ...]
    units: tuple[Glob, ...]
    pods: tuple[_PodRule, ...]


class Rules:
    """Who is who; of several principals that fit, the first one in the file."""

    def __init__(self, watch: Mapping[str, WatchSettings]) -> None:
        """Compile.

        Raises:
            ConfigError: an entry names nothing by which an agent could be found.
        """
        self._rules = tuple(_compile(name, each) for name, each in watch.items())
        self.principals = tuple(watch)
        self.asks_labels = any(each.labels for each in self._rules)
        self.asks_pods = any(each.pods for each in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def principal(self, name: str, label: str, pod: Pod | None) -> str:
        """Return whose cgroup this is, nobody's being empty: its folder's name, its label, the pod that begins here."""
        for rule in self._rules:
            if (
                (name and any(each.matches(name) for each in rule.units))
                or (label and any(each.matches(label) for each in rule.labels))
                or (pod is not None and any(each.matches(pod) for each in rule.pods))
            ):
                return rule.principal
        return ""


def _compile(principal: str, watch: WatchSettings) -> _Rule:
    if not watch.labels and not watch.units and not watch.pods:
        raise ConfigError(
            f"nothing says how `{principal}` is found",
            code="config_invalid",
            hint=f"give `sensor.watch.{principal}` one of `labels`, `units`, `pods`",
        )
    pods = []
    for text in watch.pods:
        namespace, _, rest = text.partition("/")
        wanted = dict(each.split("=", 1) for each in rest.split(","))
        pods.append(_PodRule(Glob(namespace), wanted))
    return _Rule(principal, tuple(map(Glob, watch.labels)), tuple(map(Glob, watch.units)), tuple(pods))


def look(
    mount: Path,
    rules: Rules,
    *,
    most_depth: int,
    find_pod: Callable[[str, str], Pod | None],
    on_folder: Callable[[Path], None] = lambda _folder: None,
) -> Iterator[Found]:
    """Yield the agents among the cgroups of the machine; below one of them nothing is looked at, it is the agent's own.

    `find_pod` returns the pod for a uid and a container's id. `on_folder` is told of each folder before it is read.
    """
    waiting = [(mount, "", 0)]
    while waiting:
        folder, path, depth = waiting.pop()
        if depth:
            found = _judge(folder, path, depth, rules, find_pod)
            if found is not None:
                yield found
                continue
        if depth >= most_depth:
            continue
        on_folder(folder)
        waiting += [
            (folder / name, f"{path}/{name}", depth + 1)
            for name in _folders_in(folder)
            if depth or name != PARENT
        ]


def _judge(
    folder: Path, path: str, depth: int, rules: Rules, find_pod: Callable[[str, str], Pod | None]
) -> Found | None:
    label = _label(folder) if rules.asks_labels else ""
    is_trusted = _is_roots(folder)
    if not label and not is_trusted:
        return None
    labels = dict(container_of(path))
    begins_pod = "pod" in labels and "pod" not in container_of(path.rpartition("/")[0])
    pod = None
    if labels and (rules.asks_pods or "container" in labels):
        pod = find_pod(labels.get("pod", ""), labels.get("container", ""))
    # Who may make cgroups of his own may give them any name.
    name = folder.name if is_trusted else ""
    principal = rules.principal(name, label, pod if begins_pod and is_trusted else None)
    if not principal:
        return None
    if pod is not None:
        labels |= {"pod": pod.uid, "namespace": pod.namespace, "pod_name": pod.name}
        if called := pod.containers.get(labels.get("container", "")):
            labels["container_name"] = called
    if label:
        labels["label"] = label
    return Found(folder, path, principal, depth, labels)


def _folders_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        # It went while we looked.
        return []


def _is_roots(folder: Path) -> bool:
    try:
        return folder.stat().st_uid in {0, os.geteuid()}
    except OSError:
        return False


def _label(folder: Path) -> str:
    try:
        return os.getxattr(folder, LABEL)[:_MAX_LABEL].decode("utf-8", "replace")
    except OSError:
        return ""
