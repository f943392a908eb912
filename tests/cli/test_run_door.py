"""A jailed agent reaches the project's sidecar and its gateway, and nothing else of the host's loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentguard.kernel import probe_network
from agentguard.kernel.jail._landlock import abi
from command_line import SOURCE, environment, sidecar
from jail_lab import NOBODY
from kernel_lab import why_not
from llm_upstream import KEY, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]

# Asks the sidecar for a decision and the gateway for a model, then tries what is not for it.
AGENT = """
import http.client, json, os, socket, sys, urllib.parse
port, other, token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def post(path, body, key):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    print(path.rpartition("/")[2], answer.status, "allow" in answer.read().decode(), flush=True)
call = {"request_id": "0" * 32, "action": "restart-deployment", "resource": "staging/api",
        "params": {"namespace": "staging", "deployment": "api"}}
post("/v1/check", call, token)
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
assert url.netloc == f"127.0.0.1:{port}"
body = {"model": "gpt-4o", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
post(url.path + "/chat/completions", body, os.environ["OPENAI_API_KEY"])
for host, number in (("127.0.0.1", other), ("127.0.0.2", port), ("::1", other), ("127.0.0.1", 22)):
    try:
        with socket.create_connection((host, number), 5) as made:
            made.sendall(b"GET / HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
            said = made.recv(64)
            print("got", said if b" 403 " not in said else "refused")
    except OSError:
        print("got refused")
"""
RULES = """
version: 1
rules:
  - {id: models, effect: allow, actions: [llm.chat], resources: ["llm/**"], owner: ops, reason: Models may be asked}
"""
SETTINGS = """
server: {{port: {server}}}
gateway:
  upstreams:
    openai: {{kind: openai, base_url: "http://127.0.0.1:{upstream}/v1", key: "env:PROVIDER_KEY", models: ["gpt-*"], local: true}}
"""
SYSTEM_PYTHON = "/usr/bin/python3"
BRIDGED = "import agentguard.cli._network as network; network._has_programs = lambda: False; "


def python_of(uid: int) -> tuple[str, dict[str, str]]:
    """Return an interpreter that a user may run, and what it takes to find the packages; skips where there is none."""
    if not uid:
        return sys.executable, {}
    if _may_run(sys.executable, uid):
        return sys.executable, {}
    if any(not each.stat().st_mode & 0o001 for each in SOURCE.parents):
        pytest.skip("an ordinary user may not read the package here")
    if not _may_run(SYSTEM_PYTHON, uid):
        pytest.skip("an ordinary user may run no interpreter of this version here")
    return SYSTEM_PYTHON, {"PYTHONPATH": os.pathsep.join([str(SOURCE), sysconfig.get_paths()["purelib"]])}


def _may_run(python: str, uid: int) -> bool:
    code = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.run([python, "-I", "-c", code], user=uid, cwd="/", check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def folder() -> Iterator[Path]:
    # Beneath what every user may enter.
    made = Path(tempfile.mkdtemp(prefix="agentguard-door-", dir="/var/lib"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("uid", "how", "tier"), [(0, "programs", "T2"), (0, "namespace", "T1"), (NOBODY, "namespace", "T0")]
)
def test_sidecar_and_gateway_are_reached_and_nothing_else_of_the_loopback(
    folder: Path, uid: int, how: str, tier: str
) -> None:
    if how == "programs" and (missing := [each.detail for each in probe_network() if not each.ok]):
        pytest.skip("; ".join(missing))
    home = folder / "home"
    home.mkdir()
    os.chown(home, uid, uid)
    environ = {**environment(), "PROVIDER_KEY": KEY, "XDG_STATE_HOME": str(home / "state"), "HOME": str(home)}
    python, paths = python_of(uid)
    environ |= paths
    rights: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": []} if uid else {}

    def command(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
        text = f"import sys; from agentguard.cli import main; {code}sys.exit(main())"
        return subprocess.run(
            [python, "-c", text, *arguments],
            cwd=home / "shop" if (home / "shop").exists() else home,
            env=environ, capture_output=True, text=True, timeout=60, check=False, **rights,
        )  # fmt: skip

    assert command("init", "shop").returncode == 0
    shop = home / "shop"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (shop / "policies" / "models.yaml").write_text(RULES)
    (shop / "agent.py").write_text(AGENT)
    with Upstream() as upstream, socket.create_server(("127.0.0.1", 0)) as other:
        config = shop / "agentguard.yaml"
        config.write_text(config.read_text() + SETTINGS.format(server=port, upstream=upstream.port))
        token = command("token", "issue", "deploy-agent").stdout.split()[-1]
        with sidecar(shop, "--port", str(port), env=environ, python=python, **rights) as running:
            assert running.url.endswith(str(port))
            done = command(
                "run", "--enforce", "-p", "deploy-agent", "--",
                "/usr/bin/python3", "-I", "agent.py", str(port), str(other.getsockname()[1]), token,
                code=BRIDGED if how == "namespace" else "",
            )  # fmt: skip
    assert done.stdout.splitlines() == ["check 200 True", "completions 200 False", *["got refused"] * 4], (
        done.stderr
    )
    assert f"tier {tier}" in done.stderr
