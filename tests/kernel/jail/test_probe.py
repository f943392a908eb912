from __future__ import annotations

import os

import pytest

from agentguard.kernel import Probe
from agentguard.kernel.jail import _probe, probe_jail, tier_of_jail
from agentguard.kernel.jail._landlock import abi

GOOD = [Probe(name, ok=True, detail="") for name in ("Landlock", "seccomp", "namespaces", "fanotify")]
HOOKS = [Probe(name, ok=True, detail="") for name in ("connect hooks", "unix hooks")]
LSM = Probe("BPF LSM", ok=True, detail="")


def without(name: str) -> list[Probe]:
    return [each if each.name != name else Probe(name, ok=False, detail="why not") for each in GOOD]


@pytest.mark.parametrize(
    ("probes", "others", "tier", "next_"),
    [
        (without("Landlock"), [], "none", "for T0: Landlock (why not)"),
        (without("fanotify"), HOOKS, "T0", "for T1: fanotify (why not)"),
        (GOOD, [], "T1", "for T2: connect hooks (not tried), unix hooks (not tried)"),
        (GOOD, HOOKS[:1], "T1", "for T2: unix hooks (not tried)"),
        (GOOD, HOOKS, "T2", "for T3: BPF LSM (not tried)"),
        (GOOD, [*HOOKS, LSM], "T3", ""),
    ],
)
def test_tier_is_as_high_as_nothing_is_missing(
    probes: list[Probe], others: list[Probe], tier: str, next_: str
) -> None:
    found = tier_of_jail(probes, others)
    assert (found.name, found.next) == (tier, next_)


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0 or abi() < 6, reason="needs root and Landlock with scopes")
def test_each_thing_is_tried_without_changing_this_process() -> None:
    before = os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116 - not a path
    assert all(each.ok for each in probe_jail())
    assert os.stat("/proc/self/ns/mnt").st_ino == before  # noqa: PTH116 - not a path


def test_what_is_refused_comes_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*, network: bool) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(_probe, "separate", refused)
    monkeypatch.setattr(_probe, "abi", lambda: 4)
    found = {each.name: each for each in probe_jail()}
    assert not found["namespaces"].ok
    assert found["namespaces"].detail.startswith("operation not permitted: ")
    assert found["Landlock"].detail == "version 4, without devices, scopes"
    assert "6.12" in found["Landlock"].hint
    monkeypatch.setattr(_probe, "abi", lambda: 0)
    assert "switched off" in probe_jail()[0].detail
