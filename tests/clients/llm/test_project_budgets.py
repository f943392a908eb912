"""The budgets of a project that a guard has opened, for the clients that it guards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import openai
import pytest

from agentguard import Guard
from agentguard.assembly import load_project, open_notifying, read_events, read_ledger
from agentguard.clients.llm import GuardedOpenAI
from agentguard.core import EventFilter, EventKind, SpendError, SpendFilter
from llm_upstream import KEY

if TYPE_CHECKING:
    from command_line import Command
    from llm_upstream import Upstream

ASK: Any = [{"role": "user", "content": "Hello"}]
RULES = "version: 1\nrules: [{id: models, effect: allow, actions: [llm.chat], resources: ['llm/**']}]\n"
INVENTORY = """
resources: [{id: "llm/**", type: llm, sensitivity: public}]
principals: [{id: helper, kind: agent}]
"""
BUDGETS = """version: 1
budgets:
  - id: calls
    scope: agent
    window: total
    unit: calls
    limit: 2
    at: [{percent: 50, do: notify}, {percent: 100, do: notify}]
"""
NOTIFY = """
notify:
  channels: {hook: {type: webhook, url: "http://127.0.0.1:9/", secret: "env:HOOK_SECRET"}}
"""


@pytest.fixture
def project(agentguard: Command) -> Command:
    """Return a project with budgets and a channel whose secret only the sidecar has."""
    for each in (agentguard.folder / "policies").iterdir():
        each.unlink()
    agentguard.write("policies/models.yaml", RULES)
    agentguard.write("inventory.yaml", INVENTORY)
    agentguard.write("budgets.yaml", BUDGETS)
    settings = agentguard.folder / "agentguard.yaml"
    settings.write_text(settings.read_text() + NOTIFY)
    return agentguard


def ask(guard: Guard, upstream: Upstream) -> None:
    with GuardedOpenAI(guard=guard, base_url=f"{upstream.url}/v1", api_key=KEY, max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=ASK)


def test_a_guarded_client_is_held_to_them_and_people_are_told_of_thresholds(
    project: Command, served: Upstream
) -> None:
    served.reset()
    with Guard.open(project.folder, principal="helper") as guard:
        for _ in range(2):
            ask(guard, served)
        with pytest.raises(openai.RateLimitError, match="budget `calls`"):
            ask(guard, served)
    assert len(served.calls) == 2
    loaded = load_project(project.folder)
    ledger = read_ledger(loaded.config)
    assert ledger is not None
    who = {(each.spender.project, each.spender.agent) for each in ledger.entries(SpendFilter())}
    assert who == {(loaded.config.project.id, "helper")}
    ledger.close()
    events = read_events(loaded.config)
    assert events is not None
    told = events.read(EventFilter(kinds=(EventKind.ALERT,), action="spend.threshold"))
    assert [each.event.payload["percent"] for each in told] == [50, 100]
    events.close()
    notifying = open_notifying(loaded, {**os.environ, "HOOK_SECRET": "whsec_" + "QUFB" * 11}, delivers=False)
    assert notifying is not None
    waiting = notifying.outbox.due("hook", now=4e9, limit=10)
    assert [each.notice.severity.value for each in waiting] == ["medium", "high"]
    notifying.close()


def test_a_ledger_that_cannot_be_opened_keeps_a_client_from_being_made(
    project: Command, served: Upstream
) -> None:
    project.write("spend/ledger.sqlite", "this is no database, and long enough to be told from an empty one")
    with Guard.open(project.folder, principal="helper") as guard, pytest.raises(SpendError):
        ask(guard, served)


def test_without_budgets_nothing_is_counted(project: Command, served: Upstream) -> None:
    served.reset()
    (project.folder / "budgets.yaml").unlink()
    with Guard.open(project.folder, principal="helper") as guard:
        for _ in range(3):
            ask(guard, served)
    assert read_ledger(load_project(project.folder).config) is None
