from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import Command


def test_list_shows_the_catalogue_and_narrows_it(agentguard: Command) -> None:
    everything = agentguard("actions", "list", "--json").json()
    assert len(everything) >= 60
    critical = agentguard("actions", "list", "--risk", "critical", "--json").json()
    assert 0 < len(critical) < len(everything)
    assert {each["risk"] for each in critical} == {"critical"}
    tagged = agentguard("actions", "list", "--tag", "kubernetes", "--json").json()
    assert all("kubernetes" in each["tags"] for each in tagged)
    assert agentguard("actions", "list", "--tag", "no-such-tag", "--json").json() == []


def test_the_table_has_one_line_an_action_where_nobody_looks(agentguard: Command) -> None:
    lines = agentguard("actions", "list").out.splitlines()
    assert sum("restart-deployment@1 " in line for line in lines) == 1
    assert agentguard("actions", "list", "-q").out == ""


@pytest.mark.parametrize("reference", ["restart-deployment", "restart-deployment@1"])
def test_show_says_what_an_action_is(agentguard: Command, reference: str) -> None:
    out = agentguard("actions", "show", reference).out
    for word in (
        "risk: medium",
        "check first:",
        "needs: deployments:get",
        "read-only form: rollout-status@1",
    ):
        assert word in out
    assert agentguard("actions", "show", reference, "--json").json()["name"] == "restart-deployment"


@pytest.mark.parametrize("risk", ["low", "medium", "high", "critical"])
def test_every_action_can_be_shown(agentguard: Command, risk: str) -> None:
    for action in agentguard("actions", "list", "--risk", risk, "--json").json():
        assert agentguard("actions", "show", f"{action['name']}@{action['version']}").code == 0


def test_show_of_an_undeclared_action_names_a_near_one(agentguard: Command) -> None:
    ran = agentguard("actions", "show", "restart-deploymnt")
    assert ran.code == 2
    assert "did you mean `restart-deployment`" in ran.err
    assert "agentguard actions list" in agentguard("actions", "show", "zzzzzzzz").err


def test_verify_without_a_manifest_says_how_to_get_one(agentguard: Command) -> None:
    ran = agentguard("actions", "verify")
    assert (ran.code, "agentguard actions manifest" in ran.out) == (0, True)


def test_verify_names_a_changed_file(agentguard: Command) -> None:
    assert agentguard("actions", "manifest").code == 0
    assert agentguard("actions", "verify", "--json").json() == {
        "ok": True,
        "problems": [],
        "manifest": True,
    }
    agentguard.write("actions/actions.yaml", "actions: []  # changed\n")
    agentguard.write("actions/new.yaml", "actions: []\n")
    ran = agentguard("actions", "verify")
    assert ran.code == 4
    assert "actions.yaml" in ran.out
    assert "new.yaml" in ran.out
    (agentguard.folder / "actions/actions.yaml").unlink()
    assert agentguard("actions", "verify", "--quiet").code == 4


def test_a_broken_action_file_is_3_with_its_line(agentguard: Command) -> None:
    agentguard.write("actions/bad.yaml", "actions:\n  - name: Bad Name\n    version: 1\n")
    ran = agentguard("actions", "list")
    assert (ran.code, "bad.yaml:2" in ran.err) == (3, True)
