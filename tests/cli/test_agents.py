from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.cli.agents import summarise
from command_line import PROD, STAGING

if TYPE_CHECKING:
    from command_line import Command


def test_nobody_has_asked_says_what_to_try(agentguard: Command) -> None:
    assert "agentguard check" in agentguard("agents", "list").out
    assert agentguard("agents", "list", "--json").json() == []


def test_list_shows_who_asked_the_latest_first(agentguard: Command) -> None:
    agentguard("check", *STAGING)
    agentguard("check", *PROD)
    agentguard("check", *STAGING, "-p", "nobody")
    agents = agentguard("agents", "list", "--json").json()
    assert [each["principal"] for each in agents] == ["nobody", "deploy-agent"]
    assert agents[1]["decisions"] == {"allow": 1, "require_approval": 1}
    assert agents[1]["last_decision"]["resource"] == "prod/api"
    assert "require_approval restart-deployment@1" in agentguard("agents", "list").out


def test_show_says_what_the_log_knows(agentguard: Command) -> None:
    agentguard("check", *PROD)
    out = agentguard("agents", "show", "deploy-agent").out
    assert "decisions: 1 require_approval" in out
    assert agentguard.records()[-1]["event_id"] in out
    ran = agentguard("agents", "show", "nobody")
    assert (ran.code, "has never asked" in ran.err) == (2, True)


def test_records_of_any_shape_are_summed_up() -> None:
    records = [{"type": "decision", "principal": "a"}, {"type": "outcome"}, {"type": "decision"}]
    assert summarise(records)["a"].decisions == {"None": 1}
