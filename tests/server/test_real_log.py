"""The sidecar over the log on disk: what was answered is proven afterwards."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentguard.audit import Rejections, SegmentLog, verify
from agentguard.server import _serve
from sidecar import ADMIN, World, raw, running

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.server import Services


class Signer:
    key_id = "test"

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


class DiskWorld(World):
    """A world whose decisions go to a folder."""

    def services(self) -> Services:
        self.decider.log = self.disk  # type: ignore[assignment]  # the same port, on disk
        return replace(super().services(), audit=self.disk, rejections=Rejections(self.disk))

    def put(self, folder: Path, signer: Signer) -> DiskWorld:
        self.disk = SegmentLog(folder, signer=signer)
        return self


def test_what_was_answered_is_in_a_log_that_verifies(tmp_path: Path) -> None:
    signer = Signer()
    world = DiskWorld().put(tmp_path / "audit", signer)
    with running(world):
        threads = [threading.Thread(target=lambda: [world.check() for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        world.ask("POST", "/v1/check", b'{"planted": "agsec_hunter2"}', "agent-token")
        raw(world.port, b"\x16\x03\x01 agsec_hunter2\r\n\r\n")
        found = world.ask("GET", "/v1/audit?after=100", token=ADMIN).json()["records"]
        assert [each["seq"] for each in found] == [101, 102]
        page = world.ask("GET", "/v1/agents", token=ADMIN).json()["agents"]
        assert [each["principal"] for each in page] == ["deploy-agent"]
        metrics = world.ask("GET", "/metrics").body.decode()
        assert "agentguard_audit_seq 102.0" in metrics
    _serve._close(world.services())
    keys = {"test": signer.key.public_key().public_bytes_raw()}
    proven = verify(tmp_path / "audit", public_keys=keys)
    assert (proven.ok, proven.records, proven.end_protected, proven.after_head) == (True, 102, True, 0)
    text = "".join(path.read_text() for path in (tmp_path / "audit").iterdir())
    assert "agsec_hunter2" not in text
