"""Claim against truth: which deeds no decision speaks of, and which contradict one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.core import Event, EventKind
from agentguard.events import Truth

if TYPE_CHECKING:
    from collections.abc import Mapping

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
READ_REPORT = {"path.value": ("report.txt",), "path.access": ("read",)}
FACTS: dict[str, dict[str, Any]] = {
    "file:report.txt": READ_REPORT,
    "file:/srv/data/a.csv": {"path.value": ("/srv/data/a.csv",), "path.access": ("read",)},
    "file:/srv/data": {"path.value": ("/srv/data/",), "path.access": ("read",)},
    "file:/": {"path.value": ("/",), "path.access": ("read",)},
    "file:/srv/out.txt": {"path.value": ("/srv/out.txt",), "path.access": ("write",)},
    "https://api.example.com/v1": {"net.host": ("api.example.com",), "net.port": (443,)},
    "host:localhost:9000": {"net.host": ("localhost",), "net.port": (9000,)},
    "process:/usr/bin/git": {"shell.commands": ("git",), "shell.reads": (), "shell.writes": ()},
    "shell": {
        "shell.commands": ("cat", "python3"),
        "shell.reads": ("/srv/in.txt",),
        "shell.writes": ("out/x.txt",),
    },
}
_KINDS = {"file": EventKind.FILE, "net": EventKind.NET, "dns": EventKind.NET, "process": EventKind.PROC}


def truth(**more: Any) -> Truth:
    def facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
        return FACTS.get(record["resource"], {})

    return Truth(facts_of, own=frozenset({("localhost", 8787)}), **more)


def stamp(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def decision(
    resource: str, at: float = 0, *, effect: str = "allow", audit_id: str = "d1", **more: Any
) -> dict[str, Any]:
    context = {name: more.pop(name) for name in ("session", "attributes") if name in more}
    return {
        "type": "decision", "event_id": audit_id, "timestamp": stamp(at), "principal": "agent", "action": "tool@1",
        "resource": resource, "effect": effect, "context": context, **more,
    }  # fmt: skip


def deed(
    action: str, resource: str, at: float = 1, *, effect: str = "deny", rule: str = "", **more: Any
) -> Event:
    run, principal = more.pop("run", "run-1"), more.pop("principal", "agent")
    payload = {
        "action": action,
        "resource": resource,
        "effect": effect,
        "rule": rule,
        "pid": 7,
        "program": "/usr/bin/python3.11",
        **more,
    }
    kind = _KINDS[action.partition(".")[0]]
    return Event(f"e-{action}-{resource}-{at}", kind, START + timedelta(seconds=at), principal, run, payload)


def connect(host: str, port: int = 443, at: float = 1, **more: Any) -> Event:
    return deed(
        "net.connect",
        f"host:{host}:{port}",
        at,
        address=more.pop("address", "203.0.113.9"),
        port=port,
        **more,
    )


SHADOW = "shipped.path-account-file"
CASES: dict[str, tuple[list[dict[str, Any]], Event, tuple[str, str] | None]] = {
    "what was claimed was done": ([decision("file:report.txt")], deed("file.read", "file:/srv/u/report.txt"), None),
    "another file than the claimed one, which a rule names": (
        [decision("file:report.txt")], deed("file.read", "file:/etc/shadow", rule=SHADOW), ("contradicted", "critical"),
    ),
    "what is told late, when decisions of its time are forgotten": (
        [decision("file:report.txt")], deed("file.read", "file:/etc/shadow", rule=SHADOW, late=True), None,
    ),
    "another file than the claimed one": (
        [decision("file:report.txt")], deed("file.read", "file:/srv/u/notes.txt"), ("contradicted", "medium"),
    ),
    "another file, which the policy allows": (
        [decision("file:report.txt")], deed("file.read", "file:/srv/u/notes.txt", effect="allow"), None,
    ),
    "a name that only ends alike": (
        [decision("file:report.txt")], deed("file.read", "file:/srv/u/my-report.txt"), ("contradicted", "medium"),
    ),
    "a file of a claimed folder": ([decision("file:/srv/data")], deed("file.read", "file:/srv/data/b.csv"), None),
    "the root as a claim covers nothing": (
        [decision("file:/")], deed("file.read", "file:/etc/shadow", rule=SHADOW), ("contradicted", "critical"),
    ),
    "a claim to read does not cover writing": (
        [decision("file:/srv/data/a.csv")], deed("file.write", "file:/srv/data/a.csv"), ("contradicted", "medium"),
    ),
    "a claim to write covers reading": ([decision("file:/srv/out.txt")], deed("file.read", "file:/srv/out.txt"), None),
    "a temporary file beside what is written": (
        [decision("file:/srv/out.txt")], deed("file.write", "file:/srv/.out.txt.4f2a"), None,
    ),
    "libraries are read by every program": ([], deed("file.read", "file:/usr/lib/libz.so.1"), None),
    "a library that a rule names is not ordinary": (
        [], deed("file.read", "file:/usr/lib/secret.so", rule="own.rule"), ("undeclared", "high"),
    ),
    "a secret file without any decision": (
        [], deed("file.read", "file:/srv/u/.ssh/id_ed25519", rule="shipped.path-ssh-key"), ("undeclared", "high"),
    ),
    "a file that no rule names, without any decision": ([], deed("file.read", "file:/srv/u/notes.txt"), None),
    "another host than the claimed one": (
        [decision("https://api.example.com/v1")], connect("evil.example.net"), ("contradicted", "high"),
    ),
    "the claimed host": ([decision("https://api.example.com/v1")], connect("api.example.com"), None),
    "the claimed host at another port": (
        [decision("https://api.example.com/v1")], connect("api.example.com", 22), ("contradicted", "high"),
    ),
    "another host, which the policy allows": (
        [decision("https://api.example.com/v1")], connect("cdn.example.net", effect="allow"), ("contradicted", "medium"),
    ),
    "an allowed host without any claim of hosts": (
        [decision("file:report.txt")], connect("cdn.example.net", effect="allow"), None,
    ),
    "a host without any decision": ([], connect("evil.example.net"), ("undeclared", "medium")),
    "a name that is asked for without any decision": ([], deed("dns.resolve", "dns:x.evil.example.net"), ("undeclared", "medium")),
    "the claimed host's name": ([decision("https://api.example.com/v1")], deed("dns.resolve", "dns:api.example.com"), None),
    "this machine under another name": ([decision("host:localhost:9000")], connect("127.0.0.1", 9000, address="127.0.0.1"), None),
    "the door at which it asks us": ([], connect("127.0.0.1", 8787, address="127.0.0.1"), None),
    "the resolver": ([], connect("10.0.0.2", 53, address="10.0.0.2"), None),
    "a program without any decision": (
        [], deed("process.exec", "process:/usr/bin/curl", parents=["/usr/bin/python3.11"]), ("undeclared", "low"),
    ),
    "the program that was launched": ([], deed("process.exec", "process:/usr/bin/python3.11"), None),
    "the claimed program": (
        [decision("process:/usr/bin/git")], deed("process.exec", "process:/usr/bin/git", parents=["/usr/bin/python3.11"]), None,
    ),
    "what the claimed program starts": (
        [decision("process:/usr/bin/git")],
        deed("process.exec", "process:/usr/lib/git-core/git-remote-https", parents=["/usr/bin/git", "/usr/bin/python3.11"]), None,
    ),
    "the shell of a claimed command line": (
        [decision("shell")], deed("process.exec", "process:/usr/bin/dash", parents=["/usr/bin/python3.11"]), None,
    ),
    "a claimed program with its version": (
        [decision("shell")], deed("process.exec", "process:/usr/bin/python3.11", parents=["/usr/bin/dash"]), None,
    ),
    "another program than the claimed one": (
        [decision("process:/usr/bin/git")], deed("process.exec", "process:/usr/bin/nc", parents=["/usr/bin/python3.11"]), ("contradicted", "medium"),
    ),
    "a relative path of a command line": ([decision("shell")], deed("file.write", "file:/srv/job/out/x.txt"), None),
    "refused and done all the same": (
        [decision("file:/srv/data/a.csv", effect="deny")], deed("file.read", "file:/srv/data/a.csv"), ("refused", "critical"),
    ),
    "to be approved and done without": (
        [decision("file:/srv/data/a.csv", effect="require_approval")], deed("file.read", "file:/srv/data/a.csv", effect="allow"), ("refused", "critical"),
    ),
    "refused first and allowed then": (
        [decision("file:/srv/data/a.csv", effect="deny"), decision("file:/srv/data/a.csv", 0.5, audit_id="d2")],
        deed("file.read", "file:/srv/data/a.csv"), None,
    ),
    "before it was claimed": (
        [decision("file:/srv/data/a.csv", 5), decision("file:report.txt", 0, audit_id="d2")], deed("file.read", "file:/srv/data/a.csv", 1), ("contradicted", "medium"),
    ),
    "just before it was claimed, as clocks differ": (
        [decision("file:/srv/data/a.csv", 1.1)], deed("file.read", "file:/srv/data/a.csv", 1), None,
    ),
    "another file just before the claim": ([decision("file:report.txt", 1.1)], deed("file.read", "file:/srv/u/notes.txt", 1), None),
    "long after it was claimed": (
        [decision("https://api.example.com/v1")], connect("api.example.com", at=61), ("undeclared", "medium"),
    ),
    "after its outcome": (
        [decision("https://api.example.com/v1"), {"type": "outcome", "decision": "d1", "timestamp": stamp(2)}],
        connect("api.example.com", at=3), ("undeclared", "medium"),
    ),
    "before its outcome": (
        [decision("https://api.example.com/v1"), {"type": "outcome", "decision": "d1", "timestamp": stamp(2)}],
        connect("api.example.com", at=1.9), None,
    ),
    "another agent's claim": (
        [decision("https://api.example.com/v1")], connect("api.example.com", principal="other"), ("undeclared", "medium"),
    ),
    "the executor of its ticket": (
        [decision("https://api.example.com/v1", ticket={"aud": "runner"})], connect("api.example.com", principal="runner"), None,
    ),
    "a claim of another run": (
        [decision("https://api.example.com/v1", attributes={"claimed_run": "run-2"})], connect("api.example.com"), ("undeclared", "medium"),
    ),
    "a claim of this run": (
        [decision("https://api.example.com/v1", attributes={"claimed_run": "run-1", "claimed_pid": 7})], connect("api.example.com"), None,
    ),
    "what the kernel saw is no claim": (
        [decision("https://api.example.com/v1", attributes={"observed": True})], connect("api.example.com"), ("undeclared", "medium"),
    ),
    "what the kernel's gate holds or lets through": (
        [decision("https://api.example.com/v1", attributes={"pep": "kernel"}, effect="deny")], connect("api.example.com"), None,
    ),
    "what it lets through is no excuse for what was refused": (
        [decision("https://api.example.com/v1", effect="deny"), decision("https://api.example.com/v1", attributes={"pep": "kernel"}, audit_id="d2")],
        connect("api.example.com"), ("refused", "critical"),
    ),
    "what it has asked about accuses nobody": (
        [decision("https://api.example.com/v1", attributes={"pep": "kernel"})], connect("other.example.com"), ("undeclared", "medium"),
    ),
    "a rename's other action": ([], deed("process.signal", "process:12"), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_deed_after_decisions_is_judged(name: str) -> None:
    records, event, expected = CASES[name]
    subject = truth()
    for record in records:
        subject.note(record)
    alert = subject.judge(event)
    if expected is None:
        assert alert is None
    else:
        assert alert is not None
        assert (alert.payload["action"].partition(".")[2], alert.payload["severity"]) == expected


def test_alert_carries_its_evidence() -> None:
    subject = truth()
    subject.note(decision("file:report.txt", session="s-1"))
    event = deed("file.read", "file:/etc/shadow", rule=SHADOW, path="/etc/shadow", parents=["/bin/sh"])
    alert = subject.judge(event)
    assert alert is not None
    assert alert.event_id == f"{event.event_id}-truth"
    assert (alert.kind, alert.principal, alert.session) == (EventKind.ALERT, "agent", "run-1")
    payload = alert.payload
    assert payload["reason"] == "claimed `tool@1` of file:report.txt, but opened file:/etc/shadow"
    assert payload["done"] == {
        "action": "file.read", "event_id": event.event_id, "path": "/etc/shadow", "program": "/usr/bin/python3.11",
        "pid": 7, "parents": ["/bin/sh"],
    }  # fmt: skip
    assert payload["claims"] == [
        {"audit_id": "d1", "action": "tool@1", "resource": "file:report.txt", "effect": "allow"}
    ]
    assert (payload["sessions"], payload["would"], payload["rule"]) == (["s-1"], "deny", SHADOW)


def test_same_discrepancy_is_told_once_a_minute_for_each_run() -> None:
    subject = truth()
    told = [
        subject.judge(connect("evil.example.net", at=at, run=run)) is not None
        for at, run in ((0, "a"), (1, "a"), (1, "b"), (59, "a"), (61, "a"), (62, "a"))
    ]
    assert told == [True, False, True, False, True, False]


def test_address_is_known_by_the_names_that_the_run_looked_up() -> None:
    subject = truth()
    subject.note(decision("https://api.example.com/v1"))
    answer = {"what": "dns", "name": "API.example.com.", "addresses": ["203.0.113.9"]}
    assert subject.judge(Event("a", EventKind.NET, START, "agent", "run-1", answer)) is None
    assert subject.judge(connect("203.0.113.9")) is None
    assert subject.judge(connect("203.0.113.9", run="run-2")) is not None


def test_oldest_claims_make_room() -> None:
    subject = truth()
    subject.note(decision("https://api.example.com/v1"))
    for number in range(4096):
        subject.note(decision("file:report.txt", audit_id=f"d-{number}"))
    assert subject.judge(connect("api.example.com")) is not None
