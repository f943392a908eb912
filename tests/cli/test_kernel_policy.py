"""The kernel policy of a run: signed by the sidecar that is up, and enforced only as it was signed for that run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.identity import StateFolder, kernel_keys
from agentguard.kernel.jail import KernelPolicy, content_of, sign_policy
from agentguard.kernel.jail._landlock import abi
from command_line import environment, sidecar
from kernel_lab import why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command_line import Command

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(abi() < 6, reason="this kernel has no Landlock with scopes"),
]


def run(agentguard: Command, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentguard", "run", *arguments, "--", "/bin/sh", "-c", "echo ran"],
        cwd=agentguard.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def records(agentguard: Command, kind: str, phase: str) -> list[dict[str, Any]]:
    return [each for each in agentguard.records() if each.get("type") == kind and each["phase"] == phase]


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@pytest.fixture
def port(agentguard: Command) -> int:
    found = free_port()
    config = agentguard.folder / "agentguard.yaml"
    config.write_text(config.read_text() + f"server: {{port: {found}}}\n")
    return found


def test_sidecar_signs_and_the_launcher_without_one(agentguard: Command, port: int) -> None:
    with sidecar(agentguard.folder, "--port", str(port)) as up:
        assert up.url
        assert run(agentguard, "--enforce").stdout == "ran\n"
        # Other rules than the sidecar's are the launcher's to sign.
        assert run(agentguard, "--enforce", "--policy", "policies").stdout == "ran\n"
    assert run(agentguard, "--enforce").stdout == "ran\n"
    jailed = records(agentguard, "run", "jailed")
    assert [each["signed_by"] for each in jailed] == ["sidecar", "launcher", "launcher"]
    (signed,) = records(agentguard, "kernel_policy", "signed")
    assert signed["kernel_policy"] == jailed[0]["kernel_policy"]
    assert signed["policy_version"] == jailed[0]["policy_version"]
    # The door to the sidecar is in the first two.
    assert [each["kernel_policy"] for each in jailed] == [1, 1, 2]


def test_agents_own_token_gets_nothing_signed(agentguard: Command, port: int) -> None:
    token = agentguard("token", "issue", "deploy-agent").out.split()[-1]
    with sidecar(agentguard.folder, "--port", str(port)) as up:
        status, body = up.ask("POST", "/v1/kernel-policy", {"principal": "deploy-agent"}, token)
    assert (status, body["error"]["code"]) == (403, "kernel_policy_not_vouched")


@contextmanager
def impostor(port: int, answer: Callable[[dict[str, Any]], tuple[int, bytes]]) -> Iterator[None]:
    """Serve what says that it is the sidecar."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say(200, b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.say(*answer(json.loads(body)))

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def state_of(agentguard: Command) -> StateFolder:
    (folder,) = (agentguard.state / "agentguard").iterdir()
    return StateFolder.open(folder.name, {"XDG_STATE_HOME": str(agentguard.state)})


def policy(order: dict[str, Any], **changes: Any) -> KernelPolicy:
    made = KernelPolicy(9, "sha256:x", order["principal"], order["mode"], (), (), (), ())
    return msgspec.convert({**msgspec.to_builtins(made), **changes}, KernelPolicy)


OPEN = {"path": "/", "access": ["read", "write"], "effect": "allow", "rule": "--rw"}


@pytest.mark.parametrize(
    ("lie", "code", "why"),
    [
        (({"principal": "other"}, {}), 4, "is for `other`, and not for"),
        (({"mode": "warn"}, {}), 5, "is for another run"),
        (({"paths": [OPEN]}, {}), 5, "is for another run"),
        (({}, {"signature": ""}), 4, "is not signed"),
        (({}, {"policy": None}), 4, "signature that is not of its content"),
        (({}, {"key_id": "mine"}), 4, "signed by a key that is not the project's"),
        (({"version": 1}, {}), 4, "is version 1, and 9 was in force already"),
    ],
)
def test_what_an_impostor_answers_is_not_enforced_and_nothing_runs(
    agentguard: Command,
    port: int,
    lie: tuple[dict[str, Any], dict[str, Any]],
    code: int,
    why: str,
) -> None:
    changes, spoil = lie
    assert run(agentguard, "--enforce").returncode == 0
    state = state_of(agentguard)
    state.write("kernel-policy-accepted.json", b'{"deploy-agent": 9}')

    def answer(order: dict[str, Any]) -> tuple[int, bytes]:
        made = policy(order, **changes)
        signed = sign_policy(made, kernel_keys(state).signer())
        if "policy" in spoil:
            signed = msgspec.structs.replace(
                signed, policy=msgspec.Raw(content_of(made).replace(b"sha256:x", b"sha256:y"))
            )
        else:
            signed = msgspec.structs.replace(signed, **spoil)
        return 200, msgspec.json.encode({"signed": signed, "notes": []})

    with impostor(port, answer):
        done = run(agentguard, "--enforce")
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b"<html>", "its answer cannot be read"),
        (500, b"oops", "its answer cannot be read"),
        (503, b'{"error": {"code": "state_unavailable", "message": "the disk is full"}}', "the disk is full"),
    ],
)
def test_sidecar_that_cannot_sign_is_told_and_nothing_runs(
    agentguard: Command, port: int, status: int, body: bytes, why: str
) -> None:
    with impostor(port, lambda _order: (status, body)):
        done = run(agentguard, "--enforce")
    assert (done.returncode, done.stdout) == (5, "")
    assert f"the sidecar has not signed the kernel policy: {why}" in done.stderr


def test_sidecar_that_sees_other_files_leaves_it_to_the_launcher(agentguard: Command, port: int) -> None:
    command = ["unshare", "--mount", sys.executable, "-m", "agentguard", "up", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=agentguard.folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "stop with" not in process.stdout.readline():
            assert process.poll() is None
        try:
            assert run(agentguard, "--enforce").stdout == "ran\n"
        finally:
            process.terminate()
    (jailed,) = records(agentguard, "run", "jailed")
    assert jailed["signed_by"] == "launcher"
