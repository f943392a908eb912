"""The import contracts hold, and each of them breaks when somebody plants what it forbids."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "agentguard"
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {each["id"]: each for each in SETTINGS["contracts"]}
# Run by the interpreter that runs the tests, so that both see one environment.
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]

# contract -> (module, what is planted at its end)
PLANTED = {
    "floors": ("config/_config.py", "import agentguard.registry"),
    "light-core": ("policy/_set.py", "import sqlite3"),
    "pep-without-pdp": ("server/_app.py", "from agentguard.pdp import PolicyDecisionPoint"),
    "front-door": ("cli/check.py", "import agentguard"),
}

PEP_ROOMS = ("clients", "gateway", "kernel", "sensor", "server", "console")
LIGHT_ROOMS = ("core", "policy", "registry", "audit")
CORE_MAY_IMPORT = frozenset((*sys.stdlib_module_names, "msgspec"))
# Adapters of the ports; only `assembly` may choose one.
BACKENDS = "agentguard.backends"


def run_contracts(project: Path) -> tuple[int, set[str]]:
    """Return the exit code of import-linter in `project` and the ids of the contracts that broke."""
    environ = {**os.environ, "PYTHONPATH": str(project / "src"), "COLUMNS": "400"}
    done = subprocess.run(
        LINT, cwd=project, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    verdicts = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))
    assert verdicts.keys() == {each["name"] for each in CONTRACTS.values()}, done.stdout + done.stderr
    broken = {key for key, each in CONTRACTS.items() if verdicts[each["name"]] == "BROKEN"}
    return done.returncode, broken


@pytest.fixture
def copy_of_project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "src" / "agentguard", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_package_as_it_is_keeps_every_contract(copy_of_project: Path) -> None:
    assert run_contracts(copy_of_project) == (0, set())


@pytest.mark.parametrize("contract", CONTRACTS)
def test_planted_import_breaks_its_contract_and_no_other(contract: str, copy_of_project: Path) -> None:
    assert contract in PLANTED, f"plant a violation of the contract `{contract}`"
    module, statement = PLANTED[contract]
    with (copy_of_project / "src" / "agentguard" / module).open("a") as stream:
        stream.write(f"\n{statement}\n")
    assert run_contracts(copy_of_project) == (1, {contract})


def test_rooms_are_in_parentheses_until_they_are_built() -> None:
    floors = [room.strip() for layer in CONTRACTS["floors"]["layers"] for room in layer.split("|")]
    unbuilt = {room.strip("()") for room in floors if room.startswith("(")}
    built = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert built - {"__init__", "__main__"} == set(floors) - {f"({room})" for room in unbuilt}
    assert unbuilt.isdisjoint(built)


@pytest.mark.parametrize(
    ("contract", "rooms"), [("pep-without-pdp", PEP_ROOMS), ("light-core", LIGHT_ROOMS)], ids=str
)
def test_contract_covers_each_of_its_rooms_that_is_built(contract: str, rooms: tuple[str, ...]) -> None:
    built = {f"agentguard.{room}" for room in rooms if (PACKAGE / room).is_dir()}
    assert set(CONTRACTS[contract]["source_modules"]) == built


def test_core_imports_the_standard_library_and_msgspec_only() -> None:
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        assert not foreign_to_core(path.read_text()), path.name


@pytest.mark.parametrize(
    "statement",
    [
        "import yaml",
        "from orjson import dumps",
        "if True:\n    import re2",
        "from agentguard.policy import lint",
    ],
)
def test_foreign_import_in_core_is_noticed(statement: str) -> None:
    assert foreign_to_core(statement)


@pytest.mark.parametrize(
    "statement", ["import json", "import msgspec", "from agentguard.core.effect import Effect"]
)
def test_import_that_core_may_have_passes(statement: str) -> None:
    assert not foreign_to_core(statement)


def foreign_to_core(source: str) -> list[str]:
    return [
        name
        for name in imports(source)
        if name.partition(".")[0] not in CORE_MAY_IMPORT and not f"{name}.".startswith("agentguard.core.")
    ]


def test_only_assembly_names_a_backend() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in ("assembly", "backends"):
            assert not names_backend(path.read_text()), place


@pytest.mark.parametrize(
    "statement", ["import agentguard.backends", "from agentguard.backends.sqlite import Store"]
)
def test_backend_named_elsewhere_is_noticed(statement: str) -> None:
    assert names_backend(statement)


def names_backend(source: str) -> bool:
    return any(f"{name}.".startswith(f"{BACKENDS}.") for name in imports(source))


def imports(source: str) -> Iterator[str]:
    """Yield the module of each import statement, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}.{node.names[0].name}" if node.module == "agentguard" else node.module or ""


def test_imports_across_rooms_name_the_room() -> None:
    """`from agentguard.policy import lint`, never `from agentguard.policy._lint import lint`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        reached = [
            name
            for name in imports(path.read_text())
            if name.startswith("agentguard.")
            and name.count(".") > 1
            and name.split(".")[1] != room
            # A room within a room, as `kernel.jail`, has a door of its own.
            and not (PACKAGE.joinpath(*name.split(".")[1:]) / "__init__.py").is_file()
        ]
        assert reached == [], path
