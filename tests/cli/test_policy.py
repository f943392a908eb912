from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import PROD, STAGING

if TYPE_CHECKING:
    from command_line import Command

CONFLICT = """\
version: 1
rules:
  - {id: one, effect: allow, principals: [deploy-agent], actions: [delete-deployment], resources: ["staging/**"], reason: a}
  - {id: two, effect: deny, principals: [{role: deployer}], actions: [delete-deployment], resources: [staging/api], reason: b}
"""


def test_a_conflict_is_shown_with_its_place_and_a_witness(agentguard: Command) -> None:
    agentguard.write("policies/z.yaml", CONFLICT)
    ran = agentguard("policy", "validate")
    assert ran.code == 0
    assert "policies/z.yaml:" in ran.out
    assert "conflict" in ran.out
    assert "for example: deploy-agent (roles deployer) delete-deployment" in ran.out


def test_strict_refuses_a_conflict(agentguard: Command) -> None:
    assert agentguard("policy", "validate", "--strict").code == 0
    agentguard.write("policies/z.yaml", CONFLICT)
    ran = agentguard("policy", "validate", "--strict", "--json")
    assert ran.code == 3
    found = next(each for each in ran.json()["findings"] if each["kind"] == "conflict")
    assert {found["rule"], found["other"]} == {"one", "two"}
    assert found["file"] == "policies/z.yaml"
    assert found["line"] in (3, 4)
    assert found["witness"]["resource"]["id"] == "staging/api"


def test_a_project_that_is_strict_refuses_a_conflict_everywhere(agentguard: Command) -> None:
    agentguard.write("policies/z.yaml", CONFLICT)
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + "policy: {strict: true}\n")
    for command in (("policy", "validate"), ("check", *STAGING)):
        ran = agentguard(*command)
        assert ran.code == 3
        assert "agentguard policy validate" in ran.err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: 1\nrules: [\n", 3),
        ("version: 1\nrules:\n  - id: x\n    id: y\n", 4),
        ("version: 1\nrules:\n  - id: x\n    effect: permit\n    reason: r\n", 4),
        (
            "version: 1\nrules:\n  - id: staging-is-free\n    effect: allow\n    actions: [a-b]\n    reason: r\n",
            3,
        ),
    ],
)
def test_a_broken_file_is_3_with_its_line(agentguard: Command, text: str, line: int) -> None:
    agentguard.write("policies/zz.yaml", text)
    ran = agentguard("policy", "validate")
    assert ran.code == 3
    assert f"policies/zz.yaml:{line}" in ran.err


def test_validate_looks_at_named_files(agentguard: Command) -> None:
    path = agentguard.write("draft/z.yaml", CONFLICT)
    assert agentguard("policy", "validate", path, "--strict").code == 3
    assert agentguard("policy", "validate", path.parent, "--json").json()["rules"] == 2


def test_a_failing_case_is_1_and_named(agentguard: Command) -> None:
    agentguard.write(
        "tests/more.yaml",
        "cases:\n  - name: wrong hopes\n    request: {principal: deploy-agent, action: restart-deployment, "
        "resource: prod/api, params: {namespace: prod, deployment: api}}\n    expect: {effect: allow}\n",
    )
    ran = agentguard("policy", "test")
    assert ran.code == 1
    assert "more.yaml:2: failed: wrong hopes" in ran.out
    assert "4 passed, 1 failed" in ran.out
    ran = agentguard("policy", "test", "tests/more.yaml", "--json")
    assert (ran.code, ran.json()["passed"], len(ran.json()["failed"])) == (1, 0, 1)


def test_no_case_files_is_wrong_usage(agentguard: Command) -> None:
    (agentguard.folder / "tests/deploy.yaml").unlink()
    assert agentguard("policy", "test").code == 2
    (agentguard.folder / "tests").rmdir()
    assert agentguard("policy", "test").code in (1, 2, 3)


def test_an_empty_case_file_does_not_pass(agentguard: Command) -> None:
    agentguard.write("tests/deploy.yaml", "cases: []\n")
    assert agentguard("policy", "test").code == 1


@pytest.mark.parametrize(("request_", "code"), [(STAGING, 0), (PROD, 11)])
def test_explain_decides_without_a_record(agentguard: Command, request_: tuple[str, ...], code: int) -> None:
    ran = agentguard("policy", "explain", *request_)
    assert ran.code == code
    assert "decided by: rule" in ran.out
    assert "first predicate that failed" in ran.out
    assert not (agentguard.folder / "audit").exists()
    assert not list(agentguard.state.rglob("*.json"))


def test_explain_of_an_action_without_rules_says_so(agentguard: Command) -> None:
    ran = agentguard("policy", "explain", "delete-deployment", "-r", "staging/api")
    assert (ran.code, "no other rule speaks of this action" in ran.out) == (10, True)
    assert agentguard("policy", "explain", *STAGING, "--json").json()["effect"] == "allow"


def _templates(agentguard: Command) -> list[str]:
    return [each["name"] for each in agentguard("policy", "template", "list", "--json").json()]


def test_templates_are_listed_with_a_summary(agentguard: Command) -> None:
    assert _templates(agentguard) == ["intent", "kill-switch", "read-only-agent", "staging-deployer"]
    assert "kill-switch" in agentguard("policy", "template", "list").out


@pytest.mark.parametrize("name", ["intent", "kill-switch", "read-only-agent", "staging-deployer"])
def test_each_template_alone_has_nothing_to_report(agentguard: Command, name: str) -> None:
    (agentguard.folder / "policies/deploy.yaml").unlink()
    assert agentguard("policy", "template", "apply", name).code == 0
    ran = agentguard("policy", "validate", "--json", "--strict")
    assert (ran.code, ran.json()["findings"]) == (0, [])
    assert ran.json()["rules"] > 0


def test_every_template_that_ships_is_tested(agentguard: Command) -> None:
    assert set(_templates(agentguard)) == {"intent", "kill-switch", "read-only-agent", "staging-deployer"}


def test_the_kill_switch_stops_what_was_allowed(agentguard: Command) -> None:
    assert agentguard("check", *STAGING).code == 0
    agentguard("policy", "template", "apply", "kill-switch")
    ran = agentguard("check", *STAGING, "--json")
    assert (ran.code, ran.json()["rule"]) == (10, "kill-switch")


def test_a_template_is_applied_once_unless_forced(agentguard: Command) -> None:
    file = agentguard.folder / "policies/kill-switch.yaml"
    assert agentguard("policy", "template", "apply", "kill-switch").code == 0
    text = file.read_text()
    file.write_text("mine")
    ran = agentguard("policy", "template", "apply", "kill-switch")
    assert (ran.code, file.read_text()) == (3, "mine")
    assert "use --force" in ran.err
    assert agentguard("policy", "template", "apply", "kill-switch", "--force", "--json").code == 0
    assert file.read_text() == text


def test_an_unknown_template_names_the_known_ones(agentguard: Command) -> None:
    ran = agentguard("policy", "template", "apply", "../../etc/passwd")
    assert ran.code == 3
    assert "take intent, kill-switch, read-only-agent, staging-deployer" in ran.err


def test_a_template_that_cannot_be_written_says_so(agentguard: Command) -> None:
    (agentguard.folder / "policies/deploy.yaml").unlink()
    (agentguard.folder / "policies").rmdir()
    agentguard.write("policies", "")
    ran = agentguard("policy", "template", "apply", "kill-switch")
    assert (ran.code, "cannot be written" in ran.err) == (3, True)


MORE = """\
version: 1
sequences:
  - {id: look-first, effect: deny, requires: {actions: [rollout-status]}, then: {actions: [restart-deployment]}, within: 30m}
limits:
  - {id: few, effect: deny, of: {actions: ["*-deployment"]}, count: 1, per: 1h}
breaker: {denials: 5, within: 5m, pause: 10m}
cumulative_risk: {window: 1h, approval_from: 60, deny_from: 120}
"""


def test_validate_counts_what_is_own_and_what_ships(agentguard: Command) -> None:
    agentguard.write("policies/more.yaml", MORE)
    ran = agentguard("policy", "validate")
    assert "own: 4 rules, 1 sequence, 1 limit, a breaker, cumulative risk; shipped: " in ran.out
    told = agentguard("policy", "validate", "--json").json()
    counts = {"rules": 4, "sequences": 1, "limits": 1, "breaker": 1, "cumulative_risk": 1}
    assert told["own"] == counts
    assert told["shipped"]["rules"] == told["rules"] - 4 > 0
    path = agentguard.write("draft/z.yaml", CONFLICT)
    assert "own: 2 rules; 1 finding" in agentguard("policy", "validate", path).out


def test_explain_lists_the_rules_about_more_than_one_request(agentguard: Command) -> None:
    agentguard.write("policies/more.yaml", MORE)
    ran = agentguard("policy", "explain", *STAGING)
    assert ran.code == 10
    assert "`rollout-status` did not come before in the last 30m" in ran.out
    assert "policies/more.yaml:3" in ran.out
    told = agentguard("policy", "explain", *STAGING, "--json").json()
    concerned = [(each["id"], each["kind"], each["steps"], each["line"]) for each in told["concerns"]]
    assert concerned == [
        ("breaker", "breaker", [], 6),
        ("cumulative-risk", "cumulative_risk", [], 7),
        ("few", "limit", ["of"], 5),
        ("look-first", "sequence", ["then"], 3),
    ]
    ran = agentguard("check", *STAGING, "--trace")
    assert "did not come before" in ran.out
    assert "policies/more.yaml:5" in ran.out


def test_explain_says_what_the_arguments_state(agentguard: Command) -> None:
    query = ("policy", "explain", "sql.query", "-r", "database:shop", "-P", "statement=SELECT 1")
    assert agentguard(*query, "--json").json()["facts"]["sql.kinds"] == ["select"]
    assert 'sql.kinds = ["select"]' in agentguard(*query).out
    assert agentguard(*query[:-2], "--json").json()["facts"] == {}


WITNESSED = """\
version: 1
rules:
  - {id: one, effect: allow, actions: [sql.query], resources: ["database:*"], when: {facts: {sql.kinds: [select]}}}
  - {id: two, effect: deny, actions: [sql.query], resources: ["database:*"], when: {facts: {sql.kinds: [select, drop]}}}
  - id: three
    effect: allow
    actions: [mail.send]
    resources: ["mailto:*"]
    when: {provenance: {to: {integrity: untrusted}}}
  - id: four
    effect: deny
    actions: [mail.send]
    resources: ["mailto:*"]
    when: {provenance: {to: {source: "tool:*"}}}
"""


def test_a_witness_says_what_is_stated_and_where_it_comes_from(agentguard: Command) -> None:
    agentguard.write("policies/z.yaml", WITNESSED)
    ran = agentguard("policy", "validate")
    assert 'stated: sql.kinds = ["select"]' in ran.out
    assert "/to/0 is untrusted and public from tool:x" in ran.out
