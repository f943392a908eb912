from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from agentguard.core import ConfigError
from agentguard.policy import PolicySet, PolicyStore, PolicyWatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_S = 10


def _rule(name: str, effect: str = "allow") -> str:
    return f"  - {{id: {name}, effect: {effect}, actions: [a-b], reason: r}}\n"


def _file(*names: str) -> str:
    return "version: 1\nrules:\n" + "".join(map(_rule, names))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policies"
    made.mkdir()
    (made / "one.yaml").write_text(_file("one"))
    return made


def _ids(store: PolicyStore) -> set[str]:
    return {rule.rule.id for rule in store.current.rules}


def test_nothing_new_is_no_other_set(folder: Path) -> None:
    store = PolicyStore(folder)
    before = store.current
    assert store.refresh() is False
    assert store.current is before


def test_a_touched_file_is_no_other_set(folder: Path) -> None:
    store = PolicyStore(folder)
    os.utime(folder / "one.yaml", (1, 1))
    assert store.refresh() is False


def _replace_as_an_editor(folder: Path) -> None:
    (folder / ".one.yaml.swp").write_text(_file("edited"))
    (folder / ".one.yaml.swp").replace(folder / "one.yaml")


def _exchange_keeping_time_and_size(folder: Path) -> None:
    path = folder / "one.yaml"
    status = path.stat()
    with path.open("r+") as stream:
        stream.write(_file("ONE"[::-1].lower()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        (lambda folder: (folder / "one.yaml").write_text(_file("one", "more")), {"one", "more"}),
        (lambda folder: (folder / "two.json").write_text('{"version": 1, "rules": []}'), {"one"}),
        (lambda folder: (folder / "two.yaml").write_text(_file("two")), {"one", "two"}),
        (_replace_as_an_editor, {"edited"}),
        (_exchange_keeping_time_and_size, {"eno"}),
    ],
)
def test_a_change_is_put_in_force(folder: Path, change: Callable[[Path], object], ids: set[str]) -> None:
    store = PolicyStore(folder)
    before = store.current.version
    change(folder)
    assert store.refresh() is (ids != {"one"})
    assert _ids(store) == ids
    assert (store.current.version == before) is (ids == {"one"})
    assert store.refresh() is False


def test_a_deleted_file_takes_its_rules_along(folder: Path) -> None:
    (folder / "two.yaml").write_text(_file("two"))
    store = PolicyStore(folder)
    (folder / "two.yaml").unlink()
    assert store.refresh() is True
    assert _ids(store) == {"one"}


def test_a_broken_file_keeps_the_old_set_until_it_is_mended(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PolicyStore(folder, base=folder.parent)
    before = store.current
    (folder / "two.yaml").write_text("version: 1\nrules: [")
    assert store.refresh() is False
    assert store.current is before
    assert store.problem is not None
    assert store.problem.startswith("policies/two.yaml:")
    assert store.refresh() is False
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    (folder / "two.yaml").write_text(_file("two"))
    assert store.refresh() is True
    assert _ids(store) == {"one", "two"}
    assert not store.problem


def test_a_file_that_is_as_before_again_is_no_problem(folder: Path) -> None:
    store = PolicyStore(folder)
    (folder / "one.yaml").write_text("nonsense")
    store.refresh()
    assert store.problem
    (folder / "one.yaml").write_text(_file("one"))
    assert store.refresh() is False
    assert store.problem is None


def test_another_broken_file_is_said_anew(folder: Path) -> None:
    store = PolicyStore(folder)
    (folder / "two.yaml").write_text("nonsense")
    store.refresh()
    first = store.problem
    (folder / "two.yaml").write_text(_file("one"))
    store.refresh()
    assert store.problem is not None
    assert store.problem != first


def test_no_files_left_keeps_the_old_set(folder: Path) -> None:
    store = PolicyStore(folder)
    (folder / "one.yaml").unlink()
    assert store.refresh() is False
    assert _ids(store) == {"one"}
    assert store.problem is not None
    assert "no rule files are left" in store.problem


def test_a_folder_that_was_empty_takes_its_first_file(tmp_path: Path) -> None:
    store = PolicyStore(tmp_path)
    assert store.refresh() is False
    (tmp_path / "one.yaml").write_text(_file("one"))
    assert store.refresh() is True


def test_a_folder_that_goes_and_comes_back_is_no_problem_again(folder: Path) -> None:
    store = PolicyStore(folder)
    folder.rename(folder.with_name("away"))
    assert store.refresh() is False
    assert store.problem is not None
    assert _ids(store) == {"one"}
    folder.with_name("away").rename(folder)
    assert store.refresh() is False
    assert store.problem is None


def test_a_file_that_cannot_be_read_keeps_the_old_set(folder: Path) -> None:
    store = PolicyStore(folder)
    (folder / "two.yaml").write_bytes(b"version: 1\nrules: # \xff\n")
    assert store.refresh() is False
    assert store.problem is not None
    assert _ids(store) == {"one"}
    (folder / "two.yaml").unlink()
    (folder / "two.yaml").symlink_to(folder / "nowhere.yaml")
    store.refresh()
    assert _ids(store) == {"one"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_tried_again_when_it_may(folder: Path) -> None:
    (folder / "two.yaml").write_text(_file("two"))
    (folder / "two.yaml").chmod(0)
    with pytest.raises(ConfigError):
        PolicyStore(folder)
    (folder / "two.yaml").chmod(0o600)
    store = PolicyStore(folder)
    (folder / "two.yaml").write_text(_file("two", "three"))
    (folder / "two.yaml").chmod(0)
    assert store.refresh() is False
    (folder / "two.yaml").chmod(0o600)
    assert store.refresh() is True


def test_a_set_that_the_check_refuses_is_not_put_in_force(folder: Path) -> None:
    def refuse(policies: PolicySet) -> None:
        if len(policies.rules) > 1:
            raise ConfigError("too many", hint="take one away")

    store = PolicyStore(folder, check=refuse)
    (folder / "two.yaml").write_text(_file("two"))
    assert store.refresh() is False
    assert store.problem == "too many; take one away"
    assert _ids(store) == {"one"}
    with pytest.raises(ConfigError, match="too many"):
        PolicyStore(folder, check=refuse)


def test_a_failure_of_any_kind_keeps_the_old_set(folder: Path) -> None:
    failing = False

    def check(_: PolicySet) -> None:
        if failing:
            raise RecursionError

    store = PolicyStore(folder, check=check)
    failing = True
    (folder / "two.yaml").write_text(_file("two"))
    assert store.refresh() is False
    assert store.problem == "the policy files cannot be read: RecursionError"


def test_no_folder_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        PolicyStore(tmp_path / "nowhere")
    assert caught.value.hint


def test_the_watcher_reports_each_new_set_and_survives_a_failing_listener(folder: Path) -> None:
    store = PolicyStore(folder)
    seen: list[set[str]] = []
    told = threading.Event()

    def listen(policies: PolicySet) -> None:
        seen.append({rule.rule.id for rule in policies.rules})
        told.set()
        raise RuntimeError

    watcher = PolicyWatcher(store, listen, interval_s=0.01)
    try:
        for name in ("two", "three"):
            told.clear()
            (folder / f"{name}.new").write_text(_file(name))
            (folder / f"{name}.new").replace(folder / f"{name}.yaml")
            assert told.wait(DEADLINE_S)
    finally:
        watcher.stop()
    assert seen == [{"one", "two"}, {"one", "two", "three"}]
    watcher.stop()
    assert not any(each.name == "agentguard-policies" for each in threading.enumerate())


def test_readers_see_one_set_or_the_other_while_it_changes(folder: Path) -> None:
    first, second = {f"a{n}" for n in range(4)}, {f"b{n}" for n in range(4)}
    (folder / "one.yaml").write_text(_file(*sorted(first)))
    store = PolicyStore(folder)
    stop = threading.Event()
    mixed: list[set[str]] = []

    def watch() -> None:
        while not stop.is_set():
            ids = _ids(store)
            if ids not in (first, second):
                mixed.append(ids)

    readers = [threading.Thread(target=watch) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(6):
        (folder / "new").write_text(_file(*sorted(first if turn % 2 else second)))
        (folder / "new").replace(folder / "one.yaml")
        assert store.refresh() is True
    stop.set()
    for reader in readers:
        reader.join(DEADLINE_S)
    assert mixed == []
