from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.cli._app import run
from command_line import Sidecar, sidecar, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_line import Command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("up")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(base / "state"))
        assert run(["init", str(base / "project"), "-q"]) == 0
        yield base / "project"


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Sidecar]:
    with sidecar(folder) as running:
        yield running


@pytest.fixture
def token(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["token", "issue", "deploy-agent", "--project", str(folder)]) == 0
    return capsys.readouterr().out.strip()


def _ready(up: Sidecar) -> tuple[int, Any]:
    return up.ask("GET", "/readyz")


def test_it_says_where_it_is_and_is_ready(up: Sidecar) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", up.url)
    text = "".join(up.lines)
    assert "with 69 rules" in text
    assert "agentguard token admin" in text
    assert "\x1b" not in text
    assert _ready(up) == (200, {"ready": True, "problems": []})


def test_it_decides_with_an_issued_token_and_records(up: Sidecar, folder: Path, token: str) -> None:
    status, reply = up.check(token)
    assert (status, reply["decision"]["effect"]) == (200, "allow")
    log = "".join(path.read_text() for path in (folder / "audit").glob("*.jsonl"))
    assert reply["decision"]["audit_id"] in log
    assert token not in log


def test_no_token_and_a_revoked_one_are_refused(up: Sidecar, folder: Path, token: str) -> None:
    assert up.check("")[0] == 401
    assert up.check(token)[0] == 200
    assert run(["token", "revoke", "--principal", "deploy-agent", "--project", str(folder)]) == 0
    wait_for(lambda: up.check(token)[0] == 401, seconds=2)


def test_only_the_admin_token_sees_policies(
    up: Sidecar, folder: Path, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert up.ask("GET", "/v1/policies", token=token)[0] in (401, 403)
    assert run(["token", "admin", "--project", str(folder)]) == 0
    admin = capsys.readouterr().out.strip()
    status, policies = up.ask("GET", "/v1/policies", token=admin)
    assert status == 200
    assert {rule["file"] for rule in policies["rules"] if not rule["id"].startswith("shipped.")} == {
        "policies/deploy.yaml"
    }
    status, actions = up.ask("GET", "/v1/actions", token=admin)
    assert (status, len(actions["actions"] if isinstance(actions, dict) else actions) >= 60) == (200, True)


def test_changed_policies_are_taken_up_and_broken_ones_are_not(up: Sidecar, folder: Path, token: str) -> None:
    assert up.check(token)[1]["decision"]["effect"] == "allow"
    assert run(["policy", "template", "apply", "kill-switch", "--project", str(folder)]) == 0
    wait_for(lambda: up.check(token)[1]["decision"]["rule"] == "kill-switch", seconds=5)
    switch = folder / "policies/kill-switch.yaml"
    switch.write_text("version: 1\nrules: [\n")
    wait_for(lambda: _ready(up)[0] == 503, seconds=5)
    assert "policy files cannot be used" in _ready(up)[1]["problems"][0]
    assert up.check(token)[1]["decision"]["rule"] == "kill-switch"
    switch.unlink()
    wait_for(lambda: up.check(token)[1]["decision"]["effect"] == "allow", seconds=5)
    assert _ready(up)[0] == 200
    assert any("kill-switch.yaml" in line for line in up.errors)
    assert all(line.startswith("{") for line in up.errors)


def test_a_port_in_use_is_3_with_a_hint(
    up: Sidecar, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with sidecar(folder, "--port", str(port)) as second:
            assert second.process.wait(20) == 3
    errors = "".join(second.errors)
    assert f"`127.0.0.1:{port}` is in use" in errors
    assert "hint:" in errors
    assert second.lines == []


def test_a_broken_project_is_not_served(agentguard: Command) -> None:
    agentguard.write("policies/bad.yaml", "rules: [")
    ran = agentguard("up", "--port", "0")
    assert (ran.code, "policies/bad.yaml:" in ran.err) == (3, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_and_a_signed_head(agentguard: Command, number: int) -> None:
    token = agentguard("token", "issue", "deploy-agent").out.strip()
    with sidecar(agentguard.folder, "--port", "0", "--login-link") as up:
        link = next(line for line in [up.url, *up.lines] if "/login?code=" in line)
        assert up.url in link
        assert up.check(token)[0] == 200
        assert up.stop(number) == 0
    assert "Traceback" not in "".join(up.errors)
    found = agentguard("audit", "verify", "--json").json()
    assert (found["ok"], found["end_protected"], found["head"]["seq"]) == (True, True, 1)


def test_with_json_one_line_says_where_it_is(agentguard: Command) -> None:
    with agentguard.spawn("up", "--port", "0", "--json") as up:
        assert up.stdout is not None
        facts = json.loads(up.stdout.readline())
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", facts["url"])
        assert facts["login"] is None
        up.send_signal(signal.SIGTERM)
        assert up.wait(20) == 0
        assert up.stdout.read() == ""


def test_the_public_address_reaches_it(agentguard: Command) -> None:
    channel = "{type: webhook, url: 'https://hooks.example.com', secret: 'env:HOOK'}"
    settings = f"notify:\n  public_url: https://Guard.example.com\n  channels: {{hook: {channel}}}\n"
    file = agentguard.folder / "agentguard.yaml"
    file.write_text(file.read_text() + settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        with sidecar(agentguard.folder) as running:
            port = int(running.url.rpartition(":")[2])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                for host, status in (("guard.example.com", 200), ("other.example.com", 421)):
                    connection.request("GET", "/login", headers={"Host": host})
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == status
