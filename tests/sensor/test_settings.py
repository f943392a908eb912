"""What the project's settings say of whom the sensor watches, and whom it tells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentguard.config import FILE_NAME, load_config
from agentguard.core import ConfigError
from agentguard.sensor import Watching, watching_of
from agentguard.sensor._pods import FilePods, KubeletPods

if TYPE_CHECKING:
    from pathlib import Path


def watching(folder: Path, sensor: str) -> Watching:
    (folder / FILE_NAME).write_text(
        f"project: {{id: my-project}}\nsensor:\n  buffer_folder: buffer\n{sensor}"
    )
    return watching_of(load_config(folder, {}), folder / FILE_NAME)


def test_owner_of_the_file_is_told(tmp_path: Path) -> None:
    found = watching(tmp_path, "")
    assert (found.project, found.uids) == ("my-project", frozenset((os.geteuid(),)))
    assert (found.buffer_folder, found.pods) == (tmp_path / "buffer", None)
    assert not found.rules


@pytest.mark.parametrize(("user", "uid"), [("nobody", 65534), ('"1234"', 1234)])
def test_user_can_be_named(tmp_path: Path, user: str, uid: int) -> None:
    assert watching(tmp_path, f"  user: {user}\n").uids == {uid}


def test_sources_of_pods(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    assert isinstance(watching(tmp_path, "  pods: file:/run/pods.json\n").pods, FilePods)
    assert isinstance(watching(tmp_path, "  pods: https://127.0.0.1:10250/pods\n").pods, KubeletPods)


@pytest.mark.parametrize(
    ("sensor", "message"),
    [
        ("  user: nobody-of-this-name\n", "no user"),
        ("  watch: {bot: {}}\n", "nothing says how `bot` is found"),
        ("  watch: {bot: {pods: [agents/app=x]}}\n", "nothing says which pods"),
        ("  watch: {bot: {pods: [app=x]}}\n", "sensor.watch"),
        ("  watch: {bot: {slices: [x]}}\n", "slices"),
        ("  pods: kubelet\n", "pods"),
        ("  pods: http://10.0.0.1/pods\n", "not encrypted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path, sensor: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        watching(tmp_path, sensor)


def test_file_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    watching(tmp_path, "")
    (tmp_path / FILE_NAME).chmod(0o666)
    with pytest.raises(ConfigError, match="everybody can write") as caught:
        watching_of(load_config(tmp_path, {}), tmp_path / FILE_NAME)
    assert caught.value.code == "config_exposed"
