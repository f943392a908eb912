from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from agentguard.enforcement import TicketStore, TicketVerifier
from command_line import PARAMS, STAGING

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import Command


def issue(agentguard: Command) -> str:
    decided = agentguard("check", *STAGING, "--ticket-for", "deployer", "--json").json()
    assert decided["effect"] == "allow"
    return str(decided["ticket"])


def store(agentguard: Command) -> Path:
    (path,) = agentguard.state.glob("agentguard/*/tickets.sqlite")
    return path


def test_a_check_issues_a_ticket_that_an_executor_uses_once(agentguard: Command, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(agentguard("ticket", "keys").out)
    used = TicketStore(tmp_path / "used.sqlite")
    verifier = TicketVerifier(keys, executor="deployer", store=used)
    ticket = issue(agentguard)
    known = verifier.consume(
        ticket, action="restart-deployment@1", resource="staging/api", params=json.dumps(PARAMS)
    )
    used.close()
    (record,) = (each for each in agentguard.records() if each.get("ticket"))
    assert record["ticket"] == {"jti": known.jti, "aud": "deployer", "exp": known.expires_at}
    assert record["event_id"] == known.audit_id
    assert ticket not in json.dumps(agentguard.records())


def test_a_person_can_look_at_a_ticket(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = agentguard("check", *STAGING, "--ticket-for", "deployer").out
    ticket = shown.partition("ticket ")[2].split()[0]
    ran = agentguard("ticket", "verify", ticket)
    assert ran.code == 0
    assert "restart-deployment@1 on staging/api, once" in ran.out
    assert "principal: deploy-agent" in ran.out
    assert "executor: deployer" in ran.out
    monkeypatch.setattr("sys.stdin", io.StringIO(ticket + "\n"))
    assert agentguard("ticket", "verify", "--json").json()["resource"] == "staging/api"


def test_a_ticket_that_does_not_count_is_10(agentguard: Command) -> None:
    ticket = issue(agentguard)
    ran = agentguard("ticket", "verify", ticket[:-8] + "AAAAAAAA")
    assert (ran.code, ticket in ran.err) == (10, False)
    assert "signature is wrong" in ran.err
    token = agentguard("token", "issue", "deploy-agent").out.strip()
    assert agentguard("ticket", "verify", token).code == 10
    assert agentguard("token", "verify", ticket).code == 10


def test_a_ticket_is_revoked_if_it_is_not_used(agentguard: Command) -> None:
    first, second = (
        agentguard("ticket", "verify", issue(agentguard), "--json").json()["jti"] for _ in range(2)
    )
    assert agentguard("ticket", "revoke", first).out == f"revoked ticket {first}\n"
    kept = TicketStore(store(agentguard))
    assert kept.revoke(first) is True
    kept._connected().execute("INSERT INTO spent VALUES (?, 9e9, 0)", (second,))
    kept.close()
    ran = agentguard("ticket", "revoke", second)
    assert (ran.code, "used already" in ran.err) == (10, True)


def test_a_store_that_cannot_be_used_is_a_matter_of_configuration(agentguard: Command) -> None:
    assert agentguard("ticket", "revoke", "a").code == 0
    store(agentguard).write_bytes(b"no database " * 1000)
    ran = agentguard("ticket", "revoke", "b")
    assert ran.code == 3
    assert "store of used tickets" in ran.err


def test_a_rotated_key_signs_and_the_old_one_verifies_still(agentguard: Command) -> None:
    ticket = issue(agentguard)
    kid = agentguard("ticket", "rotate", "--json").json()["kid"]
    assert agentguard("ticket", "keys", "--json").json()["keys"][0]["kid"] == kid
    assert agentguard("ticket", "verify", ticket).code == 0


def test_the_setting_bounds_how_long_a_ticket_lives(agentguard: Command) -> None:
    config = agentguard.folder / "agentguard.yaml"
    text = config.read_text()
    config.write_text(text + "\nidentity:\n  ticket_ttl_s: 5\n")
    ticket = agentguard("ticket", "verify", issue(agentguard), "--json").json()
    assert ticket["expires_at"] - ticket["issued_at"] == pytest.approx(5)
    config.write_text(text + "\nidentity:\n  ticket_ttl_s: 61\n")
    assert agentguard("check", *STAGING).code == 3


def test_a_reason_is_recorded(agentguard: Command) -> None:
    agentguard("check", *STAGING, "--reason", "the index is full")
    assert agentguard.records()[-1]["context"]["reason"] == "the index is full"


def test_obligations_that_ask_or_tell_people_are_valid(agentguard: Command) -> None:
    for name in ("notify", "two_person"):
        agentguard.write(
            "policies/later.yaml",
            f"version: 1\nrules:\n  - {{id: later, effect: allow, actions: [file.read], obligations: [{{{name}: true}}]}}\n",
        )
        ran = agentguard("policy", "validate")
        assert ran.code == 0, ran.out + ran.err
