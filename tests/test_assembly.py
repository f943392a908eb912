from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentguard.assembly import (
    Engine,
    Spending,
    load_project,
    open_tokens,
    read_budgets,
    read_ledger,
    read_prices,
    verify_audit,
)
from agentguard.config import load_config
from agentguard.core import ConfigError, Effect, Principal, Request, Spender, SpendFilter
from agentguard.spend import Call
from command_line import PARAMS, STAGING, wait_for

if TYPE_CHECKING:
    from command_line import Command

CONFLICT = """\
version: 1
rules:
  - {id: one, effect: allow, principals: [deploy-agent], actions: [delete-deployment], resources: ["staging/**"], reason: a}
  - {id: two, effect: deny, principals: [{role: deployer}], actions: [delete-deployment], resources: [staging/api], reason: b}
"""
RESTART = Request(
    principal=Principal(id="deploy-agent", roles=("deployer",)),
    action="restart-deployment",
    resource="staging/api",
    params=dict(PARAMS),
)


def _set(agentguard: Command, text: str) -> None:
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + text)


def _decide(agentguard: Command) -> Effect:
    engine = Engine(load_project(agentguard.folder))
    try:
        return engine.pdp.decide(RESTART).effect
    finally:
        engine.close()


def test_a_strict_project_refuses_a_conflict_with_its_place(agentguard: Command) -> None:
    agentguard.write("policies/z.yaml", CONFLICT)
    assert load_project(agentguard.folder).lint()
    _set(agentguard, "policy: {strict: true}\n")
    with pytest.raises(ConfigError) as caught:
        load_project(agentguard.folder)
    assert caught.value.code == "policy_conflict"
    assert caught.value.location is not None
    assert caught.value.location.file == "policies/z.yaml"
    assert "agentguard policy validate" in str(caught.value.hint)


def test_a_strict_project_keeps_the_old_set_when_a_conflict_comes(agentguard: Command) -> None:
    _set(agentguard, "policy: {strict: true}\n")
    project = load_project(agentguard.folder)
    agentguard.write("policies/z.yaml", CONFLICT)
    assert project.policies.refresh() is False
    assert "policy.strict" in str(project.policies.problem)


@pytest.mark.parametrize(
    ("settings", "effect"),
    [
        ("", Effect.ALLOW),
        ("risk: {approval_from: 4, deny_from: 16}\n", Effect.REQUIRE_APPROVAL),
        ("risk: {approval_from: 2, deny_from: 4}\n", Effect.DENY),
        ("risk: {environments: {staging: {approval_from: 1, deny_from: 2}}}\n", Effect.DENY),
        ("risk: {environments: {prod: {approval_from: 1, deny_from: 2}}}\n", Effect.ALLOW),
        (
            "risk: {approval_from: 2, deny_from: 4, environments: {staging: {approval_from: 17, deny_from: 17}}}\n",
            Effect.ALLOW,
        ),
    ],
)
def test_risk_thresholds_reach_the_decision(agentguard: Command, settings: str, effect: Effect) -> None:
    _set(agentguard, settings)
    assert _decide(agentguard) is effect


def test_a_setting_of_the_environment_reaches_the_decision(agentguard: Command) -> None:
    environ = {**os.environ, "AGENTGUARD_RISK_DENY_FROM": "2", "AGENTGUARD_RISK_APPROVAL_FROM": "1"}
    project = load_project(agentguard.folder, environ)
    engine = Engine(project, environ=environ)
    assert engine.pdp.decide(RESTART).effect is Effect.DENY
    engine.close()


@pytest.mark.parametrize(
    ("remove", "name"),
    [
        ("inventory.yaml", "inventory.yaml"),
        ("agentguard.yaml", "agentguard.yaml"),
        ("policies", "policies"),
    ],
)
def test_what_is_missing_is_named(agentguard: Command, remove: str, name: str) -> None:
    (agentguard.folder / remove).rename(agentguard.folder / "away")
    with pytest.raises(ConfigError) as caught:
        load_project(agentguard.folder)
    assert name in str(caught.value)


def test_a_project_needs_no_actions_of_its_own(agentguard: Command) -> None:
    (agentguard.folder / "actions/actions.yaml").unlink()
    (agentguard.folder / "actions").rmdir()
    assert len(load_project(agentguard.folder).registry) >= 60


def test_a_state_folder_that_is_none_is_an_error(agentguard: Command) -> None:
    agentguard.state.mkdir()
    (agentguard.state / "agentguard").write_text("")
    project = load_project(agentguard.folder)
    for use in (lambda: Engine(project), lambda: open_tokens(project), lambda: verify_audit(project.config)):
        with pytest.raises(ConfigError):
            use()


def test_a_changed_policy_reaches_the_decision_and_is_linted(
    agentguard: Command, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(load_project(agentguard.folder))
    try:
        assert engine.pdp.decide(RESTART).effect is Effect.ALLOW
        agentguard("policy", "template", "apply", "kill-switch")
        wait_for(lambda: engine.pdp.decide(RESTART).rule == "kill-switch")
        agentguard.write("policies/z.yaml", CONFLICT)
        wait_for(lambda: "findings in the new policy: " in caplog.text)
    finally:
        engine.close()


def test_a_closed_engine_denies_and_has_signed_its_head(agentguard: Command) -> None:
    engine = Engine(load_project(agentguard.folder))
    engine.pdp.decide(RESTART)
    engine.close()
    engine.close()
    assert engine.pdp.decide(RESTART).effect is Effect.DENY
    found = verify_audit(engine.project.config)
    assert (found.ok, found.end_protected, found.records) == (True, True, 1)


def test_tokens_are_revoked_across_processes(agentguard: Command) -> None:
    tokens = open_tokens(load_project(agentguard.folder))
    token = tokens.issuer.issue("deploy-agent", ttl_s=60)
    assert tokens.verifier.verify(token).principal.roles == ("deployer",)
    tokens.revoke(principal="deploy-agent")
    assert agentguard("token", "verify", token).code == 10
    assert agentguard("check", *STAGING).code == 0


def test_actions_that_cost_are_held_to_the_projects_budgets(agentguard: Command) -> None:
    agentguard.write(
        "budgets.yaml",
        "version: 1\n"
        "budgets: [{id: b, scope: agent, window: daily, unit: tool_cost, limit: 0.01}]\n"
        "tools: [{action: restart-deployment, usd: 0.01}]\n",
    )
    assert [_decide(agentguard), _decide(agentguard)] == [Effect.ALLOW, Effect.DENY]
    ledger = read_ledger(load_config(agentguard.folder, os.environ))
    assert ledger is not None
    assert [each.spender.agent for each in ledger.entries(SpendFilter())] == ["deploy-agent"]
    ledger.close()


def test_budgets_that_cannot_be_read_stop_the_engine(agentguard: Command) -> None:
    agentguard.write("budgets.yaml", "version: 1\nbudgets: [{id: b}]\n")
    with pytest.raises(ConfigError) as caught:
        Engine(load_project(agentguard.folder))
    assert str(caught.value.location) == "budgets.yaml:2: budgets[0]"


def test_a_projects_own_price_list_takes_the_place_of_the_shipped_one(agentguard: Command) -> None:
    config = load_config(agentguard.folder, os.environ)
    assert read_prices(config, read_budgets(config)).find("openai", "gpt-4o") is not None
    agentguard.write(
        "prices.json",
        '{"version":1,"source":"mine","date":"2026-01-01","limits":"","providers":{"own":{"models":[{"id":"m"}]}}}',
    )
    prices = read_prices(config, read_budgets(config))
    assert (prices.find("openai", "gpt-4o"), prices.listed.source) == (None, "mine")


def test_a_call_goes_on_the_accounts_of_its_project(agentguard: Command) -> None:
    _set(agentguard, "spend: {organisation: acme}\n")
    config = load_config(agentguard.folder, os.environ)
    spending = Spending(config)
    who = spending.spender("bob", session="s", task="t", key="k")
    assert who == Spender("acme", config.project.id, "bob", "s", "t", "k")
    call = Call("openai", "gpt-4o", 30, max_output_tokens=1, prompt=b"secret words")
    admission = spending.keeper.reserve(call, who, attempt="one")
    assert admission.is_admitted
    (entry,) = spending.ledger.entries(SpendFilter())
    assert len(entry.prompt) == 64
    assert b"secret words" not in config.ledger_file.read_bytes()
    spending.close()
