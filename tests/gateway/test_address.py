from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from agentguard.gateway._address import ForbiddenAddressError, GuardedResolver, is_public


class Answers(AbstractResolver):
    """A name server that says what a test wants."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self.addresses
        ]

    async def close(self) -> None:
        self.addresses = ()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to refuse, not one to bind
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:a9fe:a9fe::1", False),
        ("ff02::1", False),
    ],
)
def test_only_addresses_of_the_internet_are_public(address: str, public: bool) -> None:  # noqa: FBT001 - a table
    assert is_public(ip_address(address)) is public


def test_name_that_leads_anywhere_private_is_refused() -> None:
    async def run() -> None:
        rebound = GuardedResolver((), Answers("1.1.1.1", "169.254.169.254"))
        with pytest.raises(ForbiddenAddressError, match="leads to a private address"):
            await rebound.resolve("api.example.com", 443)
        fine = GuardedResolver((), Answers("1.1.1.1"))
        assert [each["host"] for each in await fine.resolve("api.example.com", 443)] == ["1.1.1.1"]
        local = GuardedResolver(("ollama.lan",), Answers("10.0.0.1"))
        assert [each["host"] for each in await local.resolve("ollama.lan", 80)] == ["10.0.0.1"]
        for each in (rebound, fine, local):
            await each.close()

    asyncio.run(run())
