"""From what was seen to an account, a report, events and a learned policy, with a decider that knows one rule."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import Decision, Effect, EventKind, Principal
from agentguard.kernel import Check, Ended, Judge, Report, Tally, Traffic, event_of, propose, tell, to_html
from agentguard.kernel._dns import DnsMessage
from agentguard.kernel._layout import Flag, Kind
from agentguard.kernel._learn import FOLD_FROM, fold
from agentguard.kernel._requests import Wish
from agentguard.kernel._seen import Address, Seen
from agentguard.policy import parse_policies

if TYPE_CHECKING:
    from agentguard.core import Request

TCP = Address("inet", "192.0.2.1", 443, "tcp")
UDP = Address("inet", "192.0.2.53", 53, "udp")


class OneRule:
    """Denies what names a secret; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def decide(self, request: Request, *, trace: bool = False) -> Decision:
        del trace
        self.asked.append(request)
        effect = Effect.DENY if "secret" in request.resource else Effect.ALLOW
        return Decision(
            effect, "the rule", request.principal.id, request.action, request.resource, rule="one"
        )


def seen(kind: Kind, **fields: Any) -> Seen:
    return Seen(kind, **{"time_ns": 1, "cgroup": 1, "pid": 7, "start_ns": 70, **fields})


def account(*things: Seen, traffic: tuple[Traffic, ...] = ()) -> tuple[Tally, OneRule]:
    rule = OneRule()
    decider: Any = rule  # of a decider's methods only this one is asked
    tally = Tally(Judge(decider, principal=Principal("agent"), run="r"))
    for each in things:
        tally.note(each)
    tally.note_traffic(traffic)
    return tally, rule


def report_of(tally: Tally, **facts: Any) -> Report:
    ended = Ended(0, 1.5, 0, facts.pop("drops", {}), 0)
    return tell(
        tally, ended, run="r", principal="agent", command=["x", "<b>"], started=datetime.now(UTC), tier="observe",
        decided_by="process", checks=[Check("files", ok=True, detail="seen", needed=True)], missing={"uring": "no"}, **facts,
    )  # fmt: skip


def test_same_thing_is_decided_once_and_the_strictest_stays() -> None:
    tally, rule = account(
        seen(Kind.OPEN, path="/secret"), seen(Kind.OPEN, path="/secret"), seen(Kind.OPEN, path="/secret", a0=1),
        seen(Kind.OPEN, path="/plain"),
    )  # fmt: skip
    assert [each.action for each in rule.asked] == ["file.read", "file.write", "file.read"]
    assert (tally.files["/secret"].effect, tally.files["/secret"].access) == (Effect.DENY, ["read", "write"])
    assert tally.files["/plain"].effect is Effect.ALLOW
    assert rule.asked[0].context.attributes == {"pep": "kernel", "observed": True}


def test_what_was_cut_is_denied_without_asking() -> None:
    tally, rule = account(seen(Kind.EXEC, path="/bin/x", argv=("x",), flags=Flag.TRUNCATED))
    assert rule.asked == []
    assert tally.programs["/bin/x"].effect is Effect.DENY


def test_peer_is_named_by_the_answer_and_counts_bytes() -> None:
    tally, _ = account(
        seen(Kind.DNS, dns=DnsMessage("api.test", "A", is_answer=False)),
        seen(Kind.DNS, dns=DnsMessage("api.test", "A", is_answer=True, addresses=("192.0.2.1",))),
        seen(Kind.CONNECT, address=TCP, ino=5, ret=-115),
        seen(Kind.CONNECT, address=TCP, ino=6, ret=-111),
        traffic=(Traffic(5, "", True, 2, 100, 1, 40), Traffic(99, "", True, 1, 1, 1, 1)),
    )
    (host,) = tally.hosts.values()
    assert (host.host, host.addresses, host.connections, host.failed) == ("api.test", ["192.0.2.1"], 2, 1)
    assert (host.sent_bytes, host.received_bytes) == (40, 100)
    assert (tally.names["api.test"].asked, tally.names["api.test"].addresses) == (1, ["192.0.2.1"])


def test_datagram_socket_that_only_asks_for_a_route_reaches_nobody() -> None:
    connect = seen(Kind.CONNECT, address=UDP, ino=5)
    assert account(connect)[0].hosts == {}
    tally, _ = account(connect, traffic=(Traffic(5, "", True, 0, 0, 1, 0),))
    assert [(each.host, each.connections) for each in tally.hosts.values()] == [("192.0.2.53", 1)]


def test_files_have_their_bytes_and_other_sockets_are_no_hosts() -> None:
    tally, _ = account(
        seen(Kind.OPEN, path="/a"),
        seen(Kind.CONNECT, address=Address("unix", "/run/x.sock", 0, "unix")),
        seen(Kind.CONNECT, address=Address("netlink", "")),
        seen(Kind.CONNECT),
        seen(Kind.DNS),
        traffic=(Traffic(1, "/a", False, 3, 30, 0, 0), Traffic(2, "/unknown", False, 1, 1, 1, 1)),
    )
    assert (tally.files["/a"].read_bytes, sorted(tally.files), tally.hosts) == (30, ["/a", "/run/x.sock"], {})


def test_signals_within_the_run_are_its_own_business() -> None:
    tally, rule = account(
        seen(Kind.FORK, a0=8, a1=80), seen(Kind.SIGNAL, a0=8, a1=15), seen(Kind.SIGNAL, a0=99, a1=15)
    )
    assert [each.resource for each in rule.asked] == ["process:99"]
    assert tally.tree.started == 2


def test_lists_have_an_end_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.kernel._tally.MAX_FILES", 2)
    tally, rule = account(*(seen(Kind.OPEN, path=f"/{number}") for number in range(4)))
    assert (len(tally.files), tally.left_out, len(rule.asked)) == (2, 2, 4)
    assert not report_of(tally).is_complete


def test_too_many_different_things_are_denied_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentguard.kernel._judge.MAX_JUDGED", 1)
    tally, rule = account(seen(Kind.OPEN, path="/a"), seen(Kind.OPEN, path="/b"))
    assert len(rule.asked) == 1
    assert tally.files["/b"].effect is Effect.DENY


def test_without_a_decider_nothing_has_an_effect() -> None:
    tally = Tally(Judge(None, principal=Principal("agent"), run="r"))
    tally.note(seen(Kind.OPEN, path="/a"))
    assert tally.files["/a"].effect is None
    assert report_of(tally).would_be == {}


def full_report(**facts: Any) -> Report:
    tally, _ = account(
        seen(Kind.OPEN, path="/etc/<script>"), seen(Kind.OPEN, path="/secret", a0=1), seen(Kind.UNLINK, path="/b"),
        seen(Kind.EXEC, path="/bin/x", argv=("x", "<i>")), seen(Kind.CONNECT, address=TCP),
        seen(Kind.DNS, dns=DnsMessage("a.test", "A", is_answer=False)), seen(Kind.MEMFD, path="m", ret=-1),
    )  # fmt: skip
    return report_of(tally, **facts)


def test_report_puts_the_strictest_first_and_counts_by_effect() -> None:
    report = full_report()
    assert [each.path for each in report.files] == ["/secret", "/b", "/etc/<script>"]
    assert report.would_be == {"allow": 6, "deny": 1}
    assert {each.klass for each in report.classes} == {"ordinary", "config"}
    assert report.classes[0].strictest is Effect.DENY
    assert [(each.what, each.refused, each.effect) for each in report.attempts] == [
        ("memfd", 1, Effect.ALLOW)
    ]
    assert report.is_complete
    assert json.loads(msgspec.json.encode(report))["files"][0]["effect"] == "deny"


def test_decision_that_the_log_did_not_take_is_counted() -> None:
    class Full(OneRule):
        def decide(self, request: Request, *, trace: bool = False) -> Decision:
            decision = super().decide(request, trace=trace)
            return msgspec.structs.replace(decision, effect=Effect.DENY, stage="audit")

    decider: Any = Full()
    judge = Judge(decider, principal=Principal("agent"), run="r")
    assert judge.verdict(Wish("file.read", "file:/a", {"path": "/a"})) is not None
    assert decider.asked[0].observed
    assert judge.unrecorded == 1
    assert "1 decisions are not in the audit log" in to_html(full_report(unrecorded=1))


def test_page_says_what_is_missing_and_escapes_everything() -> None:
    page = to_html(full_report(drops={"file": 3}, unseen=["all of it"]))
    for text in (
        "This account is not complete",
        "3 records of class file",
        "all of it",
        "uring: no",
        "&lt;script&gt;",
    ):
        assert text in page
    assert "<script" not in page
    assert "<i>" not in page
    assert to_html(full_report()).count("not complete") == 0


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (seen(Kind.OPEN, path="/a"), EventKind.FILE), (seen(Kind.CONNECT, address=TCP), EventKind.NET),
        (seen(Kind.EXEC, path="/a", other="b", argv=("x",), flags=Flag.TRUNCATED), EventKind.PROC),
        (seen(Kind.DNS, dns=DnsMessage("a", "A", is_answer=True)), EventKind.NET),
        (seen(Kind.PTRACE, a0=16, a1=1), EventKind.ALERT),
    ],
)  # fmt: skip
def test_event_is_the_same_however_often_it_is_made(what: Seen, kind: EventKind) -> None:
    tally, _ = account(what)
    made = [event_of(what, tally.tree, principal="agent", run="r", offset_ns=10**18) for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0].kind, made[0].session, made[0].time.year) == (kind, "r", 2001)
    assert msgspec.json.decode(msgspec.json.encode(made[0]), type=type(made[0])) == made[0]


def test_event_names_the_programs_above() -> None:
    child = seen(Kind.OPEN, pid=8, start_ns=80, path="/a")
    tally, _ = account(seen(Kind.EXEC, path="/bin/agent"), seen(Kind.FORK, a0=8, a1=80), child)
    made = event_of(child, tally.tree, principal="agent", run="r", offset_ns=0)
    assert (made.payload["program"], made.payload["parents"]) == ("/bin/agent", ["/bin/agent"])


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["file:/a/b"], ["file:/a/b"]),
        (["file:/proc/12/stat", "file:/proc/13/stat"], ["file:/proc/*/stat"]),
        (["file:/tmp/tmpab12cd34/x", "file:/tmp/tmpzz999999"], ["file:/tmp/*", "file:/tmp/**"]),
        (["file:/tmp/mine"], ["file:/tmp/mine"]),
        ([f"file:/srv/lib/{n}" for n in range(FOLD_FROM)], ["file:/srv/lib/*"]),
        ([f"file:/srv/lib/{n}" for n in range(FOLD_FROM - 1)], [f"file:/srv/lib/{n}" for n in range(FOLD_FROM - 1)]),
        ([f"file:/srv/l/{d}/{n}" for d in range(FOLD_FROM) for n in range(FOLD_FROM)], ["file:/srv/l/**"]),
        ([f"file:/etc/{n}" for n in range(20)], sorted(f"file:/etc/{n}" for n in range(20))),
        ([f"file:/srv/.ssh/{n}" for n in range(20)], sorted(f"file:/srv/.ssh/{n}" for n in range(20))),
        (["process:12", "process:13"], ["process:*"]),
        (["process:/bin/x", "host:a.test:443"], ["host:a.test:443", "process:/bin/x"]),
    ],
)  # fmt: skip
def test_resources_are_folded_to_what_was_needed(paths: list[str], expected: list[str]) -> None:
    assert fold(paths) == expected


def test_proposal_can_be_compiled_and_leaves_out_what_fits_no_rule() -> None:
    wishes = [
        Wish("file.read", 'file:/a "b"', {}), Wish("file.read", "file:/star*", {}), Wish("process.exec", "process:/bin/x", {}),
        Wish("net.connect", "host:a.test:443", {"host": "a.test"}), Wish("file.read", "file:/cut", {}, known=False),
    ]  # fmt: skip
    proposal = propose(((wish, None) for wish in wishes), principal="My Agent\n", run="0123456789")
    rules = parse_policies(proposal.rules).rules
    assert [rule.id for rule in rules] == [
        "learned.my-agent.01234567.file.read", "learned.my-agent.01234567.net.connect",
        "learned.my-agent.01234567.process.exec",
    ]  # fmt: skip
    assert proposal.allowed_hosts == ("a.test",)
    assert proposal.skipped == ("file.read on file:/cut", "file.read on file:/star*")
    assert 'id: "process:/bin/x", type: process, sensitivity: internal' in proposal.inventory


def test_nothing_seen_is_an_empty_proposal() -> None:
    proposal = propose((), principal="a", run="r")
    assert parse_policies(proposal.rules).rules == ()
    assert proposal.inventory.endswith("resources: []\n")
