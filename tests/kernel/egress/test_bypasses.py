"""The matrix of ways round a jail once more, where names are allowed: by programs on the cgroup, and in a namespace."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from agentguard.cli import _network
from agentguard.cli._network import Network
from agentguard.kernel import probe_network
from agentguard.kernel._rules import NetRule
from agentguard.kernel.egress import parse_domain
from agentguard.kernel.jail import Enforcement
from agentguard.kernel.jail._landlock import abi
from bypasses import ATTEMPTS, NEIGHBOURS
from egress_lab import cgroup
from jail_lab import benign, matrix, outside, policy_for, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.kernel.jail import Canary
    from bypasses import World
    from jail_lab import Make

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="lays out files of other users"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]
HOW = ["programs", "namespace"]


@contextlib.contextmanager
def networked(how: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Yield what makes a jail in which a name and an address of nobody's are allowed."""
    if how == "programs" and (missing := [each.detail for each in probe_network() if not each.ok]):
        pytest.skip("; ".join(missing))
    monkeypatch.setattr(_network, "_has_programs", lambda: how == "programs")
    made: list[Network] = []

    def make(world: World, more: Sequence[Canary]) -> Enforcement:
        policy = msgspec.structs.replace(
            policy_for(world),
            domains=(parse_domain("api.example.com"),),
            networks=(NetRule("192.0.2.1/32", (443,), "allow", "lab"),),
        )
        network = Network(policy, has_network=True, by_programs=True, on_denial=lambda _: None)
        made.append(network)
        assert network.sockets == ("guarded" if how == "programs" else "loopback")
        return Enforcement(
            policy, workspace=world.work, sockets=network.sockets, begin=network.begin,
            within=network.within if network.is_bridged else None, more=[*more, *network.more()],
        )  # fmt: skip

    try:
        yield make
    finally:
        for each in made:
            each.close()


@pytest.mark.parametrize("how", HOW)
def test_no_attempt_that_works_outside_works_where_names_are_allowed(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with outside() as made, cgroup() as group, networked(how, monkeypatch) as make:
        outcome = matrix(made, make, group)
    tell(outcome, "root, T2" if how == "programs" else "root, T1 with names")
    assert outcome.bypasses == []
    assert len(outcome.possible) >= 44
    assert len(outcome.unguarded) == len(ATTEMPTS)


@pytest.mark.parametrize("how", HOW)
def test_what_agents_ordinarily_do_works_where_names_are_allowed(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with outside() as made, cgroup() as group, networked(how, monkeypatch) as make:
        outcome = benign(made, make, group)
    assert len(outcome.possible) == len(NEIGHBOURS)
    assert [name for name in outcome.possible if not outcome.guarded[name]] == []
