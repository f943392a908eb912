from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import agentguard as front
from agentguard import ActionDenied, ApprovalRequired, Effect, Guard, Principal, carry_out
from command_line import PARAMS, Command, Sidecar, environment, sidecar, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2-planted-secret"
VAULT = """\
actions:
  - name: store-secret
    version: 1
    description: Store a secret
    risk: low
    resource_types: [deployment]
    params:
      type: object
      additionalProperties: false
      required: [name, value]
      properties:
        name: {type: string, maxLength: 60}
        value: {type: string, maxLength: 60, pattern: "^hunter.*$", secret: true}
"""
VAULT_RULES = """\
version: 1
rules:
  - {id: store, effect: allow, actions: [store-secret], resources: [staging/api], reason: Storing is allowed}
  - id: look
    effect: allow
    actions: [rollout-status]
    resources: [staging/api]
    obligations: [{max_bytes: 5}]
    reason: Short looks
"""


@pytest.fixture
def guard(agentguard: Command) -> Iterator[Guard]:
    with Guard.open(agentguard.folder, principal="deploy-agent", approval_wait_s=0) as opened:
        yield opened


@pytest.fixture
def served(agentguard: Command) -> Iterator[tuple[Sidecar, str]]:
    token = agentguard("token", "issue", "deploy-agent").out.strip()
    with sidecar(agentguard.folder, "--port", "0") as up:
        yield up, token


def test_every_public_name_can_be_imported() -> None:
    for name in front.__all__:
        assert getattr(front, name) is not None
    assert set(dir(front)) == set(front.__all__)
    with pytest.raises(AttributeError):
        front.Gaurd  # noqa: B018 - a name that is not there


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import agentguard",
            "aiohttp cryptography yaml starlette joserfc orjson msgspec asyncio click rich",
        ),
        (
            "from agentguard import Guard, Effect, ActionDenied",
            "aiohttp cryptography yaml starlette click rich",
        ),
        ("import agentguard.assembly", "aiohttp starlette uvicorn click rich jinja2"),
    ],
)
def test_an_import_loads_nothing_that_it_does_not_need(statement: str, absent: str) -> None:
    code = f"import sys\n{statement}\nprint([name for name in {absent.split()!r} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("asked", "effect"),
    [
        (("restart-deployment", "staging/api", PARAMS), Effect.ALLOW),
        (("restart-deployment", "prod/api", {**PARAMS, "namespace": "prod"}), Effect.REQUIRE_APPROVAL),
        (("delete-deployment", "staging/api", PARAMS), Effect.DENY),
        (("scale-deployment", "staging/api", {**PARAMS, "replicas": 50}), Effect.TRANSFORM),
        (("no-such-action", "staging/api", {}), Effect.DENY),
    ],
)
def test_a_check_is_decided_and_on_record(
    agentguard: Command, guard: Guard, asked: tuple[str, str, dict[str, Any]], effect: Effect
) -> None:
    action, resource, params = asked
    decision = guard.check(action, resource=resource, params=params, correlation_id="c-1")
    assert decision.effect is effect
    (record,) = (each for each in agentguard.records() if each["type"] == "decision")
    assert record["event_id"] == decision.audit_id
    assert (record["effect"], record["correlation_id"]) == (effect.value, "c-1")
    assert asyncio.run(guard.acheck(action, resource=resource, params=params)).effect is effect


def test_trace_lists_near_misses_of_an_allow(guard: Guard) -> None:
    given: dict[str, Any] = {"resource": "staging/api", "params": PARAMS}
    assert guard.check("restart-deployment", **given).near_misses == ()
    decision = guard.check("restart-deployment", **given, trace=True)
    assert decision.effect is Effect.ALLOW
    assert [miss.rule for miss in decision.near_misses] == ["prod-needs-approval"]
    assert asyncio.run(guard.acheck("restart-deployment", **given, trace=True)).near_misses


def test_another_principal_is_vouched_for_by_the_host(guard: Guard) -> None:
    given: dict[str, Any] = {"resource": "staging/api", "params": PARAMS}
    assert guard.check("restart-deployment", **given, principal="nobody").effect is Effect.DENY
    vouched = Principal("somebody", roles=("deployer",))
    assert guard.check("restart-deployment", **given, principal=vouched).effect is Effect.ALLOW


def test_a_guarded_function_runs_as_decided_and_its_outcome_is_on_record(
    agentguard: Command, guard: Guard
) -> None:
    ran: list[int] = []

    @guard.guarded("scale-deployment", resource="{namespace}/api")
    def scale(namespace: str, deployment: str, replicas: int) -> int:
        ran.append(replicas)
        return replicas

    assert scale("staging", "api", 50) == 5
    with pytest.raises(ApprovalRequired) as asked:
        scale("prod", "api", 2)
    assert asked.value.decision.rule == "prod-needs-approval"
    with pytest.raises(ActionDenied):
        scale("other", "api", 2)
    assert ran == [5]
    records = agentguard.records()
    assert [each["type"] for each in records if each["type"] == "outcome"] == ["outcome"]
    assert records[1]["status"] == "succeeded"


def test_a_failing_function_is_on_record_as_failed(agentguard: Command, guard: Guard) -> None:
    @guard.guarded("restart-deployment", resource="staging/api")
    async def restart(namespace: str, deployment: str) -> None:
        raise OSError(f"{namespace} {deployment}")

    with pytest.raises(OSError, match="staging api"):
        asyncio.run(restart("staging", "api"))
    assert agentguard.records()[-1]["status"] == "failed"


def test_a_plan_is_decided_step_by_step(guard: Guard) -> None:
    steps = [
        {"action": "restart-deployment", "resource": "staging/api", "params": PARAMS},
        {"action": "restart-deployment", "resource": "prod/api", "params": PARAMS},
    ]
    effects = [each.effect for each in guard.check_plan(steps)]
    assert effects == [Effect.ALLOW, Effect.REQUIRE_APPROVAL]


def test_obligations_of_a_plain_check_are_carried_out(agentguard: Command) -> None:
    agentguard.write("policies/vault.yaml", VAULT_RULES.replace("store-secret", "delete-deployment"))
    with Guard.open(agentguard.folder, principal="nobody") as guard:
        decision = guard.check("rollout-status", resource="staging/api", params=PARAMS)
    assert decision.effect is Effect.ALLOW
    assert carry_out(decision, "too long") == "too l"


def test_a_changed_policy_is_taken_up(agentguard: Command, guard: Guard) -> None:
    def rule() -> str | None:
        return guard.check("restart-deployment", resource="staging/api", params=PARAMS).rule

    assert rule() == "staging-is-free"
    agentguard("policy", "template", "apply", "kill-switch")
    wait_for(lambda: rule() == "kill-switch", seconds=5)


def test_a_closed_guard_denies(agentguard: Command) -> None:
    with Guard.open(agentguard.folder, principal="deploy-agent") as guard:
        pass
    decision = guard.check("restart-deployment", resource="staging/api", params=PARAMS)
    assert decision.effect is Effect.DENY
    guard.close()


def test_a_folder_that_is_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(front.AgentGuardError, match="agentguard init"):
        Guard.open(tmp_path, principal="deploy-agent")


def test_a_planted_secret_is_nowhere(agentguard: Command, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    agentguard.write("actions/vault.yaml", VAULT)
    agentguard.write("policies/vault.yaml", VAULT_RULES)
    stored: list[str] = []
    said: list[str] = []
    with Guard.open(agentguard.folder, principal="deploy-agent") as guard:

        @guard.guarded("store-secret", resource="staging/api")
        def store(name: str, value: str) -> str:
            stored.append(value)
            raise ValueError(value)

        with pytest.raises(ValueError, match=SECRET):
            store("db", SECRET)
        for wrong in (f"x{SECRET}", [SECRET], {SECRET: SECRET}, SECRET * 10):
            given = {"name": "db", "value": wrong}
            denied = guard.check("store-secret", resource="staging/api", params=given, trace=True)
            assert denied.effect is Effect.DENY
            said.append(denied.reason + repr(denied.near_misses))
    for command in (
        ("check", "store-secret", "-r", "staging/api", "-P", "name=db", "-P", f"value={SECRET}", "--trace"),
        ("check", "store-secret", "-r", "staging/api", "-P", "name=db", "-P", f"value=x{SECRET}", "--trace"),
        ("policy", "explain", "store-secret", "-r", "staging/api", "-P", "name=db", "-P", f"value=x{SECRET}"),
        ("audit", "show", "--json"),
        ("audit", "export", "--format", "csv"),
        ("agents", "show", "deploy-agent"),
    ):
        ran = agentguard(*command)
        said.append(ran.out + ran.err)
    assert stored == [SECRET]
    assert set(agentguard.records()[0]["params"]["value"]) == {"c"}
    files = [path for root in (agentguard.folder, agentguard.state) for path in root.rglob("*")]
    assert [path for path in files if path.is_file() and SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in "".join(said) + caplog.text + "".join(agentguard.capture.readouterr())


def test_a_guard_asks_a_sidecar(served: tuple[Sidecar, str], agentguard: Command) -> None:
    up, token = served
    given: dict[str, Any] = {"resource": "staging/api", "params": PARAMS}
    with Guard.connect(up.url, token, approval_wait_s=0) as guard:
        decision = guard.check("restart-deployment", **given)
        assert (decision.effect, decision.principal) == (Effect.ALLOW, "deploy-agent")
        assert guard.check("restart-deployment", **given, trace=True).near_misses
        assert guard.check("restart-deployment", **given, principal="boss").effect is Effect.DENY

        @guard.guarded("scale-deployment", resource="{namespace}/api")
        def scale(namespace: str, deployment: str, replicas: int) -> int:
            return replicas

        assert scale("staging", "api", 50) == 5
        with pytest.raises(ApprovalRequired):
            scale("prod", "api", 2)
        steps = [{"action": "restart-deployment", **given}, {"action": "delete-deployment", **given}]
        assert [each.effect for each in guard.check_plan(steps)] == [Effect.ALLOW, Effect.DENY]
        assert asyncio.run(guard.acheck("restart-deployment", **given)).effect is Effect.ALLOW
    records = agentguard.records()
    assert decision.audit_id in {each["event_id"] for each in records}
    assert "succeeded" in {each.get("status") for each in records}


def test_a_gateways_token_may_name_others(served: tuple[Sidecar, str], agentguard: Command) -> None:
    up, _ = served
    token = agentguard("token", "issue", "gateway", "--act-as").out.strip()
    given: dict[str, Any] = {"resource": "staging/api", "params": PARAMS}
    with Guard.connect(up.url, token, approval_wait_s=0) as guard:
        assert guard.check("restart-deployment", **given).effect is Effect.DENY
        decision = guard.check("restart-deployment", **given, principal="deploy-agent")
    assert (decision.effect, decision.principal) == (Effect.ALLOW, "deploy-agent")


def test_a_killed_sidecar_means_deny_until_it_is_back(agentguard: Command) -> None:
    token = agentguard("token", "issue", "deploy-agent").out.strip()

    def effect(guard: Guard) -> Effect:
        return guard.check("restart-deployment", resource="staging/api", params=PARAMS).effect

    with sidecar(agentguard.folder, "--port", "0") as first:
        port = first.url.rpartition(":")[2]
        guard = Guard.connect(first.url, token, deadline_s=5)
        assert effect(guard) is Effect.ALLOW
    assert {effect(guard) for _ in range(3)} == {Effect.DENY}
    with sidecar(agentguard.folder, "--port", port) as second:
        assert second.url.endswith(port)
        wait_for(lambda: effect(guard) is Effect.ALLOW, seconds=15)
    guard.close()
    assert agentguard("audit", "verify").code == 0


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(front.AgentGuardError):
        Guard.connect("127.0.0.1:8787", "token")


@pytest.mark.parametrize("name", ["GuardedOpenAI", "GuardedAnthropic"])
def test_without_its_sdk_a_guarded_client_says_which_extra_it_needs(name: str) -> None:
    sdk = name.removeprefix("Guarded").lower()
    code = (
        f"import sys; sys.modules['{sdk}'] = None\n"
        f"import agentguard\ntry: agentguard.{name}\n"
        f"except agentguard.AgentGuardError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"the package `{sdk}` is not installed; install `agentguard[{sdk}]`\n"


def test_guarding_models_loads_no_sdk_before_one_is_used() -> None:
    code = (
        "import sys, agentguard; agentguard.LlmGuard, agentguard.wrap, agentguard.install\n"
        "print([name for name in ('openai', 'anthropic', 'httpx', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
