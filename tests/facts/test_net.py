from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.facts._budget import UnparsedError
from agentguard.facts._lists import HostList, shipped_lists
from agentguard.facts._net import Host, address_facts, host_facts, url_facts

LISTS = shipped_lists()
SPELLINGS = [
    ("127.0.0.1", "127.0.0.1", False),
    ("0x7f.1", "127.0.0.1", True),
    ("2130706433", "127.0.0.1", True),
    ("0177.0.0.1", "127.0.0.1", True),
    ("127.1", "127.0.0.1", True),
    ("::ffff:127.0.0.1", "127.0.0.1", True),
    ("[::ffff:7f00:1]", "127.0.0.1", True),
    ("64:ff9b::a9fe:a9fe", "169.254.169.254", True),
    ("2002:a9fe:a9fe::", "169.254.169.254", True),
    ("::a9fe:a9fe", "169.254.169.254", True),
    ("\uff11\uff12\uff17.0.0.1", "127.0.0.1", True),
    ("fe80::1%eth0", "fe80::1", False),
    ("EXAMPLE.com.", "example.com", False),
    ("b\u00fccher.example", "xn--bcher-kva.example", False),
]


@pytest.mark.parametrize(("text", "name", "odd"), SPELLINGS)
def test_host_has_one_canonical_form(text: str, name: str, *, odd: bool) -> None:
    host = Host(text)
    assert (host.name, host.odd) == (name, odd)


@pytest.mark.parametrize(
    "text", ["", "a b", "1.2.3.4.5x!", "256.1.1.1", "0x", "09.1.1.1", ":::", "-a.example", "a" * 300, "1.2.3.999999", "\u2028"]
)  # fmt: skip
def test_what_is_no_host_is_unparsed(text: str) -> None:
    with pytest.raises(UnparsedError):
        Host(text)


URLS: list[tuple[str, dict[str, Any]]] = [
    ("https://api.openai.com/v1", {"net.list": ("llm",), "net.port": (443,), "net.scheme": ("https",)}),
    ("gopher://a.example/", {"net.unusual_scheme": True}),
    ("http://a.example\\@b.example/", {"net.protocol_violation": True}),
    ("http://10.0.0.1:99/", {"net.is_private": True, "net.is_ip": True, "net.allowed": True}),
    ("http://100.64.1.1/", {"net.is_private": True}),
    ("http://0.0.0.0/", {"net.is_loopback": True}),
    ("git@github.com:a/b.git", {"net.scheme": ("ssh",), "net.host": ("github.com",), "net.allowed": True}),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_url_states_its_facts(url: str, expected: dict[str, Any]) -> None:
    facts = url_facts(url, LISTS)
    assert {name: facts[name] for name in expected} == expected


@pytest.mark.parametrize("url", ["", "a", "http://", "//a.example", "http://[::1", "http://a.example:port/"])
def test_what_is_no_url_is_unparsed(url: str) -> None:
    with pytest.raises(UnparsedError):
        url_facts(url, LISTS)


@pytest.mark.parametrize("text", ["a.example:x", "a.example:99999", "a.example:"])
def test_host_with_a_bad_port_is_unparsed(text: str) -> None:
    with pytest.raises(UnparsedError):
        host_facts(text, LISTS)


def test_address_says_what_it_is_and_not_that_it_was_written() -> None:
    assert address_facts("10.0.0.1")["net.is_private"]
    assert "net.is_ip" not in address_facts("10.0.0.1")
    with pytest.raises(UnparsedError):
        address_facts("a.example")


def test_list_tells_a_name_from_what_ends_alike() -> None:
    hosts = HostList(["a.example", "=b.example", "10.0.0.0/8"])
    names = ["a.example", "x.a.example", "xa.example", "b.example", "x.b.example"]
    assert [hosts.holds(name, None) for name in names] == [True, True, False, True, False]
    assert hosts.holds("10.1.1.1", Host("10.1.1.1").address)


@pytest.mark.parametrize("entry", ["https://a.example", "*.a.example", "", "10.0.0.1/33"])
def test_list_refuses_what_is_no_host(entry: str) -> None:
    with pytest.raises(ValueError, match="no host name and no network"):
        HostList([entry])


@given(st.text(max_size=60) | st.from_regex(r"(https?://)?[0-9a-fx:.\[\]@%]{0,30}", fullmatch=True))
def test_any_text_is_a_url_or_unparsed(text: str) -> None:
    for read in (url_facts, host_facts):
        try:
            read(text, LISTS)
        except UnparsedError:
            continue
