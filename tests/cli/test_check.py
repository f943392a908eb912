from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import Decision, Effect
from command_line import PARAMS, PROD, STAGING, environment

if TYPE_CHECKING:
    from command_line import Command

SCALE = ("scale-deployment", "-r", "staging/api", "-P", "namespace=staging", "-P", "deployment=api")
DELETE = ("delete-deployment", "-r", "staging/api", "-P", "namespace=staging", "-P", "deployment=api")

TWO_AGENTS = """\
resources:
  - {id: staging/api, type: deployment, environment: staging, sensitivity: internal}
principals:
  - {id: deploy-agent, kind: agent, roles: [deployer]}
  - {id: other-agent, kind: agent, roles: []}
"""


@pytest.mark.parametrize(
    ("arguments", "code", "effect"),
    [
        (STAGING, 0, "allow"),
        (DELETE, 10, "deny"),
        (PROD, 11, "require_approval"),
        ((*SCALE, "-P", "replicas=50"), 12, "transform"),
    ],
)
def test_the_exit_code_is_the_effect_and_the_decision_is_on_record(
    agentguard: Command, arguments: tuple[str, ...], code: int, effect: str
) -> None:
    ran = agentguard("check", *arguments)
    assert ran.code == code
    assert effect in ran.out.splitlines()[0]
    assert [each["effect"] for each in agentguard.records() if each["type"] == "decision"] == [effect]


def test_json_is_the_decision(agentguard: Command) -> None:
    ran = agentguard("check", *SCALE, "-P", "replicas=50", "--json")
    decision = msgspec.json.decode(ran.out, type=Decision)
    assert decision.effect is Effect.TRANSFORM
    assert decision.params == {**PARAMS, "replicas": 5}
    assert decision.audit_id == agentguard.records()[0]["event_id"]


def test_quiet_prints_nothing(agentguard: Command) -> None:
    ran = agentguard("check", *PROD, "--quiet")
    assert (ran.code, ran.out, ran.err) == (11, "", "")


def test_a_transform_prints_what_to_run(agentguard: Command) -> None:
    ran = agentguard("check", *SCALE, "-P", "replicas=50")
    run = json.loads(ran.out.partition("run instead:")[2])
    assert run == {"action": "scale-deployment@1", "params": {**PARAMS, "replicas": 5}}


def test_trace_lists_near_misses(agentguard: Command) -> None:
    ran = agentguard("check", *STAGING, "--trace")
    assert ran.code == 0
    assert "prod-needs-approval (require_approval): resources: resource environment=prod" in ran.out


def test_an_action_that_no_rule_speaks_of_says_so(agentguard: Command) -> None:
    ran = agentguard("check", *DELETE)
    assert "no rule speaks of this action; what no rule allows is denied" in ran.out
    assert "agentguard policy explain" in ran.out


def test_a_denial_by_default_shows_the_closest_rules(agentguard: Command) -> None:
    ran = agentguard("check", *STAGING, "-p", "nobody")
    assert ran.code == 10
    assert "staging-is-free (allow): principals:" in ran.out


def test_more_near_misses_than_shown_are_counted(agentguard: Command) -> None:
    rules = "".join(
        f"  - {{id: r{n}, effect: allow, actions: [delete-deployment], resources: [dev/{n}], reason: r}}\n"
        for n in range(5)
    )
    agentguard.write("policies/more.yaml", "version: 1\nrules:\n" + rules)
    assert "and 2 more; see them with --trace" in agentguard("check", *DELETE).out
    assert "more; see" not in agentguard("check", *DELETE, "--trace").out


@pytest.mark.parametrize(
    ("action", "meant"),
    [("restrt-deployment", "did you mean `restart-deployment`?"), ("qqqqqqqqqqqqqqq", "hint: `agentguard")],
)
def test_an_undeclared_action_is_denied_and_names_near_ones(
    agentguard: Command, action: str, meant: str
) -> None:
    ran = agentguard("check", action, "-r", "staging/api")
    assert ran.code == 10
    assert f"undeclared action `{action}`" in ran.out
    assert meant in ran.out
    assert "agentguard actions list" in ran.out
    assert agentguard.records()[0]["reason"] == f"undeclared action `{action}`"


def test_a_param_is_read_as_its_schema_declares_it(agentguard: Command) -> None:
    ran = agentguard("check", *SCALE, "-P", "replicas=3", "--json")
    assert ran.json()["params"]["replicas"] == 3
    ran = agentguard("check", *SCALE, "-P", "replicas=three")
    assert (ran.code, "parameter `replicas` must be of type integer" in ran.out) == (10, True)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ("{type: string}", "5", "5"),
        ("{type: integer}", "5", 5),
        ("{type: boolean}", "true", True),
        ("{type: array, items: {type: string, maxLength: 9}, maxItems: 3}", '["a"]', ["a"]),
        ("{type: [string, 'null'], maxLength: 9}", "null", None),
        ("{type: [string, 'null'], maxLength: 9}", "text", "text"),
        ("{enum: [1, two]}", "1", 1),
        ("{enum: [1, two]}", "two", "two"),
    ],
)
def test_params_of_every_type(agentguard: Command, schema: str, text: str, value: Any) -> None:
    agentguard.write(
        "actions/own.yaml",
        "actions:\n  - name: own-action\n    version: 1\n    description: Own\n    risk: low\n"
        "    resource_types: [deployment]\n    params:\n      type: object\n      additionalProperties: false\n"
        f"      properties: {{x: {schema}}}\n",
    )
    ran = agentguard("check", "own-action", "-r", "staging/api", "-P", f"x={text}", "--json")
    assert ran.json()["stage"] == "default", ran.json()["reason"]
    assert ran.json()["params"] == {"x": value}


def test_params_come_as_json_and_single_ones_win(agentguard: Command) -> None:
    given = json.dumps({**PARAMS, "deployment": "other"})
    ran = agentguard(
        "check", *STAGING[:3], "--params", given, "-P", "deployment=api", "-P", "reason=a=b", "--json"
    )
    assert ran.json()["params"] == {**PARAMS, "reason": "a=b"}


def test_params_are_read_from_standard_input(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(PARAMS)))
    assert agentguard("check", *STAGING[:3], "--params", "-").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("restart-deployment",),
        (*STAGING, "--nonsense"),
        (*STAGING, "extra"),
        (*STAGING, "-P", "no-value"),
        (*STAGING, "-P", "=x"),
        (*STAGING, "--params", "{"),
        (*STAGING, "--params", "[1]"),
        (*STAGING, "--params", '{"a": NaN}'),
        (*STAGING, "--params", '{"a": 1, "a": 2}'),
        (*STAGING, "--params", "[" * 100_000),
    ],
)
def test_wrong_usage_is_2_and_leaves_no_record(agentguard: Command, arguments: tuple[str, ...]) -> None:
    ran = agentguard("check", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
    assert agentguard.segments() == []


def test_no_utf8_on_standard_input_is_wrong_usage(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": "\xff"}'), encoding="utf-8"))
    ran = agentguard("check", *STAGING, "--params", "-")
    assert (ran.code, "not UTF-8" in ran.err) == (2, True)


@pytest.mark.parametrize("action", ["Not A Name", "\x1b[31m", "", "\udcff", "x" * 5000, "\u202egnp"])
def test_a_hostile_name_is_denied_and_never_shown_raw(agentguard: Command, action: str) -> None:
    for form in ((), ("--json",)):
        ran = agentguard("check", action, "-r", "\x9b31m/\x1b]0;x\x07", *form)
        assert ran.code == 10
        for raw in ("\x1b", "\x9b", "\x07", "\u202e"):
            assert raw not in ran.out + ran.err
    shown = agentguard("audit", "show")
    assert shown.code == 0
    assert all(each.isprintable() for each in shown.out.splitlines())


def test_an_unknown_principal_has_no_roles(agentguard: Command) -> None:
    assert agentguard("check", *STAGING, "--principal", "nobody").code == 10


def test_several_principals_have_to_be_told_apart(agentguard: Command) -> None:
    agentguard.write("inventory.yaml", TWO_AGENTS)
    ran = agentguard("check", *STAGING)
    assert ran.code == 2
    assert "say who acts with --principal (deploy-agent, other-agent)" in ran.err
    assert agentguard("check", *STAGING, "-p", "deploy-agent").code == 0
    assert agentguard("check", *STAGING, "-p", "other-agent").code == 10


def test_an_inventory_without_principals_says_so(agentguard: Command) -> None:
    agentguard.write("inventory.yaml", "resources: []\nprincipals: []\n")
    assert "(the inventory lists none)" in agentguard("check", *STAGING).err


def test_context_reaches_the_rules_and_the_record(agentguard: Command) -> None:
    agentguard.write(
        "policies/ticket.yaml",
        "version: 1\nrules:\n  - {id: ticketed, effect: allow, actions: [delete-deployment], "
        "resources: [staging/api], when: {context: {ticket: present}}, reason: With a ticket}\n",
    )
    assert agentguard("check", *DELETE).code == 10
    ran = agentguard("check", *DELETE, "--ticket", "T-1", "--correlation-id", "c-1")
    assert (ran.code, agentguard.records()[-1]["correlation_id"]) == (0, "c-1")


def test_a_broken_policy_is_3_with_file_and_line(agentguard: Command) -> None:
    agentguard.write("policies/bad.yaml", "version: 1\nrules:\n  - id: x\n    efect: allow\n")
    ran = agentguard("check", *STAGING)
    assert ran.code == 3
    assert "policies/bad.yaml:4" in ran.err
    ran = agentguard("check", *STAGING, "--json")
    error = json.loads(ran.err)["error"]
    assert (ran.out, error["location"]["file"], error["location"]["line"]) == ("", "policies/bad.yaml", 4)


def test_no_project_is_3_with_a_hint(agentguard: Command, tmp_path: Any) -> None:
    ran = agentguard("check", *STAGING, "--project", tmp_path / "nowhere")
    assert ran.code == 3
    assert "make one with `agentguard init`" in ran.err


def test_a_damaged_state_folder_is_4(agentguard: Command) -> None:
    assert agentguard("check", *STAGING).code == 0
    for key in agentguard.state.rglob("audit-keys.json"):
        key.write_text("{}")
    assert agentguard("check", *STAGING).code == 4


def test_a_log_that_takes_no_record_is_a_deny(agentguard: Command) -> None:
    agentguard.write("audit", "in the way")
    ran = agentguard("check", *STAGING)
    assert ran.code in (3, 10)
    assert "✔" not in ran.out
    assert "Traceback" not in ran.err


def test_the_project_is_found_upwards_and_from_the_environment(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(agentguard.folder / "policies")
    assert agentguard("check", *STAGING).code == 0
    monkeypatch.chdir(tmp_path)
    assert agentguard("check", *STAGING).code == 3
    monkeypatch.setenv("AGENTGUARD_PROJECT", str(agentguard.folder))
    assert agentguard("check", *STAGING).code == 0


def test_a_cold_check_loads_no_more_than_it_needs(agentguard: Command) -> None:
    heavy = ("aiohttp", "asyncio", "starlette", "uvicorn", "jinja2", "prometheus_client", "rich")
    code = (
        "import sys\nfrom agentguard.cli._app import run\n"
        f"run({['check', *STAGING]!r})\nprint([each for each in {heavy!r} if each in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[0].startswith("✔ allow")
    assert ran.stdout.splitlines()[-1] == "[]"
