"""The buffer on the disk: nothing accepted is lost, whatever happens to the process, and what is not is counted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.core import ConfigError
from agentguard.sensor._losses import MAX_AGENTS, Losses
from agentguard.sensor._segment import HEAD_BYTES, MAX_BODY, first_of, name_of, pack
from agentguard.sensor._spool import Spool
from command_line import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX = 1 << 20


def say_lost(counts: dict[str, int], by_agent: dict[str, int] | None = None) -> bytes:
    return b"lost " + json.dumps(counts | (by_agent or {})).encode()


def agent_of(body: bytes) -> str:
    return body[:1].decode() if body[:1].isupper() else ""


def opened(folder: Path, max_bytes: int = MAX) -> Spool:
    return Spool(folder, max_bytes=max_bytes, say_lost=say_lost, agent_of=agent_of)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = opened(tmp_path / "buffer")
    yield made
    made.close()


def bodies_of(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while items := spool.read():
        found += [body for _, body in items]
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def test_records_come_back_in_order_with_growing_places(spool: Spool) -> None:
    assert spool.append([(b"a", True), (b"b", False)]) == 2
    assert spool.append([(b"c", True)]) == 1
    assert spool.read() == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert spool.read() == []
    assert spool.waiting == 3


def test_what_was_not_taken_is_read_again(spool: Spool) -> None:
    spool.append([(b"a", True), (b"b", True), (b"c", True)])
    spool.read()
    spool.taken(2)
    spool.rewind()
    assert spool.read() == [(3, b"c")]


def test_what_was_not_read_cannot_be_taken(spool: Spool) -> None:
    spool.append([(b"a", True)])
    spool.taken(99)
    assert spool.read() == [(1, b"a")]


@pytest.mark.parametrize("how", ["closed", "not closed"])
def test_another_process_goes_on_where_the_last_one_was(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "buffer"
    first = opened(folder)
    first.append([(b"%d" % number, True) for number in range(10)])
    first.read()
    first.taken(4)
    name = first.state().id
    if how == "closed":
        first.close()
    else:
        os.close(first._lock)  # what the end of a process does
    second = opened(folder)
    assert second.was_closed is (how == "closed")
    assert [place for place, _ in second.read()] == list(range(5, 11))
    second.append([(b"more", True)])
    assert second.read() == [(11, b"more")]
    assert second.state().id == name
    second.close()


def test_empty_folder_is_left_when_everything_was_taken(tmp_path: Path) -> None:
    spool = opened(tmp_path / "buffer")
    spool.append([(b"a", True)])
    spool.taken(spool.read()[-1][0])
    spool.close()
    spool.close()
    assert segments(tmp_path / "buffer") == []
    assert (tmp_path / "buffer").stat().st_mode & 0o777 == 0o700


def test_places_never_come_twice_though_all_was_taken(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        spool = opened(tmp_path)
        spool.append([(b"a", True)])
        assert spool.read() == [(expected, b"a")]
        spool.taken(expected)
        spool.close()


def test_segments_go_as_they_are_taken(tmp_path: Path, spool: Spool) -> None:
    folder = tmp_path / "buffer"
    body = b"x" * 10_000
    for _ in range(60):
        spool.append([(body, True)])
    assert len(segments(folder)) > 5
    while items := spool.read(most_bytes=100_000):
        spool.taken(items[-1][0])
    assert len(segments(folder)) == 1
    assert spool.state().used_bytes < 100_000


def test_ordinary_records_leave_the_last_eighth_to_vital_ones(spool: Spool) -> None:
    body = b"x" * 1000
    accepted = spool.append([(body, False)] * 2000)
    assert MAX * 0.8 < accepted * (HEAD_BYTES + 1000) < MAX * 7 / 8
    assert spool.append([(body, True)]) == 1
    assert spool.dropped == {"vital": 0, "ordinary": 2000 - accepted}


def test_full_buffer_refuses_counts_and_says_so_once_there_is_room(spool: Spool) -> None:
    body = b"x" * 1000
    accepted = spool.append([(body, True)] * 2000)
    assert spool.state().used_bytes <= MAX
    assert spool.append([(body, True), (body, False)]) == 0
    while items := spool.read():
        spool.taken(items[-1][0])
    spool.sync()
    assert bodies_of(spool) == [say_lost({"vital": 2000 - accepted + 1, "ordinary": 1})]
    spool.sync()
    assert bodies_of(spool) == []


def test_losses_are_remembered_by_the_next_process(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([(b"x" * 1000, True)] * 2000)
    lost = first.dropped["vital"]
    first.close()
    second = opened(tmp_path)
    while items := second.read():
        second.taken(items[-1][0])
    second.sync()
    assert bodies_of(second) == [say_lost({"vital": lost, "ordinary": 0})]
    second.close()


def filled(spool: Spool, agent: str, *, is_vital: bool = True) -> int:
    """Return how many bytes an agent that floods the buffer gets."""
    body = agent.encode() + b"x" * (1000 - HEAD_BYTES - 1)
    return 1000 * spool.append([(body, is_vital)] * 3000, agent=agent)


def test_agent_that_floods_leaves_the_others_their_share(spool: Spool) -> None:
    spool.set_agents(["A", "B", "C"])
    # Half is whoever's comes first; of the other half each has a fourth, and one is for who comes later.
    assert filled(spool, "A") == pytest.approx(MAX * 5 / 8, abs=1000)
    assert filled(spool, "B") == pytest.approx(MAX / 8, abs=1000)
    assert filled(spool, "C") == pytest.approx(MAX / 8, abs=1000)
    assert filled(spool, "A") == 0
    spool.set_agents(["A", "B", "C", "D"])
    assert filled(spool, "D") > MAX / 50
    # What the sensor itself has to say is no agent's.
    assert spool.append([(b"x" * 1000, True)]) == 1


def test_losses_are_counted_for_each_agent_and_remembered(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.set_agents(["A", "B"])
    filled(first, "A")
    accepted = filled(first, "B", is_vital=False)
    assert 0 < accepted < 3_000_000
    lost_of = dict(first.dropped_of)
    assert lost_of["B"] == 3000 - accepted // 1000
    os.close(first._lock)
    second = opened(tmp_path)
    second.set_agents(["A", "B"])
    # The shares are what they were.
    assert filled(second, "B", is_vital=False) == 0
    while items := second.read():
        second.taken(items[-1][0])
    second.sync()
    (told,) = bodies_of(second)
    said = json.loads(told.removeprefix(b"lost "))
    assert (said["A"], said["B"]) == (lost_of["A"], lost_of["B"] + 3000)
    assert said["vital"] + said["ordinary"] == said["A"] + said["B"]
    filled(second, "A")
    filled(second, "B")
    second.close()
    assert json.loads(say_lost({}, Losses(tmp_path).counts())[5:]).keys() == {"A", "B"}


def test_room_that_was_taken_is_free_again(spool: Spool) -> None:
    spool.set_agents(["A", "B"])
    before = filled(spool, "A")
    while items := spool.read():
        spool.taken(items[-1][0])
    assert filled(spool, "A") == pytest.approx(before, abs=MAX / 16 + 1000)


@pytest.mark.parametrize("content", [b"", b"x" * 7, b"\0" * 20, b"x" * 500])
def test_damaged_counts_of_agents_are_none(tmp_path: Path, content: bytes) -> None:
    kept = Losses(tmp_path)
    kept.add("A", 3)
    kept.close()
    again = Losses(tmp_path)
    assert again.counts() == {"A": 3}
    again.close()
    again.close()
    (tmp_path / "losses").write_bytes(content)
    assert Losses(tmp_path).counts() == {}


def test_counts_of_very_many_agents_stay_bounded(tmp_path: Path) -> None:
    kept = Losses(tmp_path)
    for number in range(2 * MAX_AGENTS):
        kept.add(f"{number:0100d}", 1)
    assert len(kept.counts()) == MAX_AGENTS
    kept.close()
    assert Losses(tmp_path).counts() == kept.counts()


def test_record_that_is_too_long_is_refused(spool: Spool) -> None:
    assert spool.append([(b"x" * (MAX_BODY + 1), True)]) == 0
    assert spool.dropped["vital"] == 1


def test_torn_end_is_cut_off_and_counts_as_nothing(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([(b"whole", True)])
    os.close(first._lock)
    with segments(tmp_path)[-1].open("ab") as stream:
        stream.write(pack(2, b"torn" * 100)[:50])
    second = opened(tmp_path)
    assert bodies_of(second) == [b"whole"]
    assert second.append([(b"next", True)]) == 1
    assert second.read() == [(2, b"next")]
    assert second.dropped == {"vital": 0, "ordinary": 0}
    second.close()


def test_damaged_record_counts_as_lost_with_what_follows_in_its_segment(tmp_path: Path) -> None:
    first = opened(tmp_path)
    body = b"x" * 30_000
    for number in range(9):
        first.append([(b"%d" % number + body, True)])
    os.close(first._lock)
    oldest, *others = segments(tmp_path)
    data = bytearray(oldest.read_bytes())
    data[HEAD_BYTES + 30_001 + HEAD_BYTES + 5] ^= 1
    oldest.write_bytes(data)
    second = opened(tmp_path)
    following = first_of(others[0])
    assert following is not None
    found = [place for place, _ in second.read(most_bytes=1 << 30)]
    assert found[0] == 1
    assert found[1:] == list(range(following, 10))
    assert second.dropped["vital"] == following - 2
    second.close()


def test_damage_at_the_end_counts_as_at_least_one(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([(b"good", True), (b"bad!", True)])
    os.close(first._lock)
    path = segments(tmp_path)[-1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    second = opened(tmp_path)
    second.sync()
    assert bodies_of(second) == [b"good", say_lost({"vital": 1, "ordinary": 0})]
    second.close()


def test_damage_that_comes_while_it_runs_is_counted(tmp_path: Path, spool: Spool) -> None:
    spool.append([(b"first", True), (b"second", True)])
    path = segments(tmp_path / "buffer")[-1]
    with path.open("r+b") as stream:
        stream.seek(HEAD_BYTES + 5 + HEAD_BYTES)
        stream.write(b"?")
    assert bodies_of(spool) == [b"first"]
    assert spool.dropped["vital"] == 1
    assert spool.append([(b"third", True)]) == 1
    assert bodies_of(spool)[-1] == b"third"


def test_segment_that_somebody_removed_is_counted(tmp_path: Path, spool: Spool) -> None:
    spool.append([(b"first", True), (b"second", True)])
    segments(tmp_path / "buffer")[-1].unlink()
    assert bodies_of(spool) == []
    assert spool.dropped["vital"] == 2
    assert spool.append([(b"third", True)]) == 1
    assert bodies_of(spool) == [b"third"]


@pytest.mark.parametrize("content", [b"", b"AGS1", b"\0" * 48, b"x" * 500])
def test_damaged_state_means_that_nothing_was_taken(tmp_path: Path, content: bytes) -> None:
    first = opened(tmp_path)
    first.append([(b"a", True), (b"b", True)])
    first.taken(first.read()[0][0])
    os.close(first._lock)
    (tmp_path / "state").write_bytes(content)
    second = opened(tmp_path)
    assert bodies_of(second) == [b"a", b"b"]
    second.close()


def test_other_files_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "1.spool").write_text("not ours")
    spool = opened(tmp_path)
    assert bodies_of(spool) == []
    spool.close()
    assert (tmp_path / "1.spool").read_text() == "not ours"


def test_second_user_of_a_folder_is_refused(tmp_path: Path, spool: Spool) -> None:
    with pytest.raises(ConfigError, match="another sensor") as caught:
        opened(tmp_path / "buffer")
    assert caught.value.code == "spool_busy"


def test_folder_that_cannot_be_used_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        opened(Path("/proc/none/buffer"))
    assert caught.value.code == "spool_unavailable"


def test_reader_is_woken_by_a_record(spool: Spool) -> None:
    found: list[tuple[int, bytes]] = []
    reader = threading.Thread(target=lambda: found.extend(spool.read(timeout_s=20)))
    reader.start()
    spool.append([(b"news", True)])
    reader.join(20)
    assert found == [(1, b"news")]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.lists(st.binary(max_size=40_000), max_size=4)),
            st.tuples(st.just("take"), st.integers(0, 5)),
            st.tuples(st.sampled_from(["rewind", "reopen", "crash"]), st.just(0)),
        ),
        max_size=25,
    )
)
def test_whatever_happens_each_record_is_read_until_it_is_taken(steps: list[tuple[str, object]]) -> None:
    folder = Path(tempfile.mkdtemp())
    spool = opened(folder)
    waiting: list[bytes] = []
    try:
        for what, value in steps:
            if what == "append" and isinstance(value, list):
                before = spool.state().accepted
                spool.append([(body, True) for body in value])
                # Those that found room are the first ones of equal size; nothing is full here.
                assert spool.state().accepted - before == len(value)
                waiting += value
            elif what == "take" and isinstance(value, int):
                spool.rewind()
                items = spool.read(most_bytes=1 << 30)
                assert [body for _, body in items] == waiting
                count = min(value, len(items))
                if count:
                    spool.taken(items[count - 1][0])
                    waiting = waiting[count:]
            elif what == "rewind":
                spool.rewind()
            else:
                if what == "reopen":
                    spool.close()
                else:
                    os.close(spool._lock)
                spool = opened(folder)
            if sum(map(len, waiting)) > MAX // 2:
                break
        spool.rewind()
        assert [body for _, body in spool.read(most_bytes=1 << 30)] == waiting
    finally:
        spool.close()
        shutil.rmtree(folder)


KILLED = """
import sys
from pathlib import Path
from agentguard.sensor._spool import Spool
spool = Spool(Path(sys.argv[1]), max_bytes=1 << 26, say_lost=lambda counts, by_agent: b"lost")
number = 0
while True:
    if spool.append([(b"%d" % (number + index), True) for index in range(3)]) == 3:
        number += 3
        print(number, flush=True)
"""


def test_kill_takes_nothing_that_was_accepted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "buffer")],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(200):
            accepted = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    accepted = int(rest[-1]) if rest else accepted
    spool = opened(tmp_path / "buffer", 1 << 26)
    found = bodies_of(spool)
    assert found == [b"%d" % number for number in range(len(found))]
    assert accepted <= len(found) <= accepted + 3
    assert not spool.was_closed
    spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        with contextlib.closing(opened(disk / "buffer", 1 << 24)) as spool:
            accepted = sum(spool.append([(b"%03d" % number + b"x" * 5000, True)]) for number in range(100))
            assert 10 < accepted < 100
            assert spool.dropped["vital"] == 100 - accepted
            found = spool.read(most_bytes=1 << 24)
            assert [int(body[:3]) for _, body in found] == list(range(accepted))
            spool.taken(found[-1][0])
            spool.sync()
            assert spool.append([(b"again", True)]) == 1
            told = [body for _, body in spool.read()]
            assert told == [say_lost({"vital": 100 - accepted, "ordinary": 0}), b"again"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_names_of_segments_are_their_first_places() -> None:
    assert first_of(Path(name_of(17))) == 17
    assert [first_of(Path(name)) for name in ("state", "17.spool", "x" * 20 + ".spool", "0" * 20)] == [
        None
    ] * 4
