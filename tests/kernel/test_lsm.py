from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import KernelError
from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._lsm import (
    EXECUTE,
    GUARD,
    INODE,
    READ,
    RECORD,
    SHUT,
    WRITE,
    LsmEnforcer,
    Shut,
    kernel_device,
    shut_inodes,
)
from agentguard.kernel._probe import lsm_hooks
from agentguard.kernel._rules import KernelPolicy, PathRule
from guest_lab import run_guest, why_no_guest

if TYPE_CHECKING:
    from collections.abc import Mapping


def policy(*rules: PathRule) -> KernelPolicy:
    return KernelPolicy(1, "v", "agent", "enforce", rules, (), (), ())


def test_what_is_shut_is_named_by_inode_with_its_other_names(tmp_path: Path) -> None:
    folder, secret = tmp_path / "vault", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("x")
    (folder / "one").write_text("x")
    (folder / "two").write_text("x")
    os.link(folder / "two", tmp_path / "alias")
    found = shut_inodes(
        policy(
            PathRule(str(folder), ("read",), "deny", "a"),
            PathRule(str(secret), ("read", "write"), "require_approval", "b"),
            PathRule(str(secret), ("execute",), "deny", "c"),
            PathRule(str(tmp_path / "nothing"), ("read",), "deny", "d"),
            PathRule(str(tmp_path), ("read",), "allow", "e"),
        )
    )
    device = kernel_device(tmp_path.stat().st_dev)
    assert found == {
        (device, folder.stat().st_ino): Shut(READ, 1),
        (device, (folder / "two").stat().st_ino): Shut(READ, 1),
        (device, secret.stat().st_ino): Shut(READ | WRITE | EXECUTE, 2),
    }


def test_shapes_are_those_of_the_header() -> None:
    header = (Path(__file__).parents[2] / "bpf" / "lib" / "lsm.h").read_text()
    assert (GUARD.size, INODE.size, SHUT.size, RECORD.size) == (8, 16, 8, 72 - 8)
    assert f"sizeof(struct ag_lsm_record) == {RECORD.size}" in header
    for name, value in (("READ", READ), ("WRITE", WRITE), ("EXECUTE", EXECUTE)):
        assert f"AG_{name}_ACCESS = {value}," in header


@pytest.mark.kernel
def test_kernel_that_refuses_says_what_it_takes(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    if not lsm_hooks().ok:
        with pytest.raises(KernelError, match="no BPF LSM programs") as caught:
            LsmEnforcer()
        assert caught.value.code in {"kernel_denied", "kernel_unsupported"}
        assert "CONFIG_BPF_LSM" in (caught.value.hint or "")
        return
    # One that does not refuse holds what it is told, and lets go of it.
    group = Cgroup.make(f"test-{os.getpid()}-lsm")
    try:
        with LsmEnforcer() as enforcer:
            enforcer.hold(group, policy(PathRule(str(secret), ("read",), "deny", "a")))
            enforcer.release(group)
    finally:
        group.remove()


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.skipif(bool(why_no_guest()), reason=why_no_guest() or "-")
def test_every_attempt_is_refused_in_a_guest_and_its_neighbour_is_not(tmp_path: Path) -> None:
    account: Mapping[str, Any] = run_guest(tmp_path)
    assert "error" not in account, account
    unguarded, guarded, benign = account["unguarded"], account["guarded"], account["benign"]
    assert {name for name, said in unguarded.items() if said != "done"} == set()
    assert {
        name for name, said in guarded.items() if said not in {"Operation not permitted", "Permission denied"}
    } == set()
    assert {name: said for name, said in benign.items() if said != "done"} == {}
    assert len(guarded) >= 28
    assert (account["outside"], account["released"]) == ("done", "done")
    refused = "Operation not permitted"
    assert account["outlived"] == {
        "before": "done",
        "enforcer killed": refused,
        "neighbour": "done",
        "cleaned too early": [],
        "taken over": True,
        "still shut": refused,
        "opened by the next": "done",
        "vault": refused,
        "removed": "done",
        "let go": refused,
        "cleaned": ["outlived"],
        "pins": False,
    }
    # There, the controller of processes is of version 2.
    assert account["forks"] == {"made": 5, "told": [1], "group": "/sys/fs/cgroup/agentguard/run-1-forks"}
