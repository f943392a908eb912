"""`agentguard worker approvals`, and projects whose approvals are elsewhere: sidecar, worker and servers are real."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from command_line import PROD, sidecar, wait_for

if TYPE_CHECKING:
    from approval_services import PostgresServer, RedisServer, Server
    from command_line import Command

GOOD = "correct horse battery"


def configure(agentguard: Command, text: str) -> None:
    path = agentguard.folder / "agentguard.yaml"
    path.write_text(f"{path.read_text()}\napprovals: {text}\n")


def open_one(agentguard: Command) -> str:
    decision = agentguard("check", *PROD, "--reason", "the pods hang", "--json").json()
    assert decision["effect"] == "require_approval", decision
    return str(decision["approval"])


def doctor(agentguard: Command) -> dict[str, dict[str, str]]:
    return {each["check"]: each for each in agentguard("doctor", "--json").json()}


def vote(agentguard: Command, approval: str) -> None:
    """Approve at a sidecar of one's own."""
    people = agentguard("people", "add", "anna", "--role", "approver", "--password-stdin", stdin=f"{GOOD}\n")
    assert people.code == 0, people.err
    with sidecar(agentguard.folder) as up:
        login = agentguard("people", "login", "anna", "--url", up.url, "--password-stdin", stdin=f"{GOOD}\n")
        assert login.code == 0, login.err
        voted = agentguard("approvals", "approve", approval, "--url", up.url)
        assert voted.code == 0, voted.err


def history(agentguard: Command, approval: str) -> list[str]:
    records = [each for each in agentguard.records() if each.get("approval") == approval]
    return [each["status"] for each in records if each["type"] == "approval"]


@pytest.mark.services
@pytest.mark.slow
def test_a_project_on_temporal_and_postgresql_from_the_question_to_its_use(
    agentguard: Command,
    temporal_server: Server,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPROVALS_URL", postgres_server.url)
    configure(
        agentguard,
        f"{{engine: temporal, store: postgres, url: env:APPROVALS_URL, temporal: {{address: '{temporal_server.url}'}}}}",
    )
    found = doctor(agentguard)
    assert found["approvals"]["state"] == "ok"
    assert found["temporal"]["hint"] == "agentguard worker approvals"
    with agentguard.spawn("worker", "approvals", "--json") as worker:
        assert worker.stdout is not None
        about = json.loads(worker.stdout.readline())
        assert about["address"] == temporal_server.url
        wait_for(lambda: doctor(agentguard)["temporal"]["state"] == "ok")
        approval = open_one(agentguard)
        vote(agentguard, approval)
        used = agentguard("check", *PROD, "--reason", "the pods hang", "--approval", approval, "--json")
        assert used.json()["effect"] == "allow", used.out
        again = agentguard("check", *PROD, "--reason", "the pods hang", "--approval", approval, "--json")
        assert again.json()["effect"] == "deny"
        wait_for(lambda: "dispatched" in history(agentguard, approval))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    shown = agentguard("approvals", "list", "--all", "--json").json()
    assert [each["state"] for each in shown] == ["consumed"]
    assert history(agentguard, approval)[:4] == ["opened", "voted", "approved", "consumed"]
    assert agentguard("audit", "verify").code == 0


@pytest.mark.services
def test_a_worker_ends_with_ctrl_c(agentguard: Command, temporal_server: Server) -> None:
    configure(agentguard, f"{{engine: temporal, temporal: {{address: '{temporal_server.url}'}}}}")
    with agentguard.spawn("worker", "approvals") as worker:
        assert worker.stdout is not None
        assert "stop it with Ctrl-C" in worker.stdout.readline()
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 0


@pytest.mark.services
@pytest.mark.slow
def test_a_project_on_redis_from_the_question_to_the_vote(
    agentguard: Command, redis_server: RedisServer
) -> None:
    (agentguard.folder / "redis-url").write_text(f"{redis_server.url}\n")
    configure(agentguard, "{store: redis, url: file:redis-url}")
    assert doctor(agentguard)["approvals"]["message"] == "kept in redis"
    approval = open_one(agentguard)
    vote(agentguard, approval)
    used = agentguard("check", *PROD, "--reason", "the pods hang", "--approval", approval, "--json")
    assert used.json()["effect"] == "allow"
    assert history(agentguard, approval)[:4] == ["opened", "voted", "approved", "consumed"]


@pytest.mark.services
def test_a_redis_that_can_forget_denies_and_doctor_says_so(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from approval_services import RedisServer, serving

    for server in serving(lambda: RedisServer(appendfsync="everysec"), "APPROVALS_URL"):
        assert isinstance(server, RedisServer)
        configure(agentguard, "{store: redis, url: env:APPROVALS_URL}")
        found = doctor(agentguard)["approvals"]
        assert found["state"] == "problem"
        assert "`appendfsync everysec`" in found["message"]
        decision = agentguard("check", *PROD, "--reason", "the pods hang", "--json").json()
        assert decision["effect"] == "deny"
        assert "nobody can be asked" in decision["reason"]


def test_an_address_that_is_nowhere_is_said(agentguard: Command) -> None:
    configure(agentguard, "{store: postgres, url: env:NOT_SET}")
    found = doctor(agentguard)["approvals"]
    assert found["state"] == "problem"
    assert found["hint"] == "put the address there, or correct `approvals.url`"
    assert "`env:NOT_SET`" in found["message"]


def test_a_project_whose_approvals_are_in_the_sidecar_needs_no_worker(agentguard: Command) -> None:
    ran = agentguard("worker", "approvals")
    assert ran.code == 3
    assert "run in the sidecar" in ran.err
    assert "Traceback" not in ran.err


def test_a_worker_without_its_server_says_so(agentguard: Command) -> None:
    configure(agentguard, "{engine: temporal, temporal: {address: '127.0.0.1:1'}}")
    ran = agentguard("worker", "approvals")
    assert ran.code != 0
    assert "Temporal at `127.0.0.1:1` cannot be reached" in ran.err
    assert doctor(agentguard)["temporal"]["state"] == "problem"
