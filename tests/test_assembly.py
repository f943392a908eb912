from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentguard.assembly import Engine, load_project, open_tokens, verify_audit
from agentguard.core import ConfigError, Effect, Principal, Request
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
