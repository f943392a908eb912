"""Pods by their labels: from a kubelet that is a real HTTPS server on loopback, and from a file."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentguard.core import ConfigError, KernelError
from agentguard.sensor._pods import FilePods, KubeletPods, Pod, PodDirectory, read_pods
from command_line import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = "0b5e2c1a-1111-4222-8333-444455556666"
PODS = {
    "kind": "PodList",
    "apiVersion": "v1",
    "items": [
        {
            "metadata": {
                "uid": UID,
                "name": "support-0",
                "namespace": "agents",
                "labels": {"app": "support"},
            },
            "spec": {"containers": [{"name": "agent"}]},
            "status": {"containerStatuses": [{"name": "agent", "containerID": "containerd://" + "a" * 64}]},
        },
        {
            "metadata": {
                "uid": "1" * 36,
                "name": "etcd",
                "namespace": "kube-system",
                "annotations": {"kubernetes.io/config.hash": "f" * 32},
            }
        },
    ],
}
SUPPORT = Pod(UID, "agents", "support-0", {"app": "support"}, {"a" * 64: "agent"})


class Kubelet(http.server.BaseHTTPRequestHandler):
    """Answers `/pods` to who has the token."""

    token = "sesame"
    body = json.dumps(PODS).encode()

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == f"Bearer {self.token}"
        self.send_response(404 if self.path != "/pods" else 200 if allowed else 401)
        self.end_headers()
        if self.path == "/pods" and allowed:
            self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


def certificate(folder: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubelet")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "token").write_text("sesame\n")
    return folder


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = certificate(tmp_path_factory.mktemp("kubelet"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/pods", folder
    server.shutdown()
    thread.join(10)
    server.server_close()


def source(kubelet: tuple[str, Path]) -> KubeletPods:
    url, folder = kubelet
    return KubeletPods(url, token=folder / "token", authority=folder / "ca.pem")


def test_kubelet_says_its_pods_to_who_has_the_token(kubelet: tuple[str, Path]) -> None:
    found = {each.uid: each for each in source(kubelet).pods()}
    assert found[UID] == SUPPORT
    assert found["f" * 32].name == "etcd"


def test_token_is_read_each_time(kubelet: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = kubelet
    (tmp_path / "token").write_text("old")
    pods = KubeletPods(url, token=tmp_path / "token", authority=folder / "ca.pem")
    with pytest.raises(KernelError, match="401"):
        pods.pods()
    (tmp_path / "token").write_text("sesame")
    assert len(pods.pods()) == 3


@pytest.mark.parametrize("what", ["authority", "token", "path", "port"])
def test_kubelet_that_cannot_be_asked_is_an_error(
    kubelet: tuple[str, Path], tmp_path: Path, what: str
) -> None:
    url, folder = kubelet
    url = {"path": url + "/x", "port": "https://127.0.0.1:1/pods"}.get(what, url)
    token = tmp_path / "missing" if what == "token" else folder / "token"
    authority = None if what == "authority" else folder / "ca.pem"
    with pytest.raises(KernelError) as caught:
        KubeletPods(url, token=token, authority=authority).pods()
    assert caught.value.code == "sensor_pods"
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x/pods", "https:///pods", "http://10.0.0.1:10255/pods", "pods"])
def test_url_that_cannot_be_used_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        KubeletPods(url, token=tmp_path / "token")
    assert caught.value.code == "sensor_pods"


def test_authority_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="authority"):
        KubeletPods("https://127.0.0.1/pods", token=tmp_path, authority=tmp_path / "missing")


def test_plain_http_of_this_machine_needs_no_token(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        pods = KubeletPods(f"http://localhost:{server.server_port}/pods", token=tmp_path / "missing")
        # This one asks for a token all the same, and is sent none.
        with pytest.raises(KernelError, match="401"):
            pods.pods()
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"items": [{}]}', b'{"items": [{"metadata": {"uid": 1}}]}']
)
def test_what_is_no_list_of_pods_is_an_error(text: bytes) -> None:
    with pytest.raises(KernelError, match="no list of pods"):
        read_pods(text)


def test_list_without_pods_has_none() -> None:
    assert read_pods(b'{"items": null}') == []
    assert read_pods(b"{}") == []


def test_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    with pytest.raises(KernelError, match="no such file"):
        FilePods(path).pods()
    path.write_text(json.dumps(PODS))
    assert FilePods(path).pods()[0] == SUPPORT


def test_directory_asks_when_an_unknown_pod_is_looked_up(tmp_path: Path) -> None:
    path, news = tmp_path / "pods.json", threading.Event()
    path.write_text("{}")
    directory = PodDirectory(FilePods(path), on_news=news.set)
    directory.start()
    try:
        path.write_text(json.dumps(PODS))
        assert wait_for(lambda: directory.find(uid=UID)) == SUPPORT
        assert directory.find(container="a" * 64) == SUPPORT
        assert news.wait(5)
    finally:
        directory.stop()
        directory.stop()


def test_directory_keeps_what_it_knew_and_says_why_it_has_nothing_new(tmp_path: Path) -> None:
    path, news = tmp_path / "pods.json", threading.Event()
    path.write_text(json.dumps(PODS))
    directory = PodDirectory(FilePods(path), on_news=news.set)
    directory.start()
    try:
        assert news.wait(5)
        news.clear()
        path.write_text("broken")
        wait_for(lambda: directory.find(uid="2" * 36) or directory.problem)
        assert directory.find(uid=UID) == SUPPORT
        assert news.wait(5)
        path.write_text(json.dumps(PODS))
        wait_for(lambda: directory.find(uid="2" * 36) or not directory.problem)
    finally:
        directory.stop()
