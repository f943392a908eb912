from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from agentguard.gateway._address import ForbiddenAddressError, GuardedResolver, is_public

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def answering(*addresses: str) -> Callable[[str], Awaitable[list[str]]]:
    """Return a name server that says what a test wants."""

    async def ask(host: str) -> list[str]:
        assert host
        return list(addresses)

    return ask


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
        rebound = GuardedResolver((), answering("1.1.1.1", "169.254.169.254"))
        with pytest.raises(ForbiddenAddressError, match="leads to a private address"):
            await rebound.resolve("api.example.com")
        assert await GuardedResolver((), answering("1.1.1.1")).resolve("api.example.com") == ["1.1.1.1"]
        local = GuardedResolver(("ollama.lan",), answering("10.0.0.1"))
        assert await local.resolve("ollama.lan") == ["10.0.0.1"]
        with pytest.raises(OSError, match="has no address"):
            await GuardedResolver((), answering()).resolve("api.example.com")

    asyncio.run(run())


def test_addresses_of_a_name_are_remembered_until_none_of_them_answers() -> None:
    asked: list[str] = []

    async def ask(host: str) -> list[str]:
        asked.append(host)
        return ["1.1.1.1"]

    async def run() -> None:
        resolver = GuardedResolver((), ask)
        for _ in range(3):
            await resolver.resolve("api.example.com")
        assert len(asked) == 1
        resolver.forget("api.example.com")
        await resolver.resolve("api.example.com")
        assert len(asked) == 2

    asyncio.run(run())


def test_the_system_knows_this_machine() -> None:
    assert "127.0.0.1" in asyncio.run(GuardedResolver(("localhost",)).resolve("localhost"))
