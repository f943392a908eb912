"""A project's files become a registry and an inventory; errors name file, line and field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.core import AgentGuardError, DocumentError, PrincipalKind, RegistryError, Sensitivity
from agentguard.registry import load_actions, load_inventory

if TYPE_CHECKING:
    from pathlib import Path

ACTION = """\
  - name: {name}
    version: {version}
    description: rotates the keys
    risk: high
    params:
      properties:
        key: {{type: string, secret: true}}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_actions_of_a_folder_stand_beside_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "actions:\n" + ACTION.format(name="rotate-keys", version=1))
    write(tmp_path / "more" / "b.json", '{"name": "x.y", "version": 3, "description": "d", "risk": "low"}')
    registry = load_actions([tmp_path])
    rotate = registry.resolve("rotate-keys")
    assert rotate is not None
    assert rotate.secret_paths == (("key",),)
    assert registry.resolve("x.y@3") is not None
    assert registry.resolve("restart-deployment@1") is not None
    assert load_actions([tmp_path], catalogue=False).names() == ["rotate-keys", "x.y"]


def test_newer_version_of_a_shipped_action_replaces_it_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "actions:\n" + ACTION.format(name="restart-deployment", version=2))
    newest = load_actions([path]).resolve("restart-deployment")
    assert newest is not None
    assert newest.reference == "restart-deployment@2"


def test_order_of_files_does_not_change_the_digest(tmp_path: Path) -> None:
    one = write(tmp_path / "a.yaml", "actions:\n" + ACTION.format(name="a-a", version=1))
    two = write(tmp_path / "b.yaml", "actions:\n" + ACTION.format(name="b-b", version=1))
    assert load_actions([one, two]).digest == load_actions([two, one]).digest


BAD_ACTIONS = [
    ("", "a.yaml:1: expected `object`, got `null`"),
    ("actions: []\nother: 1", "a.yaml:2: other: unknown key `other`"),
    ("name: x\nversion: '1'\ndescription: d\nrisk: low", "a.yaml:2: version: expected `int`, got `str`"),
    ("name: x\nversion: 1\ndescription: d", "a.yaml:1: object missing required field `risk`"),
    (
        "name: x\nversion: 1\ndescription: d\nrisk: severe",
        "a.yaml:4: risk: must be one of `low`, `medium`, `high`, `critical`",
    ),
    (
        "name: x\nversion: 1\ndescription: d\nrisk: low\nparams:\n  properties:\n    n: {type: integer,\n     minumum: 1}",
        "a.yaml:8: params.properties.n.minumum: unknown JSON Schema keyword `minumum`; did you mean `minimum`",
    ),
    (
        "name: x\nversion: 1\ndescription: d\nrisk: low\nread_only_form: y@1",
        "a.yaml:5: read_only_form: must name a declared action as `name@version`, not `y@1`",
    ),
    (
        "actions:\n" + ACTION.format(name="a-a", version=1) + ACTION.format(name="a-a", version=1),
        "a.yaml:9: actions[1].name: `a-a@1` is declared twice; see ",
    ),
    (
        "actions:\n" + ACTION.format(name="restart-deployment", version=1),
        "a.yaml:2: actions[0].name: `restart-deployment@1` is in the catalogue that ships with the package; give",
    ),
]


@pytest.mark.parametrize(("text", "error"), BAD_ACTIONS)
def test_wrong_action_file_is_refused_with_file_line_and_field(tmp_path: Path, text: str, error: str) -> None:
    path = write(tmp_path / "a.yaml", text)
    with pytest.raises(AgentGuardError) as caught:
        load_actions([path])
    assert str(caught.value).startswith(f"{tmp_path}/{error}")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no such file"):
        load_actions([tmp_path / "actions.yaml"])


def test_inventory_is_gathered_from_files_and_folders(tmp_path: Path) -> None:
    one = write(
        tmp_path / "inventory.yaml",
        "resources:\n- {id: prod/api, environment: prod, sensitivity: critical, labels: {team: a}}\n"
        "principals:\n- {id: deploy-agent, roles: [deployer], groups: [sre]}\n- {id: alice, kind: human}\n",
    )
    write(tmp_path / "inventory" / "b.yaml", "resources: [{id: staging/**, sensitivity: internal}]")
    inventory = load_inventory([one, tmp_path / "inventory"])
    assert inventory.resolve("prod/api").sensitivity is Sensitivity.CRITICAL
    assert inventory.resolve("staging/a/b").sensitivity is Sensitivity.INTERNAL
    assert inventory.principals["deploy-agent"].roles == ("deployer",)
    assert inventory.principals["alice"].kind is PrincipalKind.HUMAN
    assert [entry.id for entry in inventory.resources] == ["prod/api", "staging/**"]


BAD_INVENTORIES = [
    ("resources: [{id: a/b, owner: 3}]", "i.yaml:1: resources[0].owner: expected `str`, got `int`"),
    ("resources:\n- {id: a/b}\n- {id: a/../b}", "i.yaml:3: resources[1].id: resource id has an empty"),
    ("resources:\n- {id: a/b}\n- {id: a/b}", "i.yaml:3: resources[1].id: resource `a/b` is declared twice"),
    ("resources:\n- {id: a/b}\n- {idd: a/b}", "i.yaml:3: resources[1].idd: unknown key `idd`"),
    ("principals:\n- {id: a, roles: [x, y z]}", "i.yaml:2: principals[0].roles[1]: must be 1 to 200"),
    ("principals:\n- {id: a}\n- {id: a}", "i.yaml:3: principals[1].id: principal `a` is declared twice"),
    ("principals:\n- {id: a, on_behalf_of: [b]}", "i.yaml:2: principals[0].on_behalf_of: unknown key"),
    ("people: []", "i.yaml:1: people: unknown key `people`"),
]


@pytest.mark.parametrize(("text", "error"), BAD_INVENTORIES)
def test_wrong_inventory_is_refused_with_file_line_and_field(tmp_path: Path, text: str, error: str) -> None:
    path = write(tmp_path / "i.yaml", text)
    with pytest.raises(AgentGuardError) as caught:
        load_inventory([path])
    assert str(caught.value).startswith(f"{tmp_path}/{error}")


def test_entry_declared_in_two_files_names_the_second(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        write(tmp_path / name, "resources: [{id: x/y}]")
    with pytest.raises(
        RegistryError, match=r"b\.yaml:1: resources\[0\]\.id: resource `x/y` is declared twice"
    ):
        load_inventory([tmp_path])
