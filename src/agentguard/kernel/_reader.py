"""The reader: one thread that empties both rings, in order, and hands over what is new."""

from __future__ import annotations

import bisect
import mmap
import operator
import select
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agentguard.kernel._decode import Decoder, pack_row, rows_in
from agentguard.kernel._layout import ABSENT, DROPS, IO_SLOT, REPEATED, SEC_SLOT, Drop
from agentguard.kernel._ring import Ring, whole
from agentguard.kernel._sums import Sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from agentguard.kernel._decode import Row
    from agentguard.kernel._handover import Handover
    from agentguard.kernel._loader import Loaded
    from agentguard.kernel._seen import Seen

# A wakeup is followed by this pause, so that a burst is one batch: the greatest delay of an event. In a flood files
# wait longer, as each look costs about the same; what is vital wakes the reader then as well.
_GATHER_S, _GATHER_MANY_S = 0.008, 0.018
_MANY = 256
_IDLE_S = 0.25
_DROPS_EVERY_S = 1.0
_FULL_WAIT_S = 0.01
_A_FEW_BYTES = 65536
_COUNT_FROM_BYTES = 1 << 19
_FEW = 48  # records, up to which plain Python is quicker than numpy
_FOR_EVER = (1 << 64) - 1
_time_of = operator.itemgetter(2)


class Counters(msgspec.Struct):
    """What the reader has done since it began. Latencies are from the kernel's time to the hand-over.

    Of opens of what is not there (`absent`), and of those that say nothing new (`repeated`), the kernel makes no record.
    """

    records: int = 0
    io_records: int = 0
    batches: int = 0
    errors: int = 0
    latency_ns_total: int = 0
    latency_ns_max: int = 0
    dropped_vital: int = 0
    dropped_file: int = 0
    dropped_io: int = 0
    absent: int = 0
    repeated: int = 0


class Reader:
    """Empties the rings of `loaded` into `handover`. `on_drop` is told of each class that lost records, and how many.

    Records of both rings come in the order of their time: what is younger than the moment at which a round
    began waits for the next, in which everything older is there.
    """

    def __init__(
        self,
        loaded: Loaded,
        handover: Handover,
        *,
        on_drop: Callable[[Drop, int], None] = lambda _drop, _count: None,
    ) -> None:
        self.counters = Counters()
        self.decoder = Decoder()
        self._sums = Sums()
        self._unsummed = 0
        self._loaded, self._handover, self._on_drop = loaded, handover, on_drop
        self._sec = Ring(loaded.maps["ring_sec"], loaded.settings.sec_bytes, SEC_SLOT)
        self._io = Ring(loaded.maps["ring_io"], loaded.settings.io_bytes, IO_SLOT)
        self._looks_page = mmap.mmap(loaded.maps["reader_looks"], mmap.PAGESIZE)
        self._looks = memoryview(self._looks_page).cast("Q")
        self._held = b""
        self._uncounted: list[bytes] = []
        self._uncounted_bytes = 0
        self._dropped = np.zeros(DROPS, np.uint64)
        self._next_drops = 0.0
        self._stop = threading.Event()
        self._round = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin_counting(self) -> None:
        """Count from here on: what came before was the self-test."""
        self.counters = Counters()

    @property
    def thread_id(self) -> int | None:
        """The thread that reads, for whoever measures it."""
        return self._thread.ident if self._thread is not None else None

    def start(self) -> None:
        """Begin to read, in a thread."""
        self._thread = threading.Thread(target=self._run, name="agentguard-kernel", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = select.epoll()
        poller.register(self._loaded.maps["ring_sec"], select.EPOLLIN)
        poller.register(self._loaded.maps["ring_io"], select.EPOLLIN)
        vital = select.epoll()
        vital.register(self._loaded.maps["ring_sec"], select.EPOLLIN | select.EPOLLET)
        count = 0
        try:
            while not self._stop.is_set():
                # While something happens it looks again by itself: to be woken costs as much as to look.
                self._looks[0] = is_flood = count >= _MANY
                if vital.poll(_GATHER_MANY_S) if is_flood else count or poller.poll(_IDLE_S):
                    time.sleep(_GATHER_S)
                if self._handover.is_full:
                    time.sleep(_FULL_WAIT_S)
                    continue
                count = self.drain()
        finally:
            vital.close()
            poller.close()

    def drain(self, *, everything: bool = False) -> int:
        """Read what waits, hand it over, and return how many records there were.

        With `everything` what is younger than this moment is handed over too.
        """
        with self._round:
            try:
                return self._drain(everything=everything)
            except Exception:  # noqa: BLE001 - the thread must go on: what cannot be read is counted, and said
                self.counters.errors += 1
                return 0

    def _drain(self, *, everything: bool) -> int:
        count = 0
        while True:
            began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            until = _FOR_EVER if everything else began
            io = self._io.drain()
            if io:
                self._uncounted.append(io)
                self._uncounted_bytes += len(io)
                self.counters.io_records += len(io) // IO_SLOT.itemsize
                count += len(io) // IO_SLOT.itemsize
            count += self._drain_sec(until)
            # A few that came meanwhile can wait for the next round, and must if the consumer is behind.
            if (
                self._sec.waiting + self._io.waiting < (1 if everything else _A_FEW_BYTES)
                or self._handover.is_full
            ):
                break
        if self._uncounted_bytes >= _COUNT_FROM_BYTES or everything:
            self._count_io()
        self._look_for_drops(now=everything)
        return count

    def _drain_sec(self, until: int) -> int:
        """Hand over what is not younger than `until`, and return how many records that were."""
        if not self._held and self._sec.waiting >= _FEW * SEC_SLOT.itemsize:
            rows = self._sec.view()
            if _is_sorted(times := rows["time_ns"]):
                # Most of a flood says nothing new: it is looked at where it lies, and the rest waits there.
                rows = rows[: int(np.searchsorted(times, np.uint64(until), "right"))]
                count = self._feed(rows)
                self._sec.advance(count)
                return count
        block = self._sec.drain(after=self._held)
        if len(block) >= _FEW * SEC_SLOT.itemsize:
            return self._feed(self._in_order(np.frombuffer(block, SEC_SLOT), until))
        few, oldest = self._first_few(block, until)
        return self._hand_over(self.decoder.feed_few(few), len(few), oldest)

    def _feed(self, rows: NDArray[Any]) -> int:
        oldest = int(rows["time_ns"][0]) if len(rows) else 0
        return self._hand_over(self.decoder.feed(rows), len(rows), oldest)

    def _hand_over(self, found: list[Seen], count: int, oldest: int) -> int:
        if not count:
            return 0
        self._handover.put(found)
        age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - oldest
        counters = self.counters
        counters.records += count
        counters.batches += 1
        counters.latency_ns_total += age
        counters.latency_ns_max = max(counters.latency_ns_max, age)
        return count

    def _first_few(self, block: bytes, until: int) -> tuple[list[Row], int]:
        rows = sorted(rows_in(block), key=_time_of)
        count = bisect.bisect_right(rows, until, key=_time_of)
        self._held = b"".join(map(pack_row, rows[count:]))
        return rows[:count], _time_of(rows[0]) if count else 0

    def _in_order(self, rows: NDArray[Any], until: int) -> NDArray[Any]:
        times = rows["time_ns"]
        if not _is_sorted(times):
            rows = whole(rows)[np.argsort(times, kind="stable")].view(SEC_SLOT)
            times = rows["time_ns"]
        count = int(np.searchsorted(times, np.uint64(until), "right"))
        self._held = rows[count:].tobytes()
        return rows[:count]

    def _count_io(self) -> None:
        """Add up records of single reads and writes, as the kernel would have. Nobody waits for them, so many at once."""
        if not self._uncounted:
            return
        rows = np.frombuffer(b"".join(self._uncounted), IO_SLOT)
        self._uncounted, self._uncounted_bytes = [], 0
        self._unsummed += self._sums.add(rows)

    def sums(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return keys and values of what was added up here, from records of single reads and writes."""
        with self._round:
            self._count_io()
            return self._sums.all()

    def forget_sums(self, keys: NDArray[Any]) -> None:
        """Make room: these processes have ended, and their sums were read."""
        with self._round:
            self._sums.forget(keys)

    def _look_for_drops(self, *, now: bool) -> None:
        moment = time.monotonic()
        if moment < self._next_drops and not now:
            return
        self._next_drops = moment + _DROPS_EVERY_S
        counts = self._loaded.drops()
        # What found no room here is as lost as what found none in the ring.
        counts[Drop.IO] += np.uint64(self._unsummed)
        fresh = counts - self._dropped
        self._dropped = counts
        counters = self.counters
        counters.dropped_vital, counters.dropped_file, counters.dropped_io = map(int, counts[: len(Drop)])
        counters.absent, counters.repeated = int(counts[ABSENT]), int(counts[REPEATED])
        for drop in Drop:
            if fresh[drop]:
                self._on_drop(drop, int(fresh[drop]))

    def stop(self) -> None:
        """Read what there is and end. Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self.drain(everything=True)
        self._sec.close()
        self._io.close()
        self._looks.release()
        self._looks_page.close()


def _is_sorted(times: NDArray[Any]) -> bool:
    return not (times[1:] < times[:-1]).any()
