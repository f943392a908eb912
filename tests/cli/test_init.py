from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import Command


def test_init_scaffolds_staging_allowed_and_prod_asking(agentguard: Command) -> None:
    inventory = yaml.safe_load((agentguard.folder / "inventory.yaml").read_text())
    assert [each["id"] for each in inventory["resources"]] == ["staging/api", "prod/api"]
    assert inventory["principals"] == [{"id": "deploy-agent", "kind": "agent", "roles": ["deployer"]}]
    for name in ("agentguard.yaml", "policies/deploy.yaml", "actions/actions.yaml", "tests/deploy.yaml"):
        assert (agentguard.folder / name).is_file()


def test_a_new_project_has_nothing_to_report_and_passes_its_tests(agentguard: Command) -> None:
    ran = agentguard("policy", "validate", "--json")
    assert (ran.code, ran.json()["findings"]) == (0, [])
    ran = agentguard("policy", "test", "--json")
    assert (ran.code, ran.json()) == (0, {"passed": 4, "failed": []})


def test_init_puts_no_secret_into_the_project(agentguard: Command) -> None:
    agentguard("token", "issue", "deploy-agent")
    agentguard("token", "admin")
    names = {path.name for path in agentguard.folder.rglob("*") if path.is_file()}
    assert names == {"agentguard.yaml", "inventory.yaml", ".gitignore", "deploy.yaml", "actions.yaml"}
    assert agentguard.state.stat().st_mode & 0o077 == 0 or (agentguard.state / "agentguard").is_dir()


def test_init_twice_leaves_the_first_project_alone(agentguard: Command) -> None:
    before = (agentguard.folder / "agentguard.yaml").read_text()
    ran = agentguard("init")
    assert ran.code == 3
    assert "there is a project here already" in ran.err
    assert "hint:" in ran.err
    assert (agentguard.folder / "agentguard.yaml").read_text() == before


def test_init_leaves_files_alone_that_are_there(agentguard: Command, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies/deploy.yaml").write_text("version: 1\nrules: []\n")
    ran = agentguard("init", folder, "--json")
    assert ran.code == 0
    assert "policies/deploy.yaml" not in ran.json()["written"]
    assert (folder / "policies/deploy.yaml").read_text() == "version: 1\nrules: []\n"


@pytest.mark.parametrize("blocker", ["policies", "policies/deploy.yaml"])
def test_init_where_something_is_in_the_way_says_what(
    agentguard: Command, tmp_path: Path, blocker: str
) -> None:
    way = tmp_path / "blocked" / blocker
    way.parent.mkdir(parents=True)
    if blocker == "policies":
        way.write_text("")
    else:
        way.mkdir()
    ran = agentguard("init", tmp_path / "blocked")
    assert ran.code == 3
    assert blocker in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "blocked/agentguard.yaml").exists()


def test_init_below_a_file_is_refused(agentguard: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = agentguard("init", tmp_path / "file" / "below")
    assert (ran.code, "cannot be written: not a directory" in ran.err) == (3, True)


@pytest.mark.parametrize(
    "name",
    ['a "quoted" {name}', "-dash", "Zürich 東京", "\x1b[31mred\n", "{id}", "!!", "\u202eevil", "a: #b"],
)
def test_a_strange_folder_name_makes_a_project_that_works(
    agentguard: Command, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    ran = agentguard("init", folder)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    config = yaml.safe_load((folder / "agentguard.yaml").read_text())
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{6}", config["project"]["id"])
    assert agentguard("policy", "test", "--project", folder).code == 0


def test_two_projects_of_one_name_have_two_ids(agentguard: Command, tmp_path: Path) -> None:
    agentguard("init", tmp_path / "a/same")
    agentguard("init", tmp_path / "b/same")
    first, second = (
        yaml.safe_load((tmp_path / each / "same/agentguard.yaml").read_text()) for each in ("a", "b")
    )
    assert first["project"]["id"] != second["project"]["id"]


def test_what_init_prints_next_works(agentguard: Command, tmp_path: Path) -> None:
    ran = agentguard("init", tmp_path / "other")
    tried = [line.split()[1:] for line in ran.out.splitlines() if line.startswith("  agentguard check")]
    assert [agentguard(*each).code for each in tried] == [0, 11]
