"""`.ci/apt.sh` with commands of ours on its path, so that nothing is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "apt.sh"
UPDATED = "apt-get update --quiet --quiet\n"
INSTALL = "apt-get install --quiet --quiet --yes --no-install-recommends "
BROWSER, BPF, REDIS = "chromium", "clang llvm libbpf-dev", "redis-server"
debian = pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="apt-get is Debian's")


def put(tmp_path: Path, name: str, body: str = ":") -> None:
    command = tmp_path / name
    command.write_text(f"#!/bin/sh\n{body}\n")
    command.chmod(0o755)


def put_bpf(tmp_path: Path) -> None:
    put(tmp_path, "clang")
    put(tmp_path, "llvm-strip")
    (tmp_path / "bpf_helpers.h").touch()


def run_script(tmp_path: Path, *, uid: int = 0, apt_fails: bool = False, **environ: str) -> tuple[str, str]:
    """Return what the script said and which commands it ran."""
    log = tmp_path / "ran"
    log.write_text("")
    for name, body in {
        "id": f"echo {uid}",
        "apt-get": f'echo "apt-get $*" >> {log}; {"exit 100" if apt_fails else ":"}',
    }.items():
        put(tmp_path, name, body)
    done = subprocess.run(
        ["/bin/sh", SCRIPT],
        env={"PATH": str(tmp_path), "BPF_HEADERS": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, log.read_text()


@debian
def test_root_on_debian_is_told_what_is_installed(tmp_path: Path) -> None:
    said, ran = run_script(tmp_path)
    assert f"installing {BROWSER} {BPF} {REDIS} for the tests marked `browser` `kernel` `services`" in said
    assert ran == f"{UPDATED}{INSTALL}{BROWSER} {BPF} {REDIS}\n"


@debian
def test_only_what_is_missing_is_installed(tmp_path: Path) -> None:
    put(tmp_path, "chromium")
    assert run_script(tmp_path)[1] == f"{UPDATED}{INSTALL}{BPF} {REDIS}\n"
    (tmp_path / "chromium").unlink()
    put_bpf(tmp_path)
    assert run_script(tmp_path)[1] == f"{UPDATED}{INSTALL}{BROWSER} {REDIS}\n"


def test_nothing_is_installed_when_all_is_there(tmp_path: Path) -> None:
    put(tmp_path, "chromium")
    put_bpf(tmp_path)
    put(tmp_path, "redis-server")
    assert run_script(tmp_path) == ("", "")


def test_no_apt_installs_nothing_and_says_what_skips(tmp_path: Path) -> None:
    said, ran = run_script(tmp_path, NO_APT="1")
    assert "NO_APT is set" in said
    assert "tests marked `browser` `kernel` `services` will skip in part" in said
    assert ran == ""


@debian
def test_ordinary_user_is_told_what_skips(tmp_path: Path) -> None:
    said, ran = run_script(tmp_path, uid=1000)
    assert f"not root (`sudo apt-get install {BROWSER} {BPF} {REDIS}` mends it)" in said
    assert ran == ""


@debian
def test_failed_installation_does_not_stop_the_tests(tmp_path: Path) -> None:
    said, ran = run_script(tmp_path, apt_fails=True)
    assert "the installation failed" in said
    assert ran == UPDATED
