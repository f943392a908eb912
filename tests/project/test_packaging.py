"""What ships: the wheel has all that it needs, is built without a network, and requirements are locked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import agentguard

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "agentguard"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,-]+\])?==\S+(?: ; .+?)? \\$", re.IGNORECASE)
# An address, or an option at the start of a line, as one that names an index.
HOSTS = re.compile(r"https?://|^-", re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # No proxy can be reached at that address, so whatever asked for the network would fail.
    offline = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=ROOT,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    source = {
        f"agentguard/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.startswith("agentguard/")}
    assert shipped == source


@pytest.mark.slow
def test_wheel_has_what_is_no_code(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for needed in (
        r"agentguard/py\.typed",
        r"agentguard/registry/catalogue\.json",
        r"agentguard/policy/templates/[a-z-]+\.yaml",
        r"agentguard/console/templates/page/[a-z]+\.html",
        r"agentguard/console/static/[a-z]+\.css",
        r"agentguard/console/static/[a-z]+\.js",
        r"agentguard/kernel/objects/manifest\.json",
        r"agentguard/kernel/objects/(?:x86_64|aarch64)/syscalls\.bpf\.o",
        r"agentguard/kernel/templates/report\.html",
        r"agentguard-[0-9.]+\.dist-info/licenses/LICENSE",
    ):
        assert any(re.fullmatch(needed, name) for name in names), needed


@pytest.mark.slow
def test_wheel_runs_from_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "agentguard", *arguments],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("init", "shop")
    assert "read-only-agent" in run("policy", "template", "list")
    where = [sys.executable, "-c", "import agentguard; print(agentguard.__file__)"]
    found = subprocess.run(
        where, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.startswith(str(tmp_path / "site"))
    api = ("-P", "namespace=staging", "-P", "deployment=api")
    assert "allow" in run("check", "restart-deployment", "-r", "staging/api", "--project", "shop", *api)


def test_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == agentguard.__version__
    assert f"## [Unreleased] {agentguard.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version is {agentguard.__version__}" in (ROOT / "README.md").read_text()


def test_every_dependency_has_its_paragraph() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2]
    names = [re.split(r"[<>=!;\[ ]", each)[0] for each in PROJECT["dependencies"]]
    assert [name for name in names if f"\n**{name}** (" not in text] == []
    peers = [re.split(r"[<>=!;\[ ]", each)[0] for each in PROJECT["optional-dependencies"]["bench"]]
    tools = re.findall(r"^[a-z0-9-]+", (ROOT / "requirements" / "dev.in").read_text(), re.MULTILINE)
    assert [name for name in (*peers, *tools) if name not in text] == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_locked_with_hashes(path: Path) -> None:
    text = path.read_text()
    assert not HOSTS.search(text)
    entries = [entry for entry in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:] if entry.strip()]
    assert len(entries) > 10
    for entry in entries:
        assert PINNED.match(entry.splitlines()[0]), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry.splitlines()[0]


# The peer of the gateway's benchmark has an environment without us in it.
OURS = [path for path in REQUIREMENTS if path.name != "litellm.txt"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_locked_requirements_cover_every_dependency(path: Path) -> None:
    locked = {match[1].lower() for line in path.read_text().splitlines() if (match := PINNED.match(line))}
    needed = {re.split(r"[<>=!;\[ ]", each)[0].lower() for each in PROJECT["dependencies"]}
    assert needed <= locked
