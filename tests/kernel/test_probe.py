from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel import Probe, _probe, probe, tier_of
from agentguard.kernel import _libbpf as library
from kernel_lab import why_not

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.kernel
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_machine_that_can_observe_says_so() -> None:
    probes = {each.name: each for each in probe()}
    assert tier_of(list(probes.values())) == "observe"
    assert probes["system calls"].ok
    assert probes["ring buffer"].ok


@pytest.mark.parametrize(
    ("capabilities", "ok"),
    [
        ((1 << 41) - 1, True), (1 << 21, True), (1 << 38 | 1 << 39, True), (1 << 39, False), (0, False),
    ],
    ids=["all", "admin", "BPF and perfmon", "BPF alone", "none"],
)  # fmt: skip
def test_rights_are_those_that_the_programs_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, capabilities: int, ok: bool
) -> None:
    (tmp_path / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities:016x}\n")
    monkeypatch.setattr(_probe, "_STATUS", tmp_path / "status")
    rights = next(each for each in probe() if each.name == "rights")
    assert (rights.ok, bool(rights.hint)) == (ok, not ok)


def test_one_thing_that_is_needed_and_missing_leaves_no_tier() -> None:
    good, bad = Probe("a", ok=True, detail=""), Probe("b", ok=False, detail="")
    assert tier_of([good]) == "observe"
    assert tier_of([good, bad]) == "none"
    assert tier_of([good, Probe("c", ok=False, detail="", needed=False)]) == "observe"


def test_what_is_missing_comes_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_mount() -> Path:
        raise KernelError("no cgroup v2 is mounted", code="cgroup_missing", hint="mount it")

    def no_library() -> library.Library:
        raise KernelError(
            "libbpf.so.1 is not installed", code="libbpf_missing", hint="apt-get install libbpf1"
        )

    monkeypatch.setattr(_probe, "_BTF", tmp_path / "vmlinux")
    monkeypatch.setattr(_probe, "find_mount", no_mount)
    monkeypatch.setattr(_probe, "libbpf", no_library)
    monkeypatch.setattr(_probe, "_read", lambda path: "none [confidentiality]" if "lockdown" in path else "")
    found = {each.name: each for each in probe()}
    assert tier_of(list(found.values())) == "none"
    assert "CONFIG_DEBUG_INFO_BTF" in found["BTF"].hint
    assert found["cgroup v2"].hint == "mount it"
    assert found["libbpf"].hint == "apt-get install libbpf1"
    assert not found["lockdown"].ok
    assert found["tracefs"].detail == "not mounted, and not needed"
    # Without the library no program can be tried.
    assert "system calls" not in found


def test_other_system_is_told_that_only_linux_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (only,) = probe()
    assert (only.ok, tier_of([only])) == (False, "none")


def test_library_that_is_missing_or_too_old_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    library.libbpf.cache_clear()
    try:
        monkeypatch.setattr(library, "_NAMES", ("libnosuch.so.1",))
        with pytest.raises(KernelError, match="not installed"):
            library.libbpf()
        monkeypatch.setattr(library, "_NAMES", ("libc.so.6",))
        with pytest.raises(KernelError, match="too old"):
            library.libbpf()
    finally:
        library.libbpf.cache_clear()
