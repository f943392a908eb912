from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.kernel._layout import Kind
from agentguard.kernel._rules import KernelPolicy, PathRule
from agentguard.kernel._seen import Seen
from agentguard.kernel.jail import Denial, Denied, Explainer
from agentguard.kernel.jail._plan import resolve

if TYPE_CHECKING:
    from pathlib import Path


def explainer(*rules: PathRule, enforced: bool = True) -> tuple[Explainer, list[Denial]]:
    told: list[Denial] = []
    policy = KernelPolicy(1, "", "", "enforce", rules, (), (), ())
    return Explainer(resolve(policy), told.append, enforced=enforced), told


def seen(kind: Kind, path: str, *, ret: int = -errno.EACCES, **more: Any) -> Seen:
    return Seen(kind=kind, time_ns=0, cgroup=1, pid=9, start_ns=0, ret=ret, path=path, comm="cat", **more)


@pytest.mark.parametrize(
    ("rule", "reason", "allow"),
    [
        (None, "no rule allows it", "--ro {}"),
        ("profile.secrets", "it may hold secrets", "--ro {}"),
        ("agentguard.own", "it is AgentGuard's own", ""),
        ("shipped.path-secret", "rule `shipped.path-secret`", "`policy: {{without: [shipped.path-secret]}}` in agentguard.yaml, and --ro {}"),
        ("my-rule", "rule `my-rule`", "change rule `my-rule`"),
    ],
)  # fmt: skip
def test_person_is_told_by_which_rule_and_what_would_allow_it(
    tmp_path: Path, rule: str | None, reason: str, allow: str
) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    rules = () if rule is None else (PathRule(str(path), ("read",), "deny", rule),)
    explain, told = explainer(*rules)
    explain.note_seen(seen(Kind.OPEN, str(path)))
    expected = allow.format(path)
    assert told == [Denial("file", f"read {path}", reason, rule or "", expected, "cat")]
    more = f"; to allow it: {expected}" if expected else ""
    assert told[0].sentence() == f"denied: read {path} (cat): {reason}{more}"


def test_rule_that_asks_for_an_approval_says_so(tmp_path: Path) -> None:
    explain, told = explainer(PathRule(str(tmp_path), ("read",), "require_approval", "r"))
    explain.note_seen(seen(Kind.OPEN, f"{tmp_path}/x"))
    assert told[0].reason == "rule `r`, which asks for an approval"
    assert told[0].is_grave


def test_ordinary_permissions_of_a_file_are_not_ours(tmp_path: Path) -> None:
    explain, told = explainer(PathRule(str(tmp_path), ("read",), "allow", "r"))
    explain.note_seen(seen(Kind.OPEN, f"{tmp_path}/x"))
    explain.note_seen(seen(Kind.OPEN, "relative"))
    explain.note_seen(seen(Kind.OPEN, "/elsewhere", ret=-errno.EMFILE))
    explain.note_seen(seen(Kind.OPEN, "/elsewhere", ret=3))
    assert told == []


def test_each_thing_is_told_once_and_counted_each_time(tmp_path: Path) -> None:
    explain, told = explainer()
    for _ in range(3):
        explain.note_seen(seen(Kind.UNLINK, f"{tmp_path}/x"))
    assert [each.target for each in told] == [f"write {tmp_path}/x"]
    assert explain.count == 3


def test_hidden_folder_is_told_though_nothing_is_there_for_the_agent(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/log").write_text("x")
    explain, told = explainer(PathRule(str(tmp_path / "audit"), ("read",), "deny", "agentguard.own"))
    explain.note_seen(seen(Kind.OPEN, f"{tmp_path}/audit/log", ret=-errno.ENOENT))
    explain.note_seen(seen(Kind.OPEN, f"{tmp_path}/nothing", ret=-errno.ENOENT))
    assert [each.target for each in told] == [f"read {tmp_path}/audit/log"]


def test_both_ends_of_a_rename_are_looked_at(tmp_path: Path) -> None:
    explain, told = explainer(PathRule(str(tmp_path / "a"), ("write",), "allow", "r"))
    explain.note_seen(seen(Kind.RENAME, f"{tmp_path}/a/x", ret=-errno.EXDEV, other=f"{tmp_path}/b/x"))
    assert [each.target for each in told] == [f"write {tmp_path}/b/x"]


def test_without_a_jail_what_would_be_denied_is_told(tmp_path: Path) -> None:
    explain, told = explainer(PathRule(str(tmp_path), ("read",), "allow", "r"), enforced=False)
    explain.note_seen(seen(Kind.OPEN, f"{tmp_path}/x", ret=3))
    explain.note_seen(seen(Kind.EXEC, f"{tmp_path}/x", ret=0))
    explain.note_seen(seen(Kind.OPEN, "/etc/shadow", ret=-errno.EACCES))
    assert [each.sentence() for each in told] == [
        f"would be denied: execute {tmp_path}/x (cat): no rule allows it; to allow it: --ro {tmp_path}"
    ]


@pytest.mark.parametrize(
    ("denied", "sentence", "grave"),
    [
        (Denied("seccomp", "ptrace", "", "strace"), "denied: ptrace (strace): it takes over other processes", True),
        (
            Denied("seccomp", "socket", "internet, stream", "curl"),
            "denied: a socket (internet, stream) (curl): no such socket leads out of the jail; to allow it: --allow-domain NAME, which leads through the proxy",
            False,
        ),
        (Denied("seccomp", "socket", "packet, raw", "x"), "denied: a socket (packet, raw) (x): no such socket leads out of the jail", False),
        (Denied("fanotify", "/k", "", "x"), "denied: read /k (x): rule `r`; to allow it: change rule `r`", True),
        (
            Denied("seccomp", "memfd_create", "a file in memory that could be run", "x"),
            "denied: memfd_create (a file in memory that could be run) (x): no agent needs it",
            True,
        ),
    ],
)  # fmt: skip
def test_what_the_supervisor_refused_is_told(denied: Denied, sentence: str, grave: bool) -> None:  # noqa: FBT001 - a column
    explain, told = explainer(PathRule("/k", ("read",), "deny", "r"))
    explain.note_denied(denied)
    assert (told[0].sentence(), told[0].is_grave) == (sentence, grave)
