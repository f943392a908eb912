"""`agentguard worker approvals`, and projects whose approvals are elsewhere: sidecar, worker and servers are real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from command_line import PROD, sidecar, wait_for
from egress_lab import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextlib.contextmanager
def tls_front(server: Server, context: ssl.SSLContext) -> Iterator[str]:
    """Take TLS at an address of its own, and hand what comes to the server, as a proxy before it does."""
    serving = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = server.url.rpartition(":")
        behind, to_it = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, to_it), pump(behind, writer))

    front = serving.run_until_complete(asyncio.start_server(take, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=serving.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{front.sockets[0].getsockname()[1]}"
    finally:
        serving.call_soon_threadsafe(serving.stop)
        thread.join()
        front.close()
        for task in asyncio.all_tasks(serving):
            task.cancel()
        serving.run_until_complete(asyncio.sleep(0))
        serving.close()


@pytest.mark.services
def test_temporal_over_mutual_tls(
    agentguard: Command, temporal_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Authority(agentguard.folder)
    monkeypatch.setenv("TEMPORAL_KEY", ours.issue("worker").read_text().partition("-----BEGIN CERT")[0])
    context = ours.context("temporal.internal")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ours.bundle)
    context.set_alpn_protocols(["h2"])
    path = agentguard.folder / "agentguard.yaml"
    before = path.read_text()
    with tls_front(temporal_server, context) as address:

        def with_tls(tls: str) -> dict[str, str]:
            path.write_text(before)
            configure(agentguard, f"{{engine: temporal, temporal: {{address: '{address}'{tls}}}}}")
            return doctor(agentguard)["temporal"]

        whole = (
            "ca_file: ca.pem, server_name: temporal.internal, cert_file: worker.pem, key: env:TEMPORAL_KEY"
        )
        assert with_tls(f", tls: {{{whole}}}")["hint"] == "agentguard worker approvals"
        with agentguard.spawn("worker", "approvals", "--json") as worker:
            assert worker.stdout is not None
            assert json.loads(worker.stdout.readline())["address"] == address
            wait_for(lambda: doctor(agentguard)["temporal"]["state"] == "ok")
            assert open_one(agentguard).startswith("ap")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        # Plain, unknown to it, not its name, nobody: each is refused.
        for tls in (
            "",
            ", tls: {}",
            f", tls: {{{whole.replace('temporal.internal', 'elsewhere')}}}",
            ", tls: {ca_file: ca.pem, server_name: temporal.internal}",
        ):
            assert "cannot be reached" in with_tls(tls)["message"], tls
        assert "`missing.pem` cannot be read" in with_tls(", tls: {ca_file: missing.pem}")["message"]


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
