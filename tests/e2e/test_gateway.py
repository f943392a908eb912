"""An agent with the provider's own SDK, `agentguard up` with rules, budgets and log, and a provider on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest

from agentguard.assembly import load_project, read_ledger, verify_audit
from agentguard.core import AttemptState, SpendFilter
from agentguard.gateway import agent_variables
from command_line import sidecar
from llm_upstream import KEY, Reply, ToolUse, Upstream

if TYPE_CHECKING:
    from command_line import Command

SETTINGS = """
gateway:
  upstreams:
    openai:
      kind: openai
      base_url: http://127.0.0.1:{port}/v1
      key: file:openai.key
      models: ["gpt-*"]
      local: true
"""
RULES = """
version: 1
rules:
  - {id: models, effect: allow, actions: [llm.chat], resources: ["llm/openai/gpt-4o*"]}
"""
INVENTORY = """
resources:
  - {id: "llm/**", type: llm, sensitivity: public}
principals:
  - {id: helper, kind: agent}
"""
BUDGETS = """
version: 1
budgets:
  - {id: calls, scope: agent, window: total, unit: calls, limit: 2}
"""
HELLO: Any = [{"role": "user", "content": "the password is swordfish"}]


@pytest.mark.slow
def test_agent_with_a_token_alone_is_decided_budgeted_and_on_record(agentguard: Command) -> None:
    folder = agentguard.folder
    agentguard.write("policies/models.yaml", RULES)
    agentguard.write("inventory.yaml", INVENTORY)
    agentguard.write("budgets.yaml", BUDGETS)
    for other in (folder / "policies").iterdir():
        if other.name != "models.yaml":
            other.unlink()
    token = agentguard("token", "issue", "helper").out.strip()
    with Upstream() as upstream:
        settings = folder / "agentguard.yaml"
        settings.write_text(settings.read_text() + SETTINGS.format(port=upstream.port))
        key = agentguard.write("openai.key", KEY)
        key.chmod(0o600)
        with sidecar(folder) as up:
            url = up.url
            assert any("models through" in line for line in up.lines)
            values = agent_variables(url, token)
            client = openai.OpenAI(
                base_url=values["OPENAI_BASE_URL"], api_key=values["OPENAI_API_KEY"], max_retries=0
            )
            upstream.script(Reply(text="", tools=(ToolUse("drop_table", {"name": "users"}),)))
            answer = client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message
            assert answer.tool_calls is None
            assert "drop_table" in (answer.content or "")
            with client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream:
                text = "".join(each.choices[0].delta.content or "" for each in stream)
            assert text == "Hello there, how can I help?"
            with pytest.raises(openai.RateLimitError, match="calls"):
                client.chat.completions.create(model="gpt-4o", messages=HELLO)
            with pytest.raises(openai.PermissionDeniedError):
                client.chat.completions.create(model="gpt-5.4", messages=HELLO)
            assert len(upstream.calls) == 2
            assert up.stop() == 0
    config = load_project(folder).config
    ledger = read_ledger(config)
    assert ledger is not None
    assert [entry.state for entry in ledger.entries(SpendFilter())] == [AttemptState.SETTLED] * 2
    ledger.close()
    assert verify_audit(config).ok
    log = "".join(each.read_text() for each in agentguard.segments())
    assert KEY not in log
    assert "swordfish" not in log
    effects = [each["effect"] for each in agentguard.records() if "effect" in each]
    assert effects == ["allow", "deny", "allow", "allow", "deny"]


@pytest.mark.slow
def test_a_budget_asks_and_somebody_answers_on_the_command_line(agentguard: Command) -> None:
    folder = agentguard.folder
    for other in (folder / "policies").iterdir():
        other.unlink()
    agentguard.write("policies/models.yaml", RULES)
    agentguard.write("inventory.yaml", INVENTORY)
    agentguard.write("budgets.yaml", BUDGETS.replace("limit: 2}", "limit: 2, at: [{percent: 50, do: ask}]}"))
    word = "correct-horse-battery\n"
    assert agentguard("people", "add", "anna", "--role", "approver", "--password-stdin", stdin=word).code == 0
    token = agentguard("token", "issue", "helper").out.strip()
    with Upstream() as upstream, ThreadPoolExecutor(1) as pool:
        settings = folder / "agentguard.yaml"
        held = "approvals: {hold_s: 60}\n"
        settings.write_text(settings.read_text() + SETTINGS.format(port=upstream.port) + held)
        agentguard.write("openai.key", KEY).chmod(0o600)
        with sidecar(folder) as up:
            values = agent_variables(up.url, token)
            client = openai.OpenAI(
                base_url=values["OPENAI_BASE_URL"], api_key=values["OPENAI_API_KEY"], max_retries=0
            )
            client.chat.completions.create(model="gpt-4o", messages=HELLO)
            login = ("people", "login", "anna", "--url", up.url, "--password-stdin")
            assert agentguard(*login, stdin=word).code == 0
            waits = pool.submit(client.chat.completions.create, model="gpt-4o", messages=HELLO)
            found: list[Any] = []
            while not found:
                found = agentguard("approvals", "list", "--json").json()
            assert "spend.continue@1 on budget/calls" in agentguard("approvals", "show", found[0]["id"]).out
            assert len(upstream.calls) == 1
            assert agentguard("approvals", "approve", found[0]["id"]).code == 0
            assert waits.result(20).choices[0].message.content == "Hello there, how can I help?"
            assert up.stop() == 0
    assert verify_audit(load_project(folder).config).ok
    said = [each["status"] for each in agentguard.records() if each.get("approval") == found[0]["id"]]
    assert said == ["opened", "voted", "approved", "consumed", "dispatched", "finished"]


def test_upstream_without_a_key_keeps_the_sidecar_from_starting(agentguard: Command) -> None:
    settings = agentguard.folder / "agentguard.yaml"
    settings.write_text(settings.read_text() + SETTINGS.format(port=9))
    ran = agentguard("up", "--port", "0")
    assert ran.code == 3
    assert "gateway.upstreams.openai.key: `openai.key` cannot be read" in ran.err
