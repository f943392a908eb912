from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentguard.core import KernelError
from agentguard.kernel._rules import KernelEffect, KernelPolicy, PathAccess, PathRule
from agentguard.kernel.jail import _plan
from agentguard.kernel.jail._landlock import RIGHTS, Grant
from agentguard.kernel.jail._namespaces import Mask
from agentguard.kernel.jail._plan import OWN_RULE, decide, make_plan, resolve

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE = RIGHTS["read"], RIGHTS["write"]


def rule(path: Path | str, *access: PathAccess, effect: KernelEffect = "allow", name: str = "r") -> PathRule:
    return PathRule(str(path), access, effect, name)


def policy(*rules: PathRule) -> KernelPolicy:
    return KernelPolicy(1, "", "", "enforce", rules, (), (), ())


def granted(plan: _plan.Plan, path: Path | str) -> int:
    """Return the rights that Landlock would give: those of all grants above."""
    rights = 0
    for each in plan.grants:
        if _plan.is_within(str(path), each.path):
            rights |= each.rights
    return rights


def test_denied_file_is_carved_out_and_its_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "etc" / "deep").mkdir(parents=True)
    for name in ("etc/shadow", "etc/passwd", "etc/deep/key", "etc/deep/note"):
        (tmp_path / name).write_text("x")
    plan = make_plan(
        policy(
            rule(tmp_path, "read"),
            rule(tmp_path / "etc/shadow", "read", effect="deny"),
            rule(tmp_path / "etc/deep/key", "read", effect="deny"),
        ),
        can_mask=True,
        sockets="none",
    )
    file = RIGHTS["read"] & ~(1 << 3)
    assert granted(plan, tmp_path / "etc/passwd") & file == file
    assert granted(plan, tmp_path / "etc/deep/note") & file == file
    assert not granted(plan, tmp_path / "etc/shadow") & file
    assert not granted(plan, tmp_path / "etc/deep/key") & file
    assert plan.masks == ()
    assert plan.marks == (str(tmp_path / "etc/deep/key"), str(tmp_path / "etc/shadow"))


def test_neighbour_that_is_the_same_file_is_not_granted(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "twin").hardlink_to(tmp_path / "secret")
    plan = make_plan(
        policy(rule(tmp_path, "read"), rule(tmp_path / "secret", "read", effect="deny")),
        can_mask=True,
        sockets="none",
    )
    assert not granted(plan, tmp_path / "twin") & 1 << 2


@pytest.mark.parametrize(
    ("access", "readable"), [(("read", "write"), False), (("write",), True)], ids=["hidden", "fixed"]
)
def test_within_what_may_be_changed_it_is_masked(
    tmp_path: Path,
    access: tuple[PathAccess, ...],
    readable: bool,  # noqa: FBT001 - a column
) -> None:
    shut = tmp_path / "policies"
    shut.mkdir()
    made = policy(rule(tmp_path, "read", "write"), PathRule(str(shut), access, "deny", "r"))
    plan = make_plan(made, can_mask=True, sockets="none")
    assert plan.masks == (Mask(str(shut), readable),)
    assert Grant(str(tmp_path), WRITE) in plan.grants
    assert plan.notes == ()


def test_without_mounts_nothing_new_is_made_beside_it_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "src").mkdir()
    made = policy(rule(tmp_path, "read", "write"), rule(tmp_path / "policies", "write", effect="deny"))
    plan = make_plan(made, can_mask=False, sockets="none")
    assert granted(plan, tmp_path / "src") & WRITE == WRITE
    assert not granted(plan, tmp_path / "new") & WRITE
    assert not granted(plan, tmp_path / "policies") & WRITE
    assert "nothing new can be made" in plan.notes[0]


@pytest.mark.parametrize("can_mask", [True, False])
def test_other_name_of_a_denied_file_is_shut_with_it(tmp_path: Path, can_mask: bool) -> None:  # noqa: FBT001 - a column
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    (home / "key").write_text("x")
    (work / "innocent").hardlink_to(home / "key")
    (work / "own").write_text("x")
    made = policy(rule(work, "read", "write"), rule(home, "read", effect="deny"))
    plan = make_plan(made, can_mask=can_mask, sockets="none")
    if can_mask:
        assert Mask(str(work / "innocent"), readable=False) in plan.masks
    else:
        assert not granted(plan, work / "innocent") & 1 << 2
        assert granted(plan, work / "own") & 1 << 2
    assert "another name" in plan.notes[0]


def test_too_much_to_look_for_other_names_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_plan, "_MAX_LINK_SEARCH", 1)
    for name in ("key", "a", "b"):
        (tmp_path / name).write_text("x")
    (tmp_path / "other").hardlink_to(tmp_path / "key")
    made = policy(rule(tmp_path, "read", "write"), rule(tmp_path / "key", "read", effect="deny"))
    with pytest.raises(KernelError, match="too large") as caught:
        make_plan(made, can_mask=True, sockets="none")
    assert caught.value.code == "policy_unenforceable"


def test_too_many_masks_and_too_large_a_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
    made = policy(
        rule(tmp_path, "read", "write"),
        *(rule(tmp_path / name, "read", effect="deny") for name in ("a", "b")),
    )
    monkeypatch.setattr(_plan, "_MAX_MASKS", 1)
    with pytest.raises(KernelError, match="2 files would have to be hidden"):
        make_plan(made, can_mask=True, sockets="none")
    monkeypatch.setattr("agentguard.kernel.jail._landlock._MAX_CARVED", 0)
    with pytest.raises(KernelError, match="cannot be carved out"):
        make_plan(made, can_mask=False, sockets="none")


def test_agentguards_own_is_not_asked_about_at_each_open(tmp_path: Path) -> None:
    plan = make_plan(
        policy(PathRule(str(tmp_path), ("read",), "deny", OWN_RULE)), can_mask=True, sockets="none"
    )
    assert plan.marks == ()


def test_rule_about_a_symbolic_link_is_about_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = resolve(policy(rule(tmp_path / "link", "read", effect="deny", name="linked")))
    assert {each.path for each in found} == {str(tmp_path / "real"), str(tmp_path / "link")}


@pytest.mark.parametrize(
    ("path", "access", "expected"),
    [
        ("/a/x", "read", "tree"),
        ("/a/b/x", "read", "deeper"),
        ("/a/b/c/x", "read", "again"),
        ("/a/tie/x", "read", "no"),
        ("/a/x", "write", None),
        ("/ab", "read", None),
    ],
)
def test_deepest_rule_decides_and_of_two_the_one_that_forbids(
    path: str, access: PathAccess, expected: str | None
) -> None:
    found = resolve(
        policy(
            rule("/a", "read", name="tree"),
            rule("/a/b", "read", effect="deny", name="deeper"),
            rule("/a/b/c", "read", name="again"),
            rule("/a/tie", "read", name="yes"),
            rule("/a/tie", "read", effect="require_approval", name="no"),
        )
    )
    decided = decide(found, path, access)
    assert (decided.rule if decided else None) == expected


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    plan = make_plan(policy(rule(tmp_path / "nothing", "read")), can_mask=True, sockets="none")
    assert plan.grants == ()
    assert os.path.lexists(tmp_path)
