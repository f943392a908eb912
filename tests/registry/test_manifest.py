"""A manifest names every file that was changed, removed or added."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from agentguard.core import IntegrityError, RegistryError
from agentguard.registry import MANIFEST_NAME, verify_manifest, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    actions = tmp_path / "actions"
    (actions / "k8s").mkdir(parents=True)
    (actions / "a.yaml").write_text("actions: []")
    (actions / "k8s" / "b c.json").write_text("{}")
    (actions / "notes.txt").write_text("not an action")
    write_manifest(actions)
    return actions


def test_untouched_folder_has_no_problem(folder: Path) -> None:
    assert verify_manifest(folder) == []


def test_manifest_has_the_format_of_sha256sum(folder: Path) -> None:
    lines = (folder / MANIFEST_NAME).read_text().splitlines()
    assert lines[0] == f"{hashlib.sha256(b'actions: []').hexdigest()}  a.yaml"
    assert len(lines) == 2
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", MANIFEST_NAME], cwd=folder, check=False, capture_output=True
    )
    assert check.returncode == 0


def test_each_difference_is_named(folder: Path) -> None:
    (folder / "a.yaml").write_text("actions: [ ]")
    (folder / "k8s" / "b c.json").unlink()
    (folder / "new.yml").write_text("actions: []")
    assert verify_manifest(folder) == [
        "`a.yaml` has changed",
        "`k8s/b c.json` is missing",
        "`new.yml` is not listed in MANIFEST.sha256",
    ]


def test_line_that_was_tampered_with_is_named(folder: Path) -> None:
    manifest = folder / MANIFEST_NAME
    manifest.write_text(manifest.read_text() + "what is this\n" + manifest.read_text().splitlines()[0] + "\n")
    problems = verify_manifest(folder)
    assert [problem.split(" ")[0] for problem in problems] == ["MANIFEST.sha256:3:", "MANIFEST.sha256:4:"]


def test_file_outside_the_folder_counts_as_missing(folder: Path) -> None:
    (folder.parent / "x.yaml").write_text("")
    line = f"{hashlib.sha256(b'').hexdigest()}  ../x.yaml\n"
    (folder / MANIFEST_NAME).write_text((folder / MANIFEST_NAME).read_text() + line)
    assert verify_manifest(folder) == ["`../x.yaml` is missing"]


def test_folder_without_a_manifest_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="there is no manifest"):
        verify_manifest(tmp_path)


def test_manifest_that_is_no_text_is_an_integrity_error(folder: Path) -> None:
    (folder / MANIFEST_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(IntegrityError, match="cannot be read"):
        verify_manifest(folder)


def test_name_that_a_manifest_cannot_hold_is_refused(folder: Path) -> None:
    (folder / "a\nb.yaml").write_text("")
    with pytest.raises(RegistryError, match="a name that a manifest cannot hold"):
        write_manifest(folder)


def test_manifest_that_cannot_be_written_is_an_error_and_leaves_the_old_one(folder: Path) -> None:
    (folder / MANIFEST_NAME).unlink()
    (folder / MANIFEST_NAME).mkdir()
    with pytest.raises(RegistryError, match="cannot make the manifest"):
        write_manifest(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.sha256", "a.yaml", "k8s", "notes.txt"]


def test_second_manifest_replaces_the_first(folder: Path) -> None:
    (folder / "a.yaml").write_text("actions: [ ]")
    assert write_manifest(folder) == folder / MANIFEST_NAME
    assert verify_manifest(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.sha256", "a.yaml", "k8s", "notes.txt"]
