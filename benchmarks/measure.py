"""How things are measured: percentiles, processor time, and the machine that did it."""

from __future__ import annotations

import gc
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

ROUNDS = 7


class Cost(NamedTuple):
    """What one call costs: the best of several rounds, since neighbours only ever make a round slower.

    `p50` and `p99` are wall time around single calls and include the clock's own (about 0.05 µs); `cpu` is
    the processor time of the whole process over a round of bare calls, threads in the background included;
    `rate` is calls per second of wall time in that round.
    """

    p50: float
    p99: float
    cpu: float
    rate: float


def cost(call: Callable[[T], object], inputs: Sequence[T], *, calls: int, rounds: int = ROUNDS) -> Cost:
    """Return what `call` costs in µs, over `calls` calls a round that go through `inputs` in turn."""
    todo = [inputs[index % len(inputs)] for index in range(calls)]
    for each in todo[: len(inputs)]:
        call(each)  # what is built on first use is built
    # As timeit does: what the collector visits is the benchmark's own inputs, not the cost of a call.
    gc.collect()
    gc.disable()
    try:
        measured = [Cost(*_latencies(call, todo), *_throughput(call, todo)) for _ in range(rounds)]
    finally:
        gc.enable()
    columns = zip(*measured, strict=True)
    p50, p99, cpu, rate = (tuple(column) for column in columns)
    return Cost(min(p50), min(p99), min(cpu), max(rate))


def _latencies(call: Callable[[T], object], todo: Sequence[T]) -> tuple[float, float]:
    clock = time.perf_counter_ns
    times = []
    for each in todo:
        start = clock()
        call(each)
        times.append(clock() - start)
    times.sort()
    return times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000


def _throughput(call: Callable[[T], object], todo: Sequence[T]) -> tuple[float, float]:
    wall, used = time.perf_counter(), time.process_time()
    for each in todo:
        call(each)
    used, wall = time.process_time() - used, time.perf_counter() - wall
    return used / len(todo) * 1e6, len(todo) / wall


def best_s(call: Callable[[], object], *, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the best and the median wall time of `call`, in seconds."""
    times = []
    for _ in range(rounds):
        gc.collect()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    times.sort()
    return times[0], times[len(times) // 2]


def machine() -> dict[str, str]:
    """Return what ran this: processor, cores, Python, system, and how loaded it is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
    }
