"""Which pod a cgroup belongs to: from the kubelet of this node, or from a file."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import threading
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import msgspec

from agentguard.core import ConfigError, KernelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TIMEOUT_S = 5.0
_MAX_BYTES = 64 << 20
_REFRESH_S = 60.0
_AT_MOST_EVERY_S = 1.0
_MAX_BACKOFF_S = 30.0
# Pods that come from files of the node have this in their cgroup's name in place of their uid.
_CONFIG_HASH = "kubernetes.io/config.hash"


class Pod(msgspec.Struct, frozen=True):
    """One pod of this node; `containers` are names by id."""

    uid: str
    namespace: str
    name: str
    labels: dict[str, str] = {}
    containers: dict[str, str] = {}


class PodSource(Protocol):
    """Says which pods are on this node."""

    def pods(self) -> list[Pod]:
        """Return them, each under every id that its cgroup may carry.

        Raises:
            KernelError: it cannot be said (`sensor_pods`).
        """


class _Meta(msgspec.Struct):
    uid: str
    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Container(msgspec.Struct):
    name: str = ""
    container_id: str = msgspec.field(default="", name="containerID")


class _Status(msgspec.Struct):
    containers: list[_Container] | None = msgspec.field(default=None, name="containerStatuses")


class _Item(msgspec.Struct):
    metadata: _Meta
    status: _Status = msgspec.field(default_factory=_Status)


class _List(msgspec.Struct):
    """A `PodList` of the Kubernetes API (v1), as far as it is looked at."""

    items: list[_Item] | None = None


class FilePods:
    """Reads a `PodList` as JSON from a file, anew each time: for nodes where something else writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pods(self) -> list[Pod]:
        """Return the pods; see `PodSource.pods`."""
        try:
            with self._path.open("rb") as stream:
                return read_pods(stream.read(_MAX_BYTES + 1))
        except OSError as error:
            raise _problem(f"`{self._path}`: {(error.strerror or str(error)).lower()}") from None


class KubeletPods:
    """Asks the kubelet's `/pods`: HTTPS with a service account's token, or plain HTTP on this machine alone."""

    def __init__(self, url: str, *, token: Path, authority: Path | None = None) -> None:
        """Prepare.

        Raises:
            ConfigError: the URL is none, or says plain HTTP of another machine; the authority cannot be read.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise _unusable(f"`{url}` is no URL of a kubelet", "write `https://NODE:10250/pods`")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise _unusable(f"`{url}` is not encrypted", "plain http is for 127.0.0.1 only")
        self._is_tls, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path, self._token = parts.path or "/pods", token
        try:
            self._context = ssl.create_default_context(cafile=str(authority) if authority else None)
        except OSError as error:
            raise _unusable(
                f"the authority `{authority}` cannot be used: {error.strerror or error}",
                "see `sensor.pods_ca`",
            ) from None

    def pods(self) -> list[Pod]:
        """Return the pods; see `PodSource.pods`."""
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._context)
            if self._is_tls
            else http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        )
        try:
            # Each time anew: such tokens are short-lived, and replaced in their file.
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"} if self._is_tls else {}
            connection.request("GET", self._path, headers={"Accept": "application/json", **headers})
            with connection.getresponse() as answer:
                if answer.status != http.client.OK:
                    raise _problem(f"the kubelet answered {answer.status}")
                return read_pods(answer.read(_MAX_BYTES + 1))
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise _problem(f"the kubelet cannot be asked: {str(why).lower()}") from None
        finally:
            connection.close()


def read_pods(text: bytes) -> list[Pod]:
    """Return the pods of a `PodList` in JSON.

    Raises:
        KernelError: it is none (`sensor_pods`).
    """
    if len(text) > _MAX_BYTES:
        raise _problem("the list of pods is too long")
    try:
        items = msgspec.json.decode(text, type=_List).items or []
    except msgspec.DecodeError as error:
        raise _problem(f"this is no list of pods: {str(error).lower()}") from None
    found = []
    for each in items:
        meta = each.metadata
        # `containerd://ID`
        containers = {
            one.container_id.rpartition("/")[2]: one.name
            for one in each.status.containers or []
            if one.container_id
        }
        uids = filter(None, (meta.uid, (meta.annotations or {}).get(_CONFIG_HASH)))
        found += [Pod(uid, meta.namespace, meta.name, meta.labels or {}, containers) for uid in uids]
    return found


class PodDirectory:
    """The pods by uid, kept up to date by a thread of its own: a slow kubelet must not hold up who looks.

    `on_news` is called when there are others than before. `problem` is why they cannot be had, or nothing; the
    last ones known stay.
    """

    def __init__(self, source: PodSource, *, on_news: Callable[[], None]) -> None:
        self.problem = ""
        self._source, self._on_news = source, on_news
        self._pods: dict[str, Pod] = {}
        self._of_container: dict[str, Pod] = {}
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-pods", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def find(self, *, uid: str = "", container: str = "") -> Pod | None:
        """Return the pod that is known under this uid, or has this container; an unknown one is asked for soon."""
        found = self._pods.get(uid) or self._of_container.get(container)
        if found is None:
            self._wanted.set()
        return found

    def stop(self) -> None:
        """End. Idempotent."""
        self._stopping.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join(2 * _TIMEOUT_S)

    def _run(self) -> None:
        pause = _AT_MOST_EVERY_S
        while not self._stopping.is_set():
            self._wanted.clear()
            pause = _AT_MOST_EVERY_S if self._refresh() else min(pause * 2, _MAX_BACKOFF_S)
            self._stopping.wait(pause)
            self._wanted.wait(_REFRESH_S)

    def _refresh(self) -> bool:
        try:
            found = self._source.pods()
        except KernelError as error:
            is_news, self.problem = error.message != self.problem, error.message
            if is_news:
                self._on_news()
            return False
        pods = {each.uid: each for each in found}
        is_news = pods != self._pods or bool(self.problem)
        self._pods, self.problem = pods, ""
        self._of_container = {name: each for each in found for name in each.containers}
        if is_news:
            self._on_news()
        return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _problem(why: str) -> KernelError:
    return KernelError(f"labels of pods cannot be had: {why}", code="sensor_pods", hint="see `sensor.pods`")


def _unusable(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="sensor_pods", hint=hint)
