"""What is deployed: the systemd unit of the sensor is one that systemd takes, and gives it no more than it needs."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from agentguard.config import SensorSettings
from agentguard.sensor._rights import _NAMES

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "agentguard-sensor.service"
# Each of these is a wall between the sensor and the machine.
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "read-only",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "LockPersonality": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "LimitCORE": "0",
    "AmbientCapabilities": "",
}


def settings_of(text: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit file (systemd.syntax(7)); a setting may stand there several times."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            name, sign, value = line.partition("=")
            assert sign, line
            found[section][name].append(value)
    return found


SERVICE = settings_of(UNIT.read_text())["Service"]


@pytest.mark.parametrize(("name", "value"), HARDENED.items())
def test_wall_stands(name: str, value: str) -> None:
    assert SERVICE[name] == [value]


def test_rights_are_those_that_are_kept_and_those_that_the_start_needs() -> None:
    (line,) = SERVICE["CapabilityBoundingSet"]
    assert set(line.split()) == {*_NAMES.values(), "CAP_PERFMON", "CAP_SETPCAP"}


def test_folders_are_those_of_the_settings() -> None:
    default = SensorSettings()
    assert [f"/run/{SERVICE['RuntimeDirectory'][0]}"] == [str(Path(default.socket).parent)]
    assert [f"/var/lib/{SERVICE['StateDirectory'][0]}"] == [default.buffer_folder]
    assert SERVICE["StateDirectoryMode"] == ["0700"]
    # The rest is read-only, and the self-test makes a file.
    assert SERVICE["Environment"] == ["TMPDIR=/run/agentguard"]


def test_command_is_one_that_there_is() -> None:
    (line,) = SERVICE["ExecStart"]
    assert line.split()[1:3] == ["sensor", "--project"]
    assert SERVICE["Type"] == ["notify"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_takes_it(tmp_path: Path) -> None:
    program = tmp_path / "agentguard"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/agentguard/bin/agentguard", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, about_it) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_it_little_exposed() -> None:
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=35", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
