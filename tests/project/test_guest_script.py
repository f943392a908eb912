"""`.ci/guest.sh` with commands of ours on its path, so that nothing is fetched."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "guest.sh"
debian = pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="apt-get is Debian's")


def run_script(tmp_path: Path, *, uid: int = 0, machine: str = "x86_64", **environ: str) -> tuple[str, str]:
    """Return what the script said and what it asked apt for; the package that it gets holds one kernel."""
    log, guest = tmp_path / "ran", tmp_path / "guest"
    log.write_text("")
    commands = {
        "id": f"echo {uid}",
        "uname": f"echo {machine}",
        "apt-cache": "echo '  Depends: linux-image-6.1.0-1-cloud-amd64'",
        "apt-get": f'echo "apt-get $*" >> {log}; [ "$1" != download ] || : > kernel.deb',
        "dpkg": "mkdir -p unpacked/boot && : > unpacked/boot/vmlinuz-6.1.0-1-cloud-amd64",
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", SCRIPT],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "GUEST_FOLDER": str(guest), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, log.read_text()


def put_qemu(tmp_path: Path) -> None:
    (tmp_path / "qemu-system-x86_64").write_text("#!/bin/sh\n")
    (tmp_path / "qemu-system-x86_64").chmod(0o755)


@debian
def test_kernel_is_unpacked_once_and_installed_nowhere(tmp_path: Path) -> None:
    put_qemu(tmp_path)
    said, ran = run_script(tmp_path)
    assert "fetching QEMU and a kernel" in said
    assert ran == "apt-get download --quiet --quiet linux-image-6.1.0-1-cloud-amd64\n"
    assert [each.name for each in (tmp_path / "guest").iterdir()] == ["vmlinuz-6.1.0-1-cloud-amd64"]
    assert run_script(tmp_path) == ("", "")


@pytest.mark.parametrize(
    ("how", "why"),
    [({"NO_APT": "1"}, "NO_APT is set"), ({"uid": 1000}, "not root"), ({"machine": "aarch64"}, "for x86-64")],
)
@debian
def test_what_cannot_be_fetched_is_said_and_stops_nothing(
    tmp_path: Path, how: dict[str, str], why: str
) -> None:
    said, ran = run_script(tmp_path, **how)  # type: ignore[arg-type]  # one of them is a number
    assert why in said
    assert "will skip" in said
    assert ran == ""
