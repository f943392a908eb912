from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.audit import SegmentLog, read_head, verify
from agentguard.core import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from audit_doubles import Ed25519Signer, SetClock

SRC = str(Path(__file__).parents[2] / "src")


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.005)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def seqs(log: SegmentLog) -> list[int]:
    return [record["seq"] for record in log.read()]


def fill(log: SegmentLog) -> int:
    """Append until the log refuses; return how many records it took."""
    for accepted in range(1000):
        try:
            log.append({"type": "decision", "reason": "x" * 100})
        except AuditError:
            return accepted
    return 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def test_a_log_opened_again_goes_on_where_it_ended(folder: Path, signer: Ed25519Signer) -> None:
    for _ in range(3):
        log = SegmentLog(folder, signer=signer)
        log.append({"type": "decision"})
        log.close()
    result = verify(folder, public_keys=signer.public_keys)
    assert (result.ok, result.records, result.end_protected) == (True, 3, True)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert segments(folder)[0].stat().st_mode & 0o777 == 0o600


def test_two_logs_of_one_folder_share_one_chain_across_rotations(folder: Path) -> None:
    logs = [SegmentLog(folder, max_segment_bytes=1000) for _ in range(2)]
    for turn in range(60):
        logs[turn * 7 % 3 % 2].append({"type": "decision", "turn": turn})
    assert [record["turn"] for record in logs[0].read() if "turn" in record] == list(range(60))
    for log in logs:
        log.close()
    assert len(segments(folder)) > 5
    assert verify(folder).records == 60 + len(segments(folder)) - 1


def test_a_new_day_begins_a_new_segment_and_a_clock_set_back_does_not(folder: Path, clock: SetClock) -> None:
    log = SegmentLog(folder, clock=clock)
    log.append({"type": "decision"})
    clock.advance(seconds=1)
    log.append({"type": "decision"})
    clock.advance(hours=-3)
    log.append({"type": "decision"})
    log.close()
    assert [path.name for path in segments(folder)] == ["000001-2026-11-21.jsonl", "000002-2026-11-22.jsonl"]
    assert segments(folder)[0].stat().st_mode & 0o777 == 0o400
    assert [record["type"] for record in log.read()] == ["decision", "segment", "decision", "decision"]
    assert verify(folder).ok


def test_a_sealed_last_segment_is_followed_by_a_new_one(folder: Path) -> None:
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    log.close()
    segments(folder)[0].chmod(0o400)
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    log.close()
    assert len(segments(folder)) == 2
    assert verify(folder).records == 2


@pytest.mark.parametrize("torn", [b'{"prev":"', b"\0" * 5000, b"\0\0\n", b'{"prev":1}\n{"a', b"x\ny\nz\n"])
def test_a_torn_tail_is_moved_aside_and_recorded(folder: Path, torn: bytes) -> None:
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    log.close()
    with segments(folder)[0].open("ab") as file:
        file.write(torn)
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    records = list(log.read())
    log.close()
    digest = hashlib.sha256(torn).hexdigest()
    assert [record["type"] for record in records] == ["decision", "recovered", "decision"]
    assert (records[1]["bytes"], records[1]["sha256"]) == (len(torn), digest)
    assert (folder / records[1]["file"]).read_bytes() == torn
    assert records[1]["file"] == f"torn-2-{digest[:8]}"
    assert verify(folder).ok


def test_a_tail_torn_by_another_process_while_open_is_moved_aside(folder: Path) -> None:
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    with segments(folder)[0].open("ab") as file:
        file.write(b'{"prev":"00')
    log.append({"type": "decision"})
    assert [record["type"] for record in log.read()] == ["decision", "recovered", "decision"]
    log.close()


def test_a_crash_between_moving_aside_and_recording_is_made_good(folder: Path) -> None:
    SegmentLog(folder).close()
    (folder / "torn-1-00000000").write_bytes(b"abc")
    log = SegmentLog(folder)
    (record,) = log.read()
    log.close()
    assert (record["type"], record["bytes"]) == ("recovered", 3)


def test_the_head_is_signed_by_itself_and_never_goes_backwards(folder: Path, signer: Ed25519Signer) -> None:
    log = SegmentLog(folder, signer=signer, head_interval_s=0.02, fsync_interval_s=0.01)
    old = SegmentLog(folder, signer=signer, head_interval_s=60)
    old.append({"type": "decision"})
    for _ in range(5):
        log.append({"type": "decision"})
    wait_until(lambda: log.state.head_seq == 6)
    old.close()
    head = read_head(folder)
    assert head is not None
    assert head.seq == 6
    log.close()
    assert verify(folder, public_keys=signer.public_keys).end_protected


class SlowSigner:
    """Signs when it is let to."""

    key_id = "slow"

    def __init__(self, signer: Ed25519Signer) -> None:
        self._signer = signer
        self.is_asked, self.may_sign = threading.Event(), threading.Event()

    def sign(self, message: bytes) -> bytes:
        self.is_asked.set()
        assert self.may_sign.wait(5)
        return self._signer.sign(message)


def test_a_head_that_takes_long_holds_up_no_record(folder: Path, signer: Ed25519Signer) -> None:
    slow = SlowSigner(signer)
    log = SegmentLog(folder, signer=slow, head_interval_s=0.01, fsync_interval_s=0.01)
    log.append({"type": "decision"})
    assert slow.is_asked.wait(5)
    more = threading.Thread(target=log.append, args=({"type": "outcome"},))
    more.start()
    wait_until(lambda: seqs(log) == [1, 2])
    # The first head is of the first record alone, though the second one was there before it.
    slow.may_sign.set()
    more.join(5)
    wait_until(lambda: log.state.head_seq == 2)
    log.close()
    head = read_head(folder)
    assert head is not None
    assert head.seq == 2
    assert list(folder.glob(".head*")) == []


def test_heads_that_are_wanted_at_once_come_one_after_the_other(folder: Path, signer: Ed25519Signer) -> None:
    log = SegmentLog(folder, signer=signer, head_interval_s=0.001, fsync_interval_s=0.001)

    def write() -> None:
        for _ in range(20):
            log.append({"type": "decision"})
            log.flush()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert log.state.healthy
    log.close()
    assert verify(folder, public_keys=signer.public_keys).end_protected


def test_a_head_is_due_after_so_many_records(folder: Path, signer: Ed25519Signer) -> None:
    log = SegmentLog(folder, signer=signer, head_interval_s=60, head_records=10, fsync_interval_s=60)
    for _ in range(10):
        log.append({"type": "decision"})
    wait_until(lambda: log.state.head_seq == 10)
    log.close()


@pytest.mark.parametrize("change", ["truncated", "changed", "forged", "unreadable"])
def test_an_end_that_the_head_contradicts_is_not_written_on(
    folder: Path, signer: Ed25519Signer, change: str
) -> None:
    log = SegmentLog(folder, signer=signer)
    for _ in range(3):
        log.append({"type": "decision"})
    log.close()
    path, head = segments(folder)[0], folder / "head"
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "truncated":
        path.write_bytes(b"".join(lines[:2]))
    elif change == "changed":
        path.write_bytes(b"".join(lines).replace(b"decision", b"decisive"))
    elif change == "forged":
        head.write_bytes(head.read_bytes().replace(b'"seq":3', b'"seq":1'))
    else:
        head.write_bytes(b"{}")
    before = path.read_bytes()
    log = SegmentLog(folder, signer=signer)
    assert not log.state.healthy
    with pytest.raises(AuditError):
        log.append({"type": "decision"})
    log.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("harm", ["delete", "cut", "move"])
def test_a_segment_harmed_while_in_use_denies(folder: Path, signer: Ed25519Signer, harm: str) -> None:
    log = SegmentLog(folder, signer=signer, head_interval_s=0.02, fsync_interval_s=0.01)
    log.append({"type": "decision"})
    log.flush()
    path = segments(folder)[0]
    if harm == "delete":
        path.unlink()
    elif harm == "cut":
        os.truncate(path, 0)
    else:
        path.rename(folder / "elsewhere")

    def denied() -> bool:
        try:
            log.append({"type": "decision"})
        except AuditError:
            return True
        return False

    wait_until(denied)
    assert not log.probe().healthy
    assert log.state.why_not
    if harm == "move":
        with pytest.raises(AuditError):
            log.close()


def test_segments_deleted_while_in_use_are_not_begun_anew(folder: Path) -> None:
    log = SegmentLog(folder)
    log.append({"type": "decision"})
    log.flush()
    segments(folder)[0].unlink()
    wait_until(lambda: fill(log) < 1000)
    with pytest.raises(AuditError):
        log.append({"type": "decision"})
    assert "this process knows of" in log.probe().why_not
    assert segments(folder) == []


@pytest.mark.parametrize("durability", ["os", "group", "record"])
def test_a_failed_sync_denies_until_it_succeeds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    log = SegmentLog(folder, durability=durability, fsync_interval_s=0.01)  # type: ignore[arg-type]  # parametrised
    log.append({"type": "decision"})

    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        patch.setattr(os, "fsync", broken)

        def denied() -> bool:
            try:
                log.append({"type": "decision"})
            except AuditError as error:
                return "Input/output error" in str(error)
            return False

        wait_until(denied)
        assert not log.probe().healthy
        assert "Input/output error" in log.state.why_not
        if durability == "os":
            with pytest.raises(AuditError):
                log.flush()
    assert log.probe().healthy
    log.append({"type": "decision"})
    log.close()
    assert verify(folder).ok


def test_too_little_free_space_denies_and_says_so(folder: Path) -> None:
    log = SegmentLog(folder, reserve_bytes=1 << 60)
    assert not log.state.healthy
    with pytest.raises(AuditError) as caught:
        log.append({"type": "decision"})
    assert caught.value.code == "audit_disk_full"
    log.close()


def test_a_folder_that_cannot_be_made_denies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = SegmentLog(tmp_path / "file" / "audit")
    with pytest.raises(AuditError, match="cannot be written"):
        log.append({"type": "decision"})
    log.close()


def test_a_signer_that_fails_denies(folder: Path) -> None:
    class Broken:
        key_id = "k"

        def sign(self, message: bytes) -> bytes:
            raise RuntimeError(f"token removed before {len(message)} bytes were signed")

    log = SegmentLog(folder, signer=Broken(), head_interval_s=60)
    log.append({"type": "decision"})
    with pytest.raises(AuditError, match="token removed"):
        log.flush()
    assert "token removed" in log.state.why_not
    with pytest.raises(AuditError):
        log.append({"type": "decision"})


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, previous)


def test_a_short_write_is_taken_back_and_denies_until_there_is_room(
    folder: Path, file_limit: Callable[[int], None]
) -> None:
    log = SegmentLog(folder)
    file_limit(1000)
    accepted = fill(log)
    file_limit(resource.RLIM_INFINITY)
    assert segments(folder)[0].read_bytes().endswith(b"\n")
    assert log.probe().healthy
    log.append({"type": "decision"})
    assert seqs(log) == list(range(1, accepted + 2))
    log.close()


@pytest.mark.kernel
def test_a_full_disk_denies_and_heals(tmp_path: Path) -> None:
    tmp_path.joinpath("disk").mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path / "disk")],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mount.stderr.decode().strip()}")
    try:
        log = SegmentLog(tmp_path / "disk" / "audit", reserve_bytes=0)
        (tmp_path / "disk" / "ballast").write_bytes(b"x" * 20_000)
        accepted = fill(log)
        (tmp_path / "disk" / "ballast").unlink()
        assert log.probe().healthy
        log.append({"type": "decision"})
        assert seqs(log) == list(range(1, accepted + 2))
        log.close()
        assert verify(tmp_path / "disk" / "audit").ok
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_fork_goes_on_in_the_same_chain(folder: Path) -> None:
    log = SegmentLog(folder)
    log.append({"type": "decision", "who": "parent"})
    script = """
        import os, sys
        from pathlib import Path
        from agentguard.audit import SegmentLog
        log = SegmentLog(Path(sys.argv[1]), max_segment_bytes=2000)
        log.append({"type": "decision"})
        for _ in range(3):
            os.fork()
        for _ in range(20):
            log.append({"type": "decision"})
        log.close()
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    """
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), str(folder)],
        check=True,
        env={"PYTHONPATH": SRC},
        timeout=30,
    )
    log.append({"type": "decision", "who": "parent"})
    log.close()
    result = verify(folder)
    assert (result.ok, result.records) == (True, 1 + 1 + 8 * 20 + 1 + result.segments - 1), result.problem
    ids = [record["event_id"] for record in SegmentLog(folder).read()]
    assert len(set(ids)) == len(ids)


def test_a_stopped_process_that_holds_the_lock_denies_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    log = SegmentLog(folder)
    fd = os.open(folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    monkeypatch.setattr("agentguard.audit._lock.lock.__kwdefaults__", {"shared": False, "timeout_s": 0.05})
    with pytest.raises(AuditError) as caught:
        log.append({"type": "decision"})
    assert caught.value.code == "audit_locked"
    os.close(fd)
    assert log.probe().healthy
    log.close()


def test_threads_in_group_mode_share_syncs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fdatasync, []

    def slow(fd: int) -> None:
        calls.append(fd)
        threading.Event().wait(0.002)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    log = SegmentLog(folder, durability="group")
    threads = [
        threading.Thread(target=lambda: [log.append({"type": "decision"}) for _ in range(10)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.state.synced_seq == 80
    log.close()
    assert len(calls) < 60
    assert verify(folder).records == 80


WRITER = """
import os, sys
from pathlib import Path
from agentguard.audit import SegmentLog
log = SegmentLog(Path(sys.argv[1]), max_segment_bytes=200_000)
while True:
    os.write(1, (log.append({"type": "decision", "reason": "x" * 200}) + "\\n").encode())
"""


@pytest.mark.slow
def test_no_acknowledged_record_is_lost_by_kill_9(folder: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"ids-{number}" for number in range(36)]
    running: list[subprocess.Popen[bytes]] = []

    def kill_oldest() -> None:
        process = running.pop(0)
        process.kill()
        process.wait()

    for output in outputs:
        with output.open("wb") as file:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, str(folder)], stdout=file, env={"PYTHONPATH": SRC}
                )
            )
        if len(running) == 4:
            wait_until(lambda: outputs[outputs.index(output) - 3].stat().st_size > 2000, 20)  # noqa: B023 - called at once
            kill_oldest()
    wait_until(lambda: outputs[-1].stat().st_size > 2000, 20)
    while running:
        kill_oldest()
    acknowledged = {line for output in outputs for line in output.read_text().splitlines() if len(line) == 32}
    log = SegmentLog(folder)
    recorded = {record["event_id"] for record in log.read()}
    log.close()
    assert len(acknowledged) > 36 * 50
    assert acknowledged <= recorded
    result = verify(folder)
    assert result.ok, result.problem
