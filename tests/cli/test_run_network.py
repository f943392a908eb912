"""`agentguard run --enforce` with a name that is allowed, as a process of its own: by programs, and in a namespace."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli import _approve
from agentguard.cli._network import Network
from agentguard.core import KernelError
from agentguard.kernel.egress import Answer, Denial
from agentguard.kernel.jail._landlock import abi
from command_line import environment, sidecar, wait_for
from egress_lab import Site, Zone, policy
from kernel_lab import why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_line import Command

kernel = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]
AGENT = """
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), 5) as s:
            s.sendall(b"GET / HTTP/1.1\\r\\nHost: " + host.encode() + b"\\r\\nConnection: close\\r\\n\\r\\n")
            print(s.recv(500).split(b"\\r\\n")[-1].decode().strip())
    except OSError as error:
        print("failed:", error.strerror)
"""
GOOD = "correct horse battery"
MAIN = "import sys; from agentguard.cli import main; "
BRIDGED = "import agentguard.cli._network as network; network._has_programs = lambda: False; "


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture(scope="module")
def zone() -> Iterator[Zone]:
    made = Zone()
    for name in ("api.example.com", "other.example.com"):
        made.records[name, "A"] = ["127.0.0.1"]
    yield made
    made.close()


def run(
    agentguard: Command, zone: Zone, how: str, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    settings = {
        "AGENTGUARD_EGRESS_RESOLVERS": f"127.0.0.1:{zone.place[1]}",
        "AGENTGUARD_EGRESS_PRIVATE": "127.0.0.0/8",
    }
    code = (BRIDGED if how == "namespace" else "") + MAIN + "sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "run", *arguments],
        cwd=agentguard.folder, env={**environment(), **settings}, capture_output=True, text=True, timeout=60, check=False,
        **options,
    )  # fmt: skip


def pending(agentguard: Command) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = agentguard("approvals", "list", "--state", "pending", "--json").json()
    return found


@pytest.mark.parametrize("how", ["programs", "namespace"])
class TestRun:
    pytestmark = kernel

    def test_allowed_name_is_reached_and_another_is_told(
        self, agentguard: Command, zone: Zone, site: Site, how: str
    ) -> None:
        target = agentguard.folder / "report.json"
        done = run(
            agentguard, zone, how, "--enforce", "--allow-domain", f"api.example.com:{site.port}",
            "--report", "json", "--report-to", str(target), "--",
            sys.executable, "-I", "-S", "-c", AGENT, str(site.port), "api.example.com", "evil.example.com",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = done.stdout.splitlines()
        assert said[0] == "you asked for api.example.com"
        assert said[1].startswith("failed:")
        assert "denied: dns evil.example.com" in done.stderr
        assert "to allow it: --allow-domain evil.example.com" in done.stderr
        assert ("tier T2" if how == "programs" else "tier T1") in done.stderr
        report = json.loads(target.read_text())
        assert ("api.example.com", site.port) in {(each["host"], each["port"]) for each in report["hosts"]}
        assert {"api.example.com", "evil.example.com"} <= {each["name"] for each in report["names"]}
        jailed = next(each for each in agentguard.records() if each.get("phase") == "jailed")
        assert jailed["self_test"]["network: look up a name that no rule allows"] is True
        denied = [each for each in agentguard.records() if each.get("phase") == "denied"]
        assert "dns evil.example.com" in {each["what"] for each in denied}

    def test_person_at_the_terminal_allows_what_no_rule_does(
        self, agentguard: Command, zone: Zone, site: Site, how: str
    ) -> None:
        ours, theirs = pty.openpty()
        # Two questions: a name that is allowed for the run, another one that is not.
        os.write(ours, b"r\nd\n")

        def take_terminal() -> None:
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))

        done = run(
            agentguard, zone, how, "--mode", "freeze", "--allow-domain", f"x.example:{site.port}", "--",
            sys.executable, "-I", "-S", "-c", AGENT, str(site.port), "api.example.com", "other.example.com", "api.example.com",
            preexec_fn=take_terminal, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(ours)
        assert done.stdout.splitlines()[0] == "you asked for api.example.com", done.stderr
        assert done.stdout.splitlines()[1].startswith("failed:")
        assert done.stdout.splitlines()[2] == "you asked for api.example.com"

    def test_project_s_people_decide_on_a_name_while_the_agent_is_frozen(
        self, agentguard: Command, zone: Zone, site: Site, how: str
    ) -> None:
        assert agentguard("people", "add", "dana", "--role", "approver", stdin=f"{GOOD}\n").code == 0
        agentguard.write(
            "policies/ask.yaml",
            "version: 1\nrules:\n"
            "  - {id: ask-first, effect: require_approval, actions: [net.connect], resources: ['host:*.example.com:*']}\n",
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = agentguard.folder / "agentguard.yaml"
        config.write_text(config.read_text() + f"server: {{port: {port}}}\n")
        ended: list[subprocess.CompletedProcess[str]] = []

        def go() -> None:
            ended.append(
                run(
                    agentguard, zone, how, "--mode", "freeze", "--allow-domain", f"x.example:{site.port}", "--",
                    sys.executable, "-I", "-S", "-c", AGENT, str(site.port), "api.example.com", "other.example.com",
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )
            )  # fmt: skip

        with sidecar(agentguard.folder, "--port", str(port)) as up:
            ran = agentguard(
                "people", "login", "dana", "--url", up.url, "--password-stdin", stdin=f"{GOOD}\n"
            )
            assert ran.code == 0, ran.err
            runner = threading.Thread(target=go)
            runner.start()
            seen = []
            # The name, then the port that is not the one that it was looked up for; of the other the name is enough.
            for word in ("approve", "approve", "deny"):
                (asked,) = wait_for(lambda: pending(agentguard), 30)
                seen.append(asked["resource"])
                assert agentguard("approvals", word, asked["id"]).code == 0
            runner.join(60)
        (done,) = ended
        assert seen == [
            "host:api.example.com:443",
            f"host:api.example.com:{site.port}",
            "host:other.example.com:443",
        ]
        assert done.stdout.splitlines()[0] == "you asked for api.example.com", done.stderr
        assert done.stdout.splitlines()[1].startswith("failed:")
        assert "the agent is frozen and wants dns api.example.com, for port 443" in done.stderr


class TestWarn:
    pytestmark = kernel

    def test_mode_that_warns_tells_where_the_agent_would_not_get_to(
        self, agentguard: Command, zone: Zone
    ) -> None:
        agentguard.write(
            "policies/net.yaml",
            "version: 1\nrules:\n  - {id: one, effect: allow, actions: [net.connect], resources: ['host:192.0.2.7:9']}\n",
        )
        code = (
            "import socket\nfor host in ('192.0.2.7', '192.0.2.8'):\n"
            "    s = socket.socket(); s.setblocking(False); s.connect_ex((host, 9)); s.close()\n"
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"
        )
        done = run(
            agentguard,
            zone,
            "programs",
            "--mode",
            "warn",
            "-p",
            "deploy-agent",
            "--",
            "/usr/bin/python3",
            "-Ic",
            code,
        )
        assert done.returncode == 0, done.stderr
        told = [each for each in done.stderr.splitlines() if each.startswith("would be denied: tcp ")]
        assert len(told) == 1, done.stderr
        assert told[0].startswith("would be denied: tcp 192.0.2.8:9 (python3 ")
        assert "to allow it: {effect: allow, actions: [net.connect]" in told[0]


def test_profile_without_a_network_refuses_names(agentguard: Command) -> None:
    ran = agentguard(
        "run", "--enforce", "--profile", "offline", "--allow-domain", "a.example", "--", "/bin/true"
    )
    assert ran.code == 2
    assert "this profile has not" in ran.err


def test_option_that_is_no_domain_is_refused(agentguard: Command) -> None:
    ran = agentguard("run", "--enforce", "--allow-domain", "1.2.3.4", "--", "/bin/true")
    assert ran.code != 0
    assert "`1.2.3.4` is no domain" in ran.err
    assert "net.connect" in ran.err


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"o\n", Answer.ONCE),
        (b"what\nr\n", Answer.RUN),
        (b"D\n", Answer.DENY),
        (b"k\n", Answer.KILL),
        (b"a\nb\nc\n", Answer.DENY),
    ],
)
def test_answer_at_the_terminal_is_understood_or_denies(typed: bytes, answer: Answer) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    said = _approve.ask_on_terminal(
        Denial("connect", "tcp a.example:443", "no rule\x1b allows it", pid=7), os.ttyname(theirs)
    )
    shown = b""
    # What was typed is shown too, by itself.
    while b"agent? " not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    assert said is answer
    assert b"tcp a.example:443" in shown
    assert b"\x1b" not in shown


def test_where_there_is_no_terminal_nothing_is_allowed(tmp_path: Path) -> None:
    assert (
        _approve.ask_on_terminal(Denial("name", "dns a.example", "why"), str(tmp_path / "none"))
        is Answer.DENY
    )
    (tmp_path / "empty").write_text("")
    assert _approve.ask_on_terminal(Denial("name", "dns a.example", "why"), "/dev/null") is Answer.DENY


def test_network_that_cannot_be_put_on_stops_the_run() -> None:
    network = Network(policy("a.example"), has_network=True, by_programs=True, on_denial=lambda _: None)
    network.sockets = "guarded"
    with pytest.raises(KernelError) as caught:
        network.begin(None)
    assert caught.value.code == "jail_failed"
    network.close()


def test_without_names_or_addresses_nothing_leads_out() -> None:
    for has_network, sockets in ((True, "loopback"), (False, "none")):
        network = Network(policy(), has_network=has_network, by_programs=True, on_denial=lambda _: None)
        network.begin(None)
        network.arm()
        assert (network.sockets, network.more(), network.is_bridged) == (sockets, [], False)
        network.close()
