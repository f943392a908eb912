"""A flood of what is ordinary, while nobody reads: what is vital stays, and the loss is told."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agentguard.kernel import Drop, Observer, Settings
from agentguard.kernel._cgroups import Cgroup
from agentguard.kernel._layout import EACH_IO, EACH_OPEN, Kind
from agentguard.kernel._loader import Loaded
from agentguard.kernel._sums import Sums
from kernel_lab import lab, why_not

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
TINY = Settings(sec_bytes=1 << 20, io_bytes=1 << 16, sums=64)
OPENS = "import os, subprocess\nfor _ in range(6000): os.close(os.open('/etc/hostname', 0))\nsubprocess.run(['/bin/true'])"
READS = (
    "import os\nf = os.open('/dev/zero', 0)\nfor _ in range(5000): os.read(f, 1)\nos.memfd_create('after')"
)


def test_flood_of_opens_drops_opens_only_and_says_so() -> None:
    told: dict[Drop, int] = {}
    with Observer(
        TINY, on_drop=lambda drop, count: told.__setitem__(drop, told.get(drop, 0) + count)
    ) as observer:
        with lab(observer, flags=EACH_OPEN) as watched:
            with observer.reader._round:
                watched.run_unread(sys.executable, "-I", "-S", "-c", OPENS)
            watched.collect()
            programs = [each.argv for each in watched.seen if each.kind == Kind.EXEC]
            assert ("/bin/true",) in programs
            assert len([each for each in watched.seen if each.kind == Kind.EXIT]) == 2
        counters = observer.reader.counters
        assert counters.dropped_vital == 0
        assert counters.dropped_file == told[Drop.FILE] > 1000


def test_flood_of_reads_does_not_touch_the_other_ring() -> None:
    with Observer(TINY) as observer, lab(observer, flags=EACH_IO) as watched:
        with observer.reader._round:
            watched.run_unread(sys.executable, "-I", "-S", "-c", READS)
        watched.collect()
        assert observer.reader.counters.dropped_io > 0
        assert (observer.reader.counters.dropped_vital, observer.reader.counters.dropped_file) == (0, 0)
        assert [each for each in watched.seen if each.kind == Kind.MEMFD]


def test_sums_that_find_no_room_are_told_one_by_one(tmp_path: Path) -> None:
    script = f"""
import os
for number in range(200):
    f = os.open({str(tmp_path)!r} + f"/{{number}}", os.O_CREAT | os.O_WRONLY)
    for _ in range(3): os.write(f, b"four")
    os.close(f)
"""
    with Observer(TINY) as observer, lab(observer) as watched:
        assert watched.run(sys.executable, "-I", "-S", "-c", script) == 0
        found = {each.path: each.written_bytes for each in observer.traffic(watched.cgroup) if each.writes}
    written = np.array([size for path, size in found.items() if path.startswith(str(tmp_path))])
    assert observer.reader.counters.io_records > 0
    # A file whose sum found room only in the middle stands in both; none is missing.
    assert len(written) == 200


def test_sums_of_processes_that_ended_make_room_for_others(tmp_path: Path) -> None:
    script = f"""
import os
for number in range(100):
    f = os.open({str(tmp_path)!r} + f"/{{number}}", os.O_CREAT | os.O_WRONLY)
    os.write(f, b"four"); os.write(f, b"four"); os.close(f)
"""
    with Observer(TINY) as observer, lab(observer) as watched:
        for _ in range(2):
            watched.run(sys.executable, "-I", "-S", "-c", script)
        ended = {(each.pid, each.start_ns) for each in watched.seen if each.kind == Kind.EXIT}
        assert len(observer.reader.sums()[0]) > 0
        found = observer.traffic(watched.cgroup, ended)
        assert sum(each.writes for each in found) == 400
        assert len(observer.reader.sums()[0]) == 0
        assert not [each for each in observer.traffic(watched.cgroup, ended) if each.writes]


def test_reads_that_find_no_room_anywhere_count_as_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Drop, int]] = []
    script = f"""
import os
for number in range(300):
    f = os.open({str(tmp_path)!r} + f"/{{number}}", os.O_CREAT | os.O_WRONLY)
    os.write(f, b"four"); os.close(f)
"""
    with Observer(TINY, on_drop=lambda drop, count: told.append((drop, count))) as observer:
        monkeypatch.setattr(observer.reader, "_sums", Sums(most=50))
        with lab(observer) as watched:
            watched.run(sys.executable, "-I", "-S", "-c", script)
            assert len(observer.reader.sums()[0]) == 50
            watched.collect()
        lost = observer.reader.counters.dropped_io
    assert lost > 100
    assert sum(count for drop, count in told if drop == Drop.IO) == lost


ASKED = """
import os, sys
for line in sys.stdin:
    if line == "open\\n":
        for _ in range(10): os.close(os.open("/etc/hostname", 0))
    else:
        os.memfd_create("vital")
    print("done", flush=True)
"""


def test_while_the_reader_looks_by_itself_only_what_is_vital_wakes_it() -> None:
    with contextlib.ExitStack() as stack:
        loaded = stack.enter_context(Loaded(TINY))
        cgroup = Cgroup.make(f"test-{os.getpid()}-waking")
        stack.callback(cgroup.remove)
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", ASKED],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        cgroup.add(process.pid)
        loaded.guard(cgroup.id, cgroup.fd, flags=EACH_OPEN)
        looks = memoryview(mmap.mmap(loaded.maps["reader_looks"], mmap.PAGESIZE)).cast("Q")
        poller = stack.enter_context(select.epoll())
        poller.register(loaded.maps["ring_sec"], select.EPOLLIN | select.EPOLLET)

        def wakes(what: str, seconds: float) -> bool:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            return bool(poller.poll(seconds))

        assert wakes("open", 5)
        looks[0] = 1
        assert not wakes("open", 0.05)
        assert wakes("vital", 5)
        assert not wakes("open", 0.05)


def test_old_kernels_way_of_following_pointers_works(tmp_path: Path) -> None:
    from agentguard.kernel._handover import Handover
    from agentguard.kernel._reader import Reader
    from agentguard.kernel._selftest import self_test

    (tmp_path / "data").write_text("x")
    with Loaded(TINY, avoid_cast=True) as loaded:
        handover = Handover()
        reader = Reader(loaded, handover)
        assert all(each.ok for each in self_test(loaded, reader, handover))
        reader.stop()
