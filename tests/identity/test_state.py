from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from agentguard.core import AgentGuardError, ConfigError
from agentguard.identity import StateFolder, report_state

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "demo-1234"


def environ(base: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(base)}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(base: Path) -> AgentGuardError:
    with pytest.raises(ConfigError) as caught:
        StateFolder.open(PROJECT, environ(base))
    assert caught.value.code == "state_exposed"
    assert caught.value.hint
    return caught.value


def test_new_folder_and_files_are_of_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        state = StateFolder.open(PROJECT, environ(tmp_path / "deep"))
        state.write("some-file", b"secret")
        with state.locked("some-file"):
            pass
    finally:
        os.umask(before)
    assert state.path == tmp_path / "deep" / "agentguard" / PROJECT
    assert mode(state.path) == mode(state.path.parent) == 0o700
    assert {mode(path) for path in state.path.iterdir()} == {0o600}
    assert {path.name for path in state.path.iterdir()} == {"some-file", "some-file.lock"}


@pytest.mark.parametrize("state_home", [None, "", "relative/path"])
def test_without_usable_state_home_it_is_below_the_home(tmp_path: Path, state_home: str | None) -> None:
    variables = {"HOME": str(tmp_path)} | ({} if state_home is None else {"XDG_STATE_HOME": state_home})
    state = StateFolder.open(PROJECT, variables)
    assert state.path == tmp_path / ".local" / "state" / "agentguard" / PROJECT


def test_without_home_it_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        StateFolder.open(PROJECT, {})
    assert caught.value.code == "state_unavailable"


@pytest.mark.parametrize(
    "project_id", ["", "ab", "-abc", "../../x", "a/b/c", "Abc", "abc\n", "a" * 65, "a.b.c", "äbc"]
)
def test_malformed_project_id_is_refused(tmp_path: Path, project_id: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StateFolder.open(project_id, environ(tmp_path))
    assert caught.value.code == "project_id_invalid"


@pytest.mark.parametrize("bits", [0o740, 0o704, 0o710, 0o770, 0o777])
def test_folder_that_others_can_reach_is_refused(tmp_path: Path, bits: int) -> None:
    path = StateFolder.open(PROJECT, environ(tmp_path)).path
    path.chmod(bits)
    assert f"chmod 700 {path}" in (refusal(tmp_path).hint or "")


def test_parent_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = StateFolder.open(PROJECT, environ(tmp_path)).path
    path.parent.chmod(0o755)
    StateFolder.open(PROJECT, environ(tmp_path))
    path.parent.chmod(0o775)
    refusal(tmp_path)


@pytest.mark.parametrize("level", ["agentguard", f"agentguard/{PROJECT}"])
def test_symbolic_link_is_refused(tmp_path: Path, level: str) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    link = tmp_path / level
    link.parent.mkdir(mode=0o700, exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in refusal(tmp_path).message


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agentguard").mkdir(mode=0o700)
    (tmp_path / "agentguard" / PROJECT).write_text("")
    assert "is no folder" in refusal(tmp_path).message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_folder_and_file_of_another_user_are_refused(tmp_path: Path) -> None:
    state = StateFolder.open(PROJECT, environ(tmp_path))
    state.write("some-file", b"")
    os.chown(state.path / "some-file", 12345, -1)
    with pytest.raises(ConfigError, match="uid 12345"):
        state.read("some-file")
    os.chown(state.path, 12345, -1)
    assert "uid 12345" in refusal(tmp_path).message


def test_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        StateFolder.open(PROJECT, environ(tmp_path / "file"))
    assert caught.value.code == "state_unavailable"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open(PROJECT, environ(tmp_path))


def test_file_that_others_can_read_is_refused(state: StateFolder) -> None:
    state.write("some-file", b"secret")
    (state.path / "some-file").chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        state.read("some-file")
    assert caught.value.code == "state_exposed"
    assert "chmod 600" in (caught.value.hint or "")


def test_link_pipe_and_folder_in_place_of_a_file_are_refused(state: StateFolder) -> None:
    (state.path / "link").symlink_to("/etc/hostname")
    os.mkfifo(state.path / "pipe", 0o600)
    (state.path / "folder").mkdir(mode=0o700)
    for name in ("link", "pipe", "folder"):
        with pytest.raises(ConfigError):
            state.read(name)
    with pytest.raises(ConfigError):
        state.read_or_create("link", lambda: b"")


def test_lock_that_is_a_link_is_refused(state: StateFolder) -> None:
    (state.path / "x.lock").symlink_to(state.path / "victim")
    with pytest.raises(ConfigError), state.locked("x"):
        pass
    assert not (state.path / "victim").exists()


def test_missing_file_says_so(state: StateFolder) -> None:
    assert not state.exists("some-file")
    assert state.signature("some-file") is None
    with pytest.raises(FileNotFoundError):
        state.read("some-file")


def test_failed_write_leaves_the_old_content(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write("some-file", b"old")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ConfigError, match="no space left") as caught:
        state.write("some-file", b"new")
    assert caught.value.code == "state_unavailable"
    assert state.read("some-file") == b"old"
    assert [path.name for path in state.path.iterdir()] == ["some-file"]


def test_many_creators_get_the_same_content(state: StateFolder) -> None:
    barrier = threading.Barrier(8)
    contents: list[bytes] = []

    def create(number: int) -> None:
        barrier.wait(10)
        contents.append(state.read_or_create("some-file", lambda: b"%d" % number * 1000))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(contents) == 8
    assert len(set(contents)) == 1


def test_report_warns_when_agent_and_guard_share_a_user(tmp_path: Path) -> None:
    report = report_state(PROJECT, environ(tmp_path))
    assert (report.mode, report.problem, report.same_uid, report.uid) == ("", None, True, os.geteuid())
    assert "another user" in (report.warning or "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("agent_uid", "word"), [(0, "root"), (12345, None)])
def test_report_of_an_agent_with_a_user_of_its_own(tmp_path: Path, agent_uid: int, word: str | None) -> None:
    StateFolder.open(PROJECT, environ(tmp_path))
    report = report_state(PROJECT, environ(tmp_path), agent_uid=agent_uid)
    assert (report.mode, report.problem) == ("0700", None)
    assert report.same_uid is (agent_uid == os.geteuid())
    assert (report.warning is None) if word is None else (word in (report.warning or ""))


def test_report_shows_secrets_in_the_project_folder(tmp_path: Path) -> None:
    inside = report_state(
        PROJECT, environ(tmp_path / "project" / "state"), project_folder=tmp_path / "project"
    )
    assert "project folder" in (inside.problem or "")
    beside = report_state(PROJECT, environ(tmp_path / "state"), project_folder=tmp_path / "project")
    assert beside.problem is None


def test_report_shows_what_is_wrong(tmp_path: Path) -> None:
    path = StateFolder.open(PROJECT, environ(tmp_path)).path
    path.chmod(0o755)
    report = report_state(PROJECT, environ(tmp_path))
    assert report.mode == "0755"
    assert "chmod 700" in (report.problem or "")
    (tmp_path / "file").write_text("")
    report = report_state(PROJECT, environ(tmp_path / "file"))
    assert "not a directory" in (report.problem or "")
