"""The proxy with real servers behind it; which address a connection wanted is given, as the kernel would."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentguard.kernel._rules import NetRule
from agentguard.kernel.egress._proxy import Limits, Wanted
from egress_lab import LOOPBACK, Authority, Site, World, wait_until, world

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "api.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def secure_site(authority: Authority) -> Iterator[Site]:
    made = Site(authority.context(API))
    yield made
    made.close()


@pytest.fixture
def lab(site: Site, secure_site: Site) -> Iterator[World]:
    limits = Limits(connections=20, opening_s=0.4, idle_s=2)
    with world(
        f"{API}:{site.port}",
        f"{API}:{secure_site.port}",
        "gone.example:80",
        f"inner.example:{site.port}",
        limits=limits,
    ) as made:
        made.zone.records[API, "A"] = ["127.0.0.1"]
        made.zone.records["inner.example", "A"] = ["10.0.0.1"]
        made.wanted = Wanted(ipaddress.ip_address("93.184.216.34"), site.port, 7)
        yield made


def talk(lab: World, *pieces: bytes, until: bytes = b"") -> bytes:
    """Send pieces one after the other and return everything that comes back until `until`, or the end."""
    with socket.create_connection(lab.proxy, timeout=5) as made:
        said = b""
        try:
            for each in pieces:
                made.sendall(each)
                time.sleep(0)
            while piece := made.recv(65536):
                said += piece
                if until and until in said:
                    break
        except (ConnectionResetError, BrokenPipeError):
            pass
        return said


def request(host: str, target: str = "/", *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode()


def secure(
    lab: World, authority: Authority, name: str | None, *, first: bytes = b"", alpn: bool = False
) -> bytes:
    context = authority.client()
    context.check_hostname = name is not None
    if name is None:
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(lab.proxy, timeout=5) as made:
        if first:
            made.sendall(first)
            assert made.recv(200).startswith(b"HTTP/1.1 200")
        with context.wrap_socket(made, server_hostname=name) as stream:
            stream.sendall(request(name or "x"))
            return stream.recv(1000)


def test_name_in_the_hello_decides_and_the_address_does_not(
    lab: World, authority: Authority, secure_site: Site
) -> None:
    lab.wanted = Wanted(ipaddress.ip_address("10.9.8.7"), secure_site.port)
    assert b"you asked for api.example.com" in secure(lab, authority, API, alpn=True)
    # Once for each kind of address: the proxy asks for itself, and remembers.
    assert b"you asked for api.example.com" in secure(lab, authority, API)
    assert sorted(lab.zone.asked) == [(API, "A"), (API, "AAAA")]


@pytest.mark.parametrize("name", ["evil.example.com", "example.com", "x.api.example.com", None])
def test_other_name_or_none_is_denied_by_an_alert(
    lab: World, authority: Authority, secure_site: Site, name: str | None
) -> None:
    lab.wanted = Wanted(ipaddress.ip_address("127.0.0.1"), secure_site.port, 9)
    with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
        secure(lab, authority, name)
    (denial,) = lab.denials
    assert denial.pid == 9
    if name is None:
        assert "no name (SNI)" in denial.reason
    else:
        assert denial.target == f"tcp {name}:{secure_site.port}"
        assert denial.allow == f"--allow-domain {name}:{secure_site.port}"
    assert lab.zone.asked == []


def test_port_that_the_rule_does_not_have_is_denied(lab: World) -> None:
    lab.wanted = Wanted(ipaddress.ip_address("93.184.216.34"), 8081)
    assert b"403 Forbidden" in talk(lab, request(API))
    assert lab.denials[0].reason == "the rule of this name has no port 8081"


def test_plain_http_goes_by_its_host(lab: World) -> None:
    assert b"you asked for API.example.com." in talk(lab, request("API.example.com."), until=b"com.")
    said = talk(lab, request("evil.example.com"))
    assert b"403 Forbidden" in said
    assert b"no rule allows this name" in said
    assert b"403" in talk(lab, request("93.184.216.34"))
    assert lab.denials[-1].allow.endswith(f'"host:93.184.216.34:{lab.wanted.port}"]}}' if lab.wanted else "")


def test_later_request_for_another_host_goes_nowhere(lab: World, site: Site) -> None:
    with socket.create_connection(lab.proxy, timeout=5) as made:
        for number in range(2):
            made.sendall(request(API, f"/{number}"))
            assert b"200 OK" in made.recv(1000)
        made.sendall(request("evil.example.com", "/3"))
        assert made.recv(1000) == b""
    # All in one piece, none of them is passed on.
    assert b"for another host" in talk(lab, request(API, "/4") + request("evil.example.com"))
    assert not any("evil" in each or "/4" in each for each in site.requests)


def test_request_as_to_a_proxy_names_the_port_by_itself(lab: World, site: Site) -> None:
    lab.wanted = Wanted(ipaddress.ip_address("10.0.0.9"), 3128)
    said = talk(lab, request(f"{API}:{site.port}", f"http://{API}:{site.port}/x"), until=b"you asked")
    assert b"you asked" in said
    assert b"403" in talk(lab, request("evil.example.com", f"http://{API}:{site.port}/x"))


def test_tunnel_is_opened_to_an_allowed_name_for_that_name_alone(
    lab: World, authority: Authority, secure_site: Site, site: Site
) -> None:
    lab.wanted = Wanted(ipaddress.ip_address("10.0.0.9"), 3128)
    tunnel = f"CONNECT {API}:{secure_site.port} HTTP/1.1\r\n\r\n".encode()
    assert b"you asked" in secure(lab, authority, API, first=tunnel)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        secure(lab, authority, "evil.example.com", first=tunnel)
    assert "inside of a tunnel to" in lab.denials[-1].reason
    assert b"403" in talk(lab, b"CONNECT evil.example.com:443 HTTP/1.1\r\n\r\n")
    assert b"403" in talk(lab, b"CONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n")
    plain = f"CONNECT {API}:{site.port} HTTP/1.1\r\n\r\n".encode()
    # What speaks before the tunnel is open is stopped, and so is a tunnel in a tunnel.
    assert b"you asked" not in talk(lab, plain + request(API))
    with socket.create_connection(lab.proxy, timeout=5) as made:
        made.sendall(plain)
        assert b"200" in made.recv(100)
        made.sendall(plain)
        assert b"tunnel in a tunnel" in made.recv(1000)


def test_change_of_protocol_is_followed_to_websockets_only(lab: World) -> None:
    hello = request(API, "/ws", "Upgrade: websocket", "Connection: upgrade")
    assert talk(lab, hello, b"\x81\x02hi").endswith(b"\x81\x02hi")
    assert b"403" in talk(lab, request(API, "/", "Upgrade: h2c", "Connection: upgrade"))
    # The server stays with HTTP: what follows was read by nobody, and goes nowhere.
    refused = request(API, "/refuse", "Upgrade: websocket", "Connection: upgrade")
    assert talk(lab, refused, request("evil.example.com")).count(b"HTTP/1.1") <= 1


@pytest.mark.parametrize(
    "pieces", [(b"SSH-2.0-x\r\n",), (b"\0\1\2",), (b"EHLO x\r\n",), (b"GET / HT",), (b"\x16\3\1",), ()]
)
def test_what_names_no_host_in_time_is_ended(lab: World, pieces: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    said = talk(lab, *pieces)
    assert time.monotonic() - began < 4
    assert b"200" not in said
    wait_until(lambda: lab.denials)
    assert lab.denials[0].target == f"tcp 93.184.216.34:{lab.wanted.port}" if lab.wanted else False


def test_slow_hello_is_ended_and_holds_up_nobody(lab: World) -> None:
    with socket.create_connection(lab.proxy, timeout=5) as slow:
        ended = threading.Event()

        def drip() -> None:
            for each in request(API) * 50:
                try:
                    slow.sendall(bytes([each]))
                except OSError:
                    break
                if ended.wait(0.02):
                    break

        thread = threading.Thread(target=drip)
        thread.start()
        assert b"you asked" in talk(lab, request(API), until=b"you asked")
        said = slow.recv(1000)
        ended.set()
        thread.join()
    assert b"200" not in said


def test_more_connections_than_one_agent_may_have_are_dropped(lab: World) -> None:
    held = [socket.create_connection(lab.proxy, timeout=5) for _ in range(20)]
    wait_until(lambda: lab.egress._proxy.open == 20)
    assert talk(lab, request(API)) == b""
    for each in held:
        each.close()
    wait_until(lambda: lab.egress._proxy.open == 0)
    assert b"you asked" in talk(lab, request(API), until=b"you asked")


def test_connection_of_nobody_is_dropped_unread(lab: World) -> None:
    lab.wanted = None
    assert talk(lab, request(API)) == b""
    assert lab.denials == []


def test_name_that_leads_to_a_private_place_or_nowhere_is_denied(lab: World) -> None:
    with world(
        f"inner.example:{lab.wanted.port if lab.wanted else 0}", "gone.example:80", inside=()
    ) as other:
        other.zone.records["inner.example", "A"] = ["93.184.216.34", "10.0.0.1"]
        other.wanted = lab.wanted
        assert b"no address of the internet" in talk(other, request("inner.example"))
        other.wanted = Wanted(ipaddress.ip_address("1.2.3.4"), 80)
        assert b"has no address" in talk(other, request("gone.example"))


def test_rule_about_an_address_holds_whatever_name_leads_there(site: Site) -> None:
    deny = NetRule("127.0.0.0/8", (), "deny", "no-loopback")
    with world(f"{API}:{site.port}", networks=(deny,)) as lab:
        lab.zone.records[API, "A"] = ["127.0.0.1"]
        lab.wanted = Wanted(ipaddress.ip_address("1.2.3.4"), site.port)
        assert b"a rule denies the address" in talk(lab, request(API))
        lab.wanted = Wanted(ipaddress.ip_address("127.0.0.1"), site.port)
        assert b"200" not in talk(lab, request(API))


def test_address_that_a_rule_allows_is_dialled_as_it_is(site: Site) -> None:
    allow = NetRule("127.0.0.1/32", (site.port,), "allow", "lab")
    ask = NetRule("127.0.0.2/32", (), "require_approval", "ask")
    with world(networks=(allow, ask)) as lab:
        lab.wanted = Wanted(ipaddress.ip_address("127.0.0.1"), site.port)
        assert b"you asked for whatever" in talk(lab, request("whatever"), until=b"you asked")
        lab.wanted = Wanted(ipaddress.ip_address("127.0.0.2"), site.port)
        assert b"200" not in talk(lab, request("whatever"))
        assert "asks for an approval" in lab.denials[0].reason


def test_server_that_is_not_there_ends_the_connection(lab: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with world(f"{API}:{port}") as other:
        other.zone.records[API, "A"] = ["127.0.0.1"]
        other.wanted = Wanted(ipaddress.ip_address("1.2.3.4"), port)
        assert talk(other, request(API)) == b""


def test_connection_on_which_nothing_moves_is_ended(site: Site) -> None:
    with world(f"{API}:{site.port}", limits=Limits(idle_s=0.3)) as lab:
        lab.zone.records[API, "A"] = ["127.0.0.1"]
        lab.wanted = Wanted(ipaddress.ip_address("1.2.3.4"), site.port)
        with socket.create_connection(lab.proxy, timeout=5) as made:
            made.sendall(request(API))
            said = b""
            while piece := made.recv(1000):
                said += piece
        assert b"you asked" in said


def test_dns_that_is_gone_denies_and_says_so(site: Site) -> None:
    with world(f"{API}:{site.port}") as lab:
        lab.zone.close()
        lab.wanted = Wanted(ipaddress.ip_address("1.2.3.4"), site.port)
        assert b"does not answer" in talk(lab, request(API))
    assert LOOPBACK


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    b"GET / HTTP/1.1\r\n",
                    b"Host: api.example.com\r\n",
                    b"\r\n",
                    b"\x16\3\1\0\4\1\0\0\0",
                    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
                ]
            ),
        ),
        max_size=5,
    )
)
def test_any_bytes_leave_the_proxy_serving(lab: World, pieces: list[bytes]) -> None:
    with socket.create_connection(lab.proxy, timeout=5) as made:
        try:
            for each in pieces:
                made.sendall(each)
            made.shutdown(socket.SHUT_WR)
            while made.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError, OSError):
            pass
    assert lab.egress._thread.is_alive()
