from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.core import ConfigError
from agentguard.kernel.egress._gate import Gate
from agentguard.kernel.egress._names import parse_domain
from agentguard.kernel.egress._resolver import Resolver
from agentguard.kernel.egress._upstream import (
    Upstream,
    UpstreamError,
    is_outside,
    parse_upstream,
    system_servers,
)
from egress_lab import World, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab() -> Iterator[World]:
    with world("api.example.com", "*.wide.example", inside=()) as made:
        made.zone.records["api.example.com", "A"] = ["93.184.216.34"]
        made.zone.records["api.example.com", "AAAA"] = ["2606:2800:220:1::1"]
        made.zone.records["api.example.com", "TXT"] = ['"hello"']
        made.zone.records["api.example.com", "MX"] = ["10 mail.example.com."]
        made.zone.records["api.example.com", "HTTPS"] = ["1 . alpn=h2 ech=AEX+DQBBzQAg"]
        made.zone.records["a.wide.example", "A"] = ["93.184.216.35"]
        made.zone.records["inner.wide.example", "A"] = ["93.184.216.34", "192.168.0.1"]
        made.zone.records["local.wide.example", "AAAA"] = ["fe80::1"]
        made.zone.records["big.wide.example", "TXT"] = [f'"{number}{"x" * 240}"' for number in range(20)]
        yield made


def ask(
    lab: World, name: str, kind: str = "A", *, tcp: bool = False, edns: bool = True
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0 if edns else -1)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, lab.resolver[0], port=lab.resolver[1], timeout=5)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "MX"])
def test_allowed_name_is_answered_whatever_is_asked_of_it(lab: World, kind: str, tcp: bool) -> None:  # noqa: FBT001 - a case
    answer = ask(lab, "API.Example.Com", kind, tcp=tcp)
    assert answer.rcode() == dns.rcode.NOERROR
    assert [each.to_text().lower() for each in answer.answer[0]] == lab.zone.records["api.example.com", kind]
    # What went out is a question of our own: the agent's capitals carry nothing.
    assert lab.zone.asked == [("api.example.com", kind)]


@pytest.mark.parametrize("kind", ["A", "AAAA", "TXT", "MX", "NS", "PTR", "SRV", "CAA", "NULL"])
@pytest.mark.parametrize(
    "name",
    [
        "evil.example.com",
        "example.com",
        "secret.api.example.com",
        "wide.example",
        ".",
        "1.0.0.127.in-addr.arpa",
    ],
)
def test_other_name_does_not_exist_and_nobody_is_asked(lab: World, name: str, kind: str) -> None:
    answer = ask(lab, name, kind)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert not answer.answer
    assert lab.zone.asked == []
    (said,) = [each for each in answer.options if isinstance(each, dns.edns.EDEOption)]
    assert said.text == "not allowed for this agent"


def test_denied_name_is_told_with_the_option_that_allows_it(lab: World) -> None:
    ask(lab, "evil.example.com", edns=False)
    (denial,) = lab.denials
    assert (
        denial.sentence()
        == "denied: dns evil.example.com: no rule allows this name; to allow it: --allow-domain evil.example.com"
    )
    for _ in range(50):
        ask(lab, "evil.example.com")
    assert len(lab.denials) <= 3


@pytest.mark.parametrize(("name", "kind"), [("inner.wide.example", "A"), ("local.wide.example", "AAAA")])
def test_answer_with_a_private_address_is_refused_as_a_whole(lab: World, name: str, kind: str) -> None:
    answer = ask(lab, name, kind)
    assert answer.rcode() == dns.rcode.REFUSED
    assert not answer.answer
    assert "no address of the internet" in lab.denials[0].reason


def test_what_helps_to_hide_a_name_is_withheld(lab: World) -> None:
    assert ask(lab, "api.example.com", "HTTPS").rcode() == dns.rcode.NOERROR
    assert not ask(lab, "api.example.com", "HTTPS").answer
    assert ask(lab, "api.example.com", "ANY").rcode() == dns.rcode.REFUSED
    assert lab.zone.asked == []


def test_long_answer_is_asked_for_again_over_tcp(lab: World) -> None:
    answer = ask(lab, "big.wide.example", "TXT")
    assert answer.flags & dns.flags.TC
    assert len(ask(lab, "big.wide.example", "TXT", tcp=True).answer[0]) == 20


def test_name_that_is_allowed_and_not_there_says_so(lab: World) -> None:
    assert ask(lab, "none.wide.example").rcode() == dns.rcode.NXDOMAIN
    assert lab.zone.asked == [("none.wide.example", "A")]
    assert ask(lab, "a.wide.example", "TXT").rcode() == dns.rcode.NOERROR


def test_new_name_is_answered_at_once(lab: World) -> None:
    assert ask(lab, "new.example").rcode() == dns.rcode.NXDOMAIN
    lab.zone.records["new.example", "A"] = ["93.184.216.36"]
    lab.gate.names.add(parse_domain("new.example"))
    assert ask(lab, "new.example").answer


def test_resolvers_that_are_gone_are_said_to_be(lab: World) -> None:
    lab.zone.close()
    assert ask(lab, "api.example.com").rcode() == dns.rcode.SERVFAIL
    # And what is not allowed is not allowed, as ever.
    assert ask(lab, "evil.example.com").rcode() == dns.rcode.NXDOMAIN


def test_many_at_once_ask_the_world_once(lab: World) -> None:
    lab.zone.delay_s = 0.2
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(len(ask(lab, "api.example.com").answer)))
        for _ in range(20)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [1] * 20
    assert len(lab.zone.asked) == 1


def test_connection_that_says_nothing_or_nonsense_is_ended(lab: World) -> None:
    for data in (b"", b"\0\5hello", b"\xff\xff" + bytes(70_000), b"\0\0"):
        with socket.create_connection(lab.resolver, timeout=20) as made:
            try:
                made.sendall(data)
                made.shutdown(socket.SHUT_WR)
                assert made.recv(100) == b""
            except ConnectionResetError:
                pass
    assert ask(lab, "api.example.com", tcp=True).answer


def test_flood_of_packets_leaves_the_resolver_answering(lab: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for number in range(5000):
            made.sendto(number.to_bytes(2, "big") * 20, lab.resolver)
    # Some of what comes after it is lost with it, as UDP is.
    answered: list[object] = []
    while not answered:
        with contextlib.suppress(dns.exception.Timeout):
            query = dns.message.make_query("api.example.com", "A")
            answered += dns.query.udp(query, lab.resolver[0], port=lab.resolver[1], timeout=0.5).answer


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda query: query.set_opcode(dns.opcode.NOTIFY), dns.rcode.NOTIMP),
        (lambda query: query.question.append(query.question[0]), dns.rcode.FORMERR),
        (lambda query: query.question.clear(), dns.rcode.FORMERR),
    ],
)
def test_question_of_another_kind_is_not_answered(lab: World, change: object, code: dns.rcode.Rcode) -> None:
    assert callable(change)
    query = dns.message.make_query("api.example.com", "A")
    change(query)
    resolver = Resolver(lab.gate, Upstream([]))
    said = asyncio.run(resolver.answer(query.to_wire()))
    assert said is not None
    assert dns.message.from_wire(said, question_only=True).rcode() == code


def test_answer_that_comes_as_a_question_is_let_be() -> None:
    gate = Gate([], [], on_denial=lambda _: None)
    response = dns.message.make_response(dns.message.make_query("api.example.com", "A"))
    assert asyncio.run(Resolver(gate, Upstream([])).answer(response.to_wire())) is None
    assert asyncio.run(Resolver(gate, Upstream([])).answer(bytes(5000))) is None


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_packet_is_answered_or_let_be(data: bytes, tail: bytes) -> None:
    gate = Gate([], [], on_denial=lambda _: None)
    resolver = Resolver(gate, Upstream([]))
    query = dns.message.make_query("api.example.com", "A", use_edns=0).to_wire()
    for wire in (data, query[:12] + data, query + tail, query[: len(tail)] + tail + query[len(tail) * 2 :]):
        said = asyncio.run(resolver.answer(wire, most=1232))
        assert said is None or len(said) <= 1400


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("192.168.1.1", False), ("172.16.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address as any other
        ("224.0.0.1", False), ("240.0.0.1", False), ("255.255.255.255", False),
        ("198.18.0.1", False), ("192.0.2.1", False), ("::1", False), ("::", False), ("fe80::1", False),
        ("fc00::1", False), ("ff02::1", False), ("::ffff:10.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("::7f00:1", False), ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False), ("64:ff9b::5db8:d822", True),
        ("2001:db8::1", False), ("fec0::1", False),
    ],
)  # fmt: skip
def test_addresses_of_the_internet_are_told_from_all_others(address: str, outside: bool) -> None:  # noqa: FBT001 - a case
    assert is_outside(ipaddress.ip_address(address)) is outside


@pytest.mark.parametrize(
    ("servers", "places"),
    [
        ((), None),
        (("9.9.9.9",), (("9.9.9.9", 53),)),
        (("9.9.9.9:5353", "[::1]:54", "::1"), (("9.9.9.9", 5353), ("::1", 54), ("::1", 53))),
    ],
)
def test_settings_name_resolvers_and_private_places(
    servers: tuple[str, ...], places: tuple[tuple[str, int], ...] | None
) -> None:
    upstream = parse_upstream(servers, ("10.1.0.0/16",))
    assert upstream._servers == (places if places is not None else system_servers())
    assert upstream.may_lead_to(ipaddress.ip_address("10.1.2.3"))
    assert not upstream.may_lead_to(ipaddress.ip_address("10.2.2.3"))


@pytest.mark.parametrize("wrong", ["dns.example", "9.9.9.9:x", "9.9.9.9:0", "[::1:53"])
def test_resolver_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        parse_upstream((wrong,))


def test_name_whose_resolvers_refuse_leads_nowhere() -> None:
    with pytest.raises(UpstreamError, match="no resolver is configured"):
        asyncio.run(Upstream([]).addresses("a.example"))


def test_resolvers_of_the_system_are_read(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# one\nnameserver 9.9.9.9\noptions edns0\nnameserver ::1\nnameserver a\nnameserver b\n")
    assert system_servers(path) == (("9.9.9.9", 53), ("::1", 53), ("a", 53))
    assert system_servers(tmp_path / "none") == ()
