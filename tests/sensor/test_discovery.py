"""Which cgroups are agents: folders with the names that systemd, the kubelet and container engines give."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.config import WatchSettings
from agentguard.core import ConfigError
from agentguard.sensor._discovery import LABEL, Found, Rules, look
from agentguard.sensor._folders import FolderNews
from agentguard.sensor._pods import Pod

if TYPE_CHECKING:
    from collections.abc import Mapping

UID = "0b5e2c1a-1111-4222-8333-444455556666"
ID = "ab" * 32
SUPPORT = Pod(UID, "agents", "support-0", {"app": "support", "tier": "web"}, {ID: "agent"})
STATIC = Pod("f" * 32, "kube-system", "etcd", {"component": "etcd"})
SYSTEMD = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
POD_FOLDERS = {
    "containerd, systemd": (SYSTEMD, f"cri-containerd-{ID}.scope"),
    "CRI-O, systemd": (SYSTEMD, f"crio-{ID}.scope"),
    "containerd, cgroupfs": (f"kubepods/burstable/pod{UID}", ID),
    "docker, cgroupfs": (f"kubepods/besteffort/pod{UID}", ID),
    "guaranteed, systemd": (
        f"kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice",
        f"docker-{ID}.scope",
    ),
    "in kind": (f"kubelet.slice/kubelet-{SYSTEMD.replace('/', '/kubelet-')}", f"cri-containerd-{ID}.scope"),
}


def found_in(
    mount: Path,
    watch: Mapping[str, WatchSettings],
    *paths: str,
    pods: tuple[Pod, ...] = (),
    most_depth: int = 8,
) -> dict[str, Found]:
    for path in paths:
        (mount / path).mkdir(parents=True)

    def find(uid: str, container: str) -> Pod | None:
        return next((each for each in pods if each.uid == uid or container in each.containers), None)

    return {each.path: each for each in look(mount, Rules(watch), most_depth=most_depth, find_pod=find)}


def units(*names: str) -> WatchSettings:
    return WatchSettings(units=names)


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        ({"a": units("agents.slice")}, {"/agents.slice": "a"}),
        (
            {"a": units("bot@*.service")},
            {"/agents.slice/bot@1.service": "a", "/agents.slice/bot@2.service": "a"},
        ),
        (
            {"a": units("*.scope"), "b": units("*")},
            {"/agents.slice": "b", "/system.slice": "b", "/x.scope": "a"},
        ),
        ({"a": units("none.slice")}, {}),
        ({}, {}),
    ],
    ids=["a slice with all in it", "each unit", "the first that fits", "nothing", "nobody"],
)
def test_units_are_found_by_name(
    tmp_path: Path, watch: dict[str, WatchSettings], expected: dict[str, str]
) -> None:
    found = found_in(
        tmp_path, watch, "agents.slice/bot@1.service", "agents.slice/bot@2.service", "system.slice", "x.scope/below",
        "agentguard/run-1-ff",
    )  # fmt: skip
    assert {path: each.principal for path, each in found.items()} == expected


@pytest.mark.parametrize(("pod", "container"), POD_FOLDERS.values(), ids=POD_FOLDERS.keys())
def test_pod_is_found_by_its_labels(tmp_path: Path, pod: str, container: str) -> None:
    watch = {"support-bot": WatchSettings(pods=("agents/app=support",))}
    (found,) = found_in(tmp_path, watch, f"{pod}/{container}", pods=(SUPPORT, STATIC)).values()
    assert (found.path, found.principal) == (f"/{pod}", "support-bot")
    assert found.labels == {"pod": UID, "namespace": "agents", "pod_name": "support-0"}
    assert found.depth == pod.count("/") + 1


def test_pod_of_a_file_of_the_node_is_found_by_its_hash(tmp_path: Path) -> None:
    path = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{'f' * 32}.slice"
    watch = {"store": WatchSettings(pods=("kube-*/component=etcd",))}
    assert list(found_in(tmp_path, watch, path, pods=(SUPPORT, STATIC))) == [f"/{path}"]


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("agents/app=support", True),
        ("agents/app=support,tier=web", True),
        ("*/tier=web", True),
        ("agents/app=support,tier=db", False),
        ("agents/app=", False),
        ("other/app=support", False),
    ],
)
def test_pods_fit_when_namespace_and_all_labels_do(tmp_path: Path, selector: str, *, fits: bool) -> None:
    found = found_in(tmp_path, {"a": WatchSettings(pods=(selector,))}, SYSTEMD, pods=(SUPPORT,))
    assert bool(found) is fits


def test_pod_that_nobody_knows_is_no_agent(tmp_path: Path) -> None:
    assert found_in(tmp_path, {"a": WatchSettings(pods=("*/app=support",))}, SYSTEMD) == {}


def test_container_is_named_with_its_pod(tmp_path: Path) -> None:
    watch = {"a": units("cri-containerd-*")}
    (found,) = found_in(tmp_path, watch, f"{SYSTEMD}/cri-containerd-{ID}.scope", pods=(SUPPORT,)).values()
    assert found.labels == {
        "container": ID, "container_name": "agent", "pod": UID, "namespace": "agents", "pod_name": "support-0",
    }  # fmt: skip


def test_too_deep_is_not_looked_at(tmp_path: Path) -> None:
    watch = {"a": units("deep")}
    assert list(found_in(tmp_path, watch, "1/2/3/deep", most_depth=4)) == ["/1/2/3/deep"]
    assert list(found_in(tmp_path, watch, most_depth=3)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can label")
def test_labelled_cgroup_is_found(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    try:
        os.setxattr(tmp_path / "one", LABEL, b"support-7")
    except OSError as error:
        pytest.skip(f"this file system has no labels: {error.strerror}")
    watch = {"support-bot": WatchSettings(labels=("support-*",))}
    (found,) = found_in(tmp_path, watch, "two").values()
    assert (found.path, found.principal, found.labels) == ("/one", "support-bot", {"label": "support-7"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_cgroup_that_a_user_made_has_no_name_of_ours(tmp_path: Path) -> None:
    path = f"user.slice/user@1000.service/{SYSTEMD}"
    watch = {"a": WatchSettings(units=("*.service",), pods=("*/app=support",))}
    (tmp_path / path).mkdir(parents=True)
    for folder in ("user@1000.service", *Path(SYSTEMD).parts):
        found = next(each for each in tmp_path.rglob(folder))
        os.chown(found, 1000, 1000)
    assert found_in(tmp_path, watch, pods=(SUPPORT,)) == {}


def test_each_folder_is_told_before_it_is_read(tmp_path: Path) -> None:
    told: list[Path] = []

    def add(folder: Path) -> None:
        told.append(folder)
        if folder.name == "slice":
            (folder / "late").mkdir()

    (tmp_path / "slice").mkdir()
    rules = Rules({"a": units("late")})
    found = list(look(tmp_path, rules, most_depth=8, find_pod=lambda *_: None, on_folder=add))
    assert [each.path for each in found] == ["/slice/late"]
    assert told == [tmp_path, tmp_path / "slice"]


def test_principal_without_anything_to_be_found_by_is_refused() -> None:
    with pytest.raises(ConfigError, match="support-bot"):
        Rules({"support-bot": WatchSettings()})


@pytest.mark.parametrize("what", ["made", "removed", "woken"])
def test_news_of_folders_end_the_wait(tmp_path: Path, what: str) -> None:
    news = FolderNews()
    (tmp_path / "old").mkdir()
    news.add(tmp_path)
    do = {
        "made": (tmp_path / "new").mkdir,
        "removed": (tmp_path / "old").rmdir,
        "woken": news.wake,
    }[what]
    waiting = threading.Thread(target=news.wait, args=(30,))
    waiting.start()
    do()
    waiting.join(10)
    assert not waiting.is_alive()
    # Told once, it is no news any more.
    news.wait(0)
    news.close()
    news.close()


def test_folder_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    news = FolderNews()
    news.add(tmp_path / "missing")
    news.wait(0)
    news.close()
