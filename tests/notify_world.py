"""Servers of others for the tests of notices: HTTP receivers and a mail server with STARTTLS, all on loopback."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentguard.core import Notice, NoticeKind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message as Mail
    from pathlib import Path

PATIENCE_S = 20.0
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def notice(number: int = 1, **changes: Any) -> Notice:
    """Return a notice that an approval is pending."""
    given: dict[str, Any] = {
        "id": f"ap-{number}:0",
        "kind": NoticeKind.APPROVAL_PENDING,
        "severity": Severity.HIGH,
        "title": "approval needed: deploy-agent restart on prod/api",
        "at": AT,
        "fields": (("principal", "deploy-agent"), ("parameters", '{"x": "<b>1</b> & 2"}')),
        "links": (("approval", f"/approvals/ap-{number}"),),
        "approval": f"ap-{number}",
    }
    return Notice(**{**given, **changes})


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server that notes what it is sent, and answers as `answer` says."""

    answer: Callable[[Got], tuple[int, dict[str, str], bytes]] = lambda _got: (200, {}, b"ok")
    got: list[Got] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def receiving(given: Receiver | None = None) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = given or Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.got.append(got)
            status, headers, answer = receiver.answer(got)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Post:
    """What a mail server got: (sender, recipients, mail); `refuse` is an answer to give in the place of taking it."""

    mails: list[tuple[str, list[str], Mail]] = field(default_factory=list)
    refuse: str = ""
    refuse_recipients: tuple[str, ...] = ()
    port: int = 0

    # aiosmtpd calls these by their names.
    async def handle_RCPT(self, *given: Any) -> str:  # noqa: N802 - as said
        _, _, envelope, address, _ = given
        if address in self.refuse_recipients:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - as said
        if self.refuse:
            return self.refuse
        import email.policy

        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, mail))
        return "250 OK"


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate for this machine that nobody else trusts, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / "cert.pem", folder / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return path, context


@contextmanager
def post_office(
    post: Post, *, tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None
) -> Iterator[Post]:
    """Run a mail server; with `tls` it takes mail only after STARTTLS, with `login` only from who logs in."""

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == login, handled=False)

    controller = Controller(
        post,
        hostname="127.0.0.1",
        port=_free_port(),
        server_hostname="localhost",
        tls_context=tls,
        require_starttls=tls is not None,
        authenticator=authenticate if login else None,
        auth_required=login is not None,
    )
    controller.start()
    try:
        post.port = controller.port
        yield post
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until(found: Callable[[], object]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < until
        time.sleep(0.01)
