"""Real servers on loopback, in place of the internet: DNS, TLS and HTTP, and an egress service that may reach them."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import secrets
import socket
import socketserver
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._rules import KernelMode, KernelPolicy, NetRule, UnixRule
from agentguard.kernel.egress._gate import Gate
from agentguard.kernel.egress._names import parse_domain
from agentguard.kernel.egress._proxy import Limits, Wanted
from agentguard.kernel.egress._service import Egress, Sockets, loopback_sockets
from agentguard.kernel.egress._upstream import Upstream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agentguard.kernel.egress._approval import Approvals
    from agentguard.kernel.egress._denial import Denial

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Zone:
    """A DNS server, over UDP and TCP, that knows what it is told: name and type -> texts of records."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.delay_s = 0.0
        zone = self

        class Packets(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, back = self.request
                with contextlib.suppress(OSError):
                    back.sendto(zone.answer(wire, 1232), self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                size = int.from_bytes(self.rfile.read(2), "big")
                said = zone.answer(self.rfile.read(size), 0xFFFF)
                self.wfile.write(len(said).to_bytes(2, "big") + said)

        self._tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream)
        self._udp = socketserver.ThreadingUDPServer(self._tcp.server_address, Packets)
        self.place = ("127.0.0.1", int(self._tcp.server_address[1]))
        for each in (self._tcp, self._udp):
            each.daemon_threads = True
            threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, wire: bytes, most: int) -> bytes:
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query, recursion_available=True)
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), asked.rdtype.name
        self.asked.append((name, kind))
        time.sleep(self.delay_s)
        found = self.records.get((name, kind))
        if found is not None:
            response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        try:
            return response.to_wire(max_size=most)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def close(self) -> None:
        for each in (self._tcp, self._udp):
            each.shutdown()
            each.server_close()


@dataclass
class Authority:
    """A certificate authority of our own, and a certificate for each name that is asked of it."""

    folder: Path
    bundle: Path = field(init=False)

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
        self._certificate = self._sign(name, name, self._key.public_key(), None)
        self.bundle = self.folder / "ca.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, host: str | None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )  # fmt: skip
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, host: str) -> Path:
        """Return the file with a certificate for a name, its key before it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = self._sign(subject, self._certificate.subject, key.public_key(), host)
        path = self.folder / f"{host}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        return path

    def context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(host))
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.bundle))


class Site:
    """An HTTP server, over TLS where it is given a context, that says which request it got and keeps what came."""

    def __init__(self, context: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> None:
        self.requests: list[str] = []
        site = self

        class Talk(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ssl.SSLError):
                    site.talk(self.connection, context)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            request_queue_size = 256
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._server = Server((host, 0), Talk)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def talk(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        stream = connection if context is None else context.wrap_socket(connection, server_side=True)
        with stream, stream.makefile("rb") as lines:
            while first := lines.readline():
                fields = {}
                while (line := lines.readline()) not in {b"\r\n", b""}:
                    name, _, value = line.decode().partition(":")
                    fields[name.lower()] = value.strip()
                lines.read(int(fields.get("content-length", 0)))
                self.requests.append(f"{first.decode().strip()} {fields.get('host')}")
                if (
                    "upgrade" in fields
                    and fields["upgrade"] == "websocket"
                    and "refuse" not in first.decode()
                ):
                    stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
                    stream.sendall(lines.read1())
                    return
                body = f"you asked for {fields.get('host')}"
                stream.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class World:
    """DNS, and an egress service for it. `denials` are what was told; `wanted` is where connections wanted to go."""

    zone: Zone
    gate: Gate
    egress: Egress
    denials: list[Denial]
    wanted: Wanted | None

    @property
    def proxy(self) -> tuple[str, int]:
        return "127.0.0.1", self.egress.sockets.ports(socket.AF_INET)[0]

    @property
    def resolver(self) -> tuple[str, int]:
        return "127.0.0.1", self.egress.sockets.ports(socket.AF_INET)[1]


@contextlib.contextmanager
def world(
    *domains: str,
    networks: tuple[NetRule, ...] = (),
    inside: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = LOOPBACK,
    approvals: Approvals | None = None,
    limits: Limits | None = None,
    sockets: Sockets | None = None,
    find_wanted: Callable[[asyncio.StreamWriter], Wanted | None] | None = None,
) -> Iterator[World]:
    """Run an egress service that allows these names; `inside` is what its upstream's answers may name."""
    zone = Zone()
    denials: list[Denial] = []
    gate = Gate(
        [parse_domain(each) for each in domains], networks, on_denial=denials.append, approvals=approvals
    )
    made: list[World] = []
    egress = Egress(
        gate, Upstream([zone.place], inside=inside, timeout_s=1), sockets or loopback_sockets(),
        find_wanted or (lambda _writer: made[0].wanted), limits=limits,
    )  # fmt: skip
    made.append(World(zone, gate, egress, denials, Wanted(ipaddress.ip_address("93.184.216.34"), 443)))
    try:
        with egress:
            yield made[0]
    finally:
        zone.close()


_JOIN = 'read -r _ && exec "$@"'


def run_in(cgroup: Cgroup, *argv: str, timeout: float = 30, environ: dict[str, str] | None = None) -> str:
    """Run a program in a cgroup, its start included, and return what it printed."""
    command = ["/bin/sh", "-c", _JOIN, "sh", *argv]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
    ) as process:
        cgroup.add(process.pid)
        said, _ = process.communicate("\n", timeout=timeout)
    return said.strip()


def python_in(cgroup: Cgroup, code: str, *arguments: object, timeout: float = 30) -> str:
    """Run Python code in a cgroup, and return what it printed: an OSError as its number's name."""
    body = textwrap.indent(textwrap.dedent(code), "    ")
    whole = f"import errno, os, socket, struct, sys\nfrom sys import argv\ntry:\n{body}\nexcept OSError as error:\n    print(errno.errorcode.get(error.errno, error))"
    return run_in(cgroup, sys.executable, "-I", "-S", "-c", whole, *map(str, arguments), timeout=timeout)


@contextlib.contextmanager
def cgroup() -> Iterator[Cgroup]:
    """Make a cgroup for the block."""
    made = Cgroup.make(f"test-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield made
    finally:
        made.remove()


def wait_until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Return when it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def policy(
    *domains: str,
    networks: tuple[NetRule, ...] = (),
    sockets: tuple[UnixRule, ...] = (),
    mode: KernelMode = "enforce",
    version: int = 1,
) -> KernelPolicy:
    """Return a kernel policy about the network alone."""
    return KernelPolicy(
        version,
        "v",
        "agent",
        mode,
        (),
        networks,
        tuple(parse_domain(each, "names") for each in domains),
        sockets,
    )
