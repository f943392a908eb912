from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import ConfigError
from agentguard.kernel._rules import DomainRule
from agentguard.kernel.egress._names import Names, normal_name, parse_domain


@pytest.mark.parametrize(
    ("text", "domain", "ports"),
    [
        ("example.com", "example.com", (80, 443)),
        ("EXAMPLE.com.", "example.com", (80, 443)),
        ("*.example.com:8443", "*.example.com", (8443,)),
        ("bücher.example", "xn--bcher-kva.example", (80, 443)),
        ("localhost:3000", "localhost", (3000,)),
    ],
)
def test_option_becomes_a_rule(text: str, domain: str, ports: tuple[int, ...]) -> None:
    assert parse_domain(text) == DomainRule(domain, ports, "--allow-domain")


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4", "0x7f.1", "2130706433", "::1", "*", "*.", "*.*.com", "a..b", "-a.com", "a b.com", "a:x", "a:0", "a:70000", "x" * 64 + ".com", "a/b", "http://a.com"],
)  # fmt: skip
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_domain(text)
    assert caught.value.hint


def test_star_stands_for_what_is_below_and_ports_are_looked_at() -> None:
    below, exact = DomainRule("*.example.com", (443,), "below"), DomainRule("example.com", (), "exact")
    names = Names([below, exact])
    assert names.find("api.example.com", 443) == below
    assert names.find("a.b.example.com") == below
    assert names.find("api.example.com", 80) is None
    assert names.find("example.com", 12345) == exact
    assert names.find("badexample.com") is None
    assert names.find("com") is None
    assert names.ports() == {443}
    names.add(DomainRule("example.org", (80,), "more"))
    assert names.find("example.org", 80)
    with pytest.raises(ConfigError):
        names.add(DomainRule("not a name", (), "wrong"))
    assert len(names.rules()) == 3


@given(st.text(max_size=80))
def test_normal_name_is_its_own_normal_name(text: str) -> None:
    name = normal_name(text)
    assert name is None or (normal_name(name) == name and name.isascii() and name == name.lower())
