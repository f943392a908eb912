from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from command_line import STAGING

if TYPE_CHECKING:
    import pytest

    from command_line import Command


def _findings(agentguard: Command, code: int) -> dict[str, Any]:
    ran = agentguard("doctor", "--json")
    assert ran.code == code, ran.out
    found: dict[str, Any] = {}
    for each in ran.json():  # the worst of each check
        if each["check"] not in found or each["state"] != "ok":
            found[each["check"]] = each
    return found


def test_a_new_project_has_no_problem_and_is_left_as_it_is(agentguard: Command) -> None:
    found = _findings(agentguard, 0)
    assert "problem" not in {each["state"] for each in found.values()}
    assert found["audit log"]["message"] == "empty so far"
    assert not (agentguard.folder / "audit").exists()
    assert not list(agentguard.state.rglob("*.json"))


def test_one_user_for_agent_and_guard_is_warned_of(agentguard: Command) -> None:
    assert _findings(agentguard, 0)["separation"]["state"] == "warning"


def test_a_log_in_use_is_verified(agentguard: Command) -> None:
    agentguard("check", *STAGING)
    assert "1 record verified" in _findings(agentguard, 0)["audit log"]["message"]
    (agentguard.folder / "audit/head").unlink()
    assert _findings(agentguard, 0)["audit log"]["state"] == "warning"


def test_a_tampered_log_is_a_problem(agentguard: Command) -> None:
    agentguard("check", *STAGING)
    segment = agentguard.segments()[0]
    segment.chmod(0o600)
    segment.write_text(segment.read_text().replace("allow", "deny_", 1))
    found = _findings(agentguard, 1)["audit log"]
    assert (found["state"], found["hint"]) == ("problem", "agentguard audit verify")


def test_a_file_in_the_logs_place_is_a_problem(agentguard: Command) -> None:
    agentguard.write("audit", "")
    assert _findings(agentguard, 1)["audit log"]["state"] == "problem"


def test_broken_yaml_is_a_problem_with_its_place(agentguard: Command) -> None:
    agentguard.write("policies/bad.yaml", "rules: [")
    found = _findings(agentguard, 1)
    assert found["project"]["message"].startswith("policies/bad.yaml:")
    agentguard.write("agentguard.yaml", "project: {id: abc-1}\nserver: {prot: 1}\n")
    found = _findings(agentguard, 1)
    assert "agentguard.yaml:2" in found["configuration"]["message"]
    assert "✘" in agentguard("doctor").out
    assert agentguard("doctor", "--quiet") == type(agentguard("doctor"))(1, "", "")


def test_no_project_is_a_problem(agentguard: Command) -> None:
    (agentguard.folder / "agentguard.yaml").unlink()
    assert "agentguard init" in _findings(agentguard, 1)["configuration"]["hint"]


def test_an_exposed_state_folder_is_a_problem(agentguard: Command) -> None:
    agentguard("token", "admin")
    for folder in (agentguard.state / "agentguard").iterdir():
        folder.chmod(0o755)
    assert _findings(agentguard, 1)["state folder"]["state"] == "problem"


def test_no_rules_and_odd_rules_are_warned_of(agentguard: Command) -> None:
    agentguard.write("policies/deploy.yaml", "version: 1\nrules: []\n")
    assert _findings(agentguard, 0)["policy"]["hint"] == "agentguard policy template list"
    agentguard("policy", "template", "apply", "kill-switch")
    agentguard("policy", "template", "apply", "read-only-agent")
    assert _findings(agentguard, 0)["policy"]["hint"] == "agentguard policy validate"


def test_a_disk_below_the_reserve_is_a_problem(agentguard: Command) -> None:
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + "audit: {reserve_bytes: 1099511627776}\n")
    assert _findings(agentguard, 1)["disk"]["hint"] == "make room"


def test_a_port_in_use_is_said(agentguard: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = agentguard.folder / "agentguard.yaml"
        config.write_text(config.read_text() + f"server: {{port: {listener.getsockname()[1]}}}\n")
        assert "something listens" in _findings(agentguard, 0)["port"]["message"]
    assert "is free" in _findings(agentguard, 0)["port"]["message"]


PASSWORD = "correct horse battery"
ROUTES = """
approvals:
  routes:
    pair: {risk: [high], groups: [leads], quorum: {approve: 2}}
    named: {people: [dana, ghost]}
"""
CHANNELS = """
notify:
  channels:
    ops: {type: slack, token: "env:OPS_TOKEN", channel: C1, signing_secret: "file:none"}
    hook: {type: webhook, url: "https://hooks.example.com", secret: "env:NO_SUCH_SECRET"}
    mail: {type: email, host: mail.example.com, sender: a@example.com, recipients: [b@example.com]}
"""


def _said(agentguard: Command, check: str, code: int = 0) -> list[tuple[str, str]]:
    ran = agentguard("doctor", "--json")
    assert ran.code == code, ran.out
    return [(each["state"], each["message"]) for each in ran.json() if each["check"] == check]


def _append(agentguard: Command, text: str) -> None:
    file = agentguard.folder / "agentguard.yaml"
    file.write_text(file.read_text() + text)


def test_rules_that_ask_and_nobody_who_could_approve_are_told(agentguard: Command) -> None:
    nobody = [("warning", "rules ask for approval, and nobody can approve")]
    assert _said(agentguard, "approvals") == nobody
    agentguard("people", "add", "vera", "--role", "viewer", "--password-stdin", stdin=PASSWORD)
    assert _said(agentguard, "approvals") == nobody
    agentguard("people", "add", "dana", "--role", "approver", "--password-stdin", stdin=PASSWORD)
    assert _said(agentguard, "approvals") == [("ok", "1 of 2 accounts can approve")]
    _append(agentguard, ROUTES)
    assert _said(agentguard, "approvals") == [
        ("warning", "route `pair` needs 2 to approve, and nobody can"),
        ("warning", "route `named` names `ghost`, who has no account"),
        ("ok", "1 of 2 accounts can approve"),
    ]
    agentguard("people", "disable", "dana")
    assert _said(agentguard, "approvals") == nobody


def test_two_people_who_are_one_are_told(agentguard: Command) -> None:
    agentguard("people", "add", "dana", "--role", "approver", "--password-stdin", stdin=PASSWORD)
    file = agentguard.folder / "policies/deploy.yaml"
    rule = "effect: require_approval\n    obligations: [{two_person: true}]"
    file.write_text(file.read_text().replace("effect: require_approval", rule))
    assert _said(agentguard, "approvals")[0] == (
        "warning",
        "a rule asks for two people, and one can approve",
    )


def test_channels_without_secrets_templates_and_address_are_told(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_TOKEN", "xoxb-1")
    _append(agentguard, CHANNELS)
    agentguard.write("notify/text.txt", "{{ title")
    said = _said(agentguard, "notices", 1)
    assert said[:3] == [
        ("problem", "channel `ops` has no secret in `file:none`"),
        ("problem", "channel `hook` has no secret in `env:NO_SUCH_SECRET`"),
        ("ok", "channel `mail` has what it needs"),
    ]
    assert said[3][1].startswith("template `text.txt`: ")
    assert said[4][1].startswith("links in notices lead to this machine's own address")
    assert not (agentguard.folder / "notify/outbox.sqlite").exists()
