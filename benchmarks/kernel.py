"""What watching costs: for each system call, for the reader, for whole workloads, beside bpftrace. Needs root and cc.

`python -m benchmarks kernel` takes some six minutes; with `--part PART` it runs this part only, of: calls, sustained,
latency, agent-like, compile, tar, tar-again, reads.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentguard.core import KernelError
from agentguard.kernel import Cgroup, Observer
from agentguard.kernel._layout import EACH_IO, EACH_OPEN, Kind
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentguard.kernel._seen import Seen

ROUNDS = 11
# Of what takes seconds a round under bpftrace, so many rounds of the peer.
PEER_ROUNDS = {"reads": 2}
FLOOD_S = 30.0
SOURCE = Path(__file__).parent / "kernel_flood.c"
JOIN = 'read -r _ && exec "$@"'
BPFTRACE = """
tracepoint:syscalls:sys_enter_openat /cgroup == ID/ { @p[tid] = args->filename; }
tracepoint:syscalls:sys_exit_openat /cgroup == ID/ {
  printf("%llu %d open %d %s\\n", nsecs, pid, args->ret, str(@p[tid])); delete(@p[tid]); }
tracepoint:syscalls:sys_exit_read /cgroup == ID/ { printf("%llu %d read %d\\n", nsecs, pid, args->ret); }
tracepoint:syscalls:sys_exit_write /cgroup == ID/ { printf("%llu %d write %d\\n", nsecs, pid, args->ret); }
"""
# What a tool call of an agent is like: an interpreter starts, reads, thinks, runs other programs, writes.
AGENT = """
import json, pathlib, subprocess, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    for number in range(6):
        path = pathlib.Path(folder) / f"note-{number}.json"
        path.write_text(json.dumps(list(range(20000))))
        code = f"import email, http.client, json, sqlite3, sys, urllib.request; json.load(open({str(path)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        subprocess.run(["/bin/sh", "-c", "ls / | sort | head -3 > /dev/null"], check=True)
        sum(i * i for i in range(400000))
"""
# How long bpftrace takes to attach after it has said that it does; and until what a workload left is read.
_ATTACHING_S, _SETTLING_S = 1.0, 0.1
UNIT = "".join(f"double f{n}(double x) {{ return x * {n} + sqrt(x + {n}); }}\n" for n in range(400))


class Used(NamedTuple):
    """Seconds of one round: on the clock, and of processor time of the workload."""

    wall: float
    cpu: float


class Made(NamedTuple):
    """What floods have made together: calls, and calls a second."""

    calls: int
    rate: float


class Bench:
    """A cgroup and the programs to run in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cgroup = Cgroup.make(f"bench-{os.getpid()}-{secrets.token_hex(4)}")
        self.flood = str(folder / "flood")
        subprocess.run(["cc", "-O2", "-o", self.flood, SOURCE], check=True)
        (folder / "unit.c").write_text("#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n" + UNIT)
        self.workloads = {
            "agent-like": [sys.executable, "-c", AGENT],
            "compile": [
                "/bin/sh",
                "-c",
                f"for i in 1 2 3 4; do cc -O1 -c -o {folder}/unit.o {folder}/unit.c; done",
            ],
            "tar": ["/bin/sh", "-c", "tar cf - /usr/include /usr/lib/python3 2>/dev/null | cat > /dev/null"],
            # The same files once more in one watched run: nothing of them is new.
            "tar-again": [
                "/bin/sh",
                "-c",
                "tar cf - /usr/include /usr/lib/python3 2>/dev/null | cat > /dev/null",
            ],
            "reads": ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=1000000", "status=none"],
        }

    def run(self, command: list[str], *, inside: bool = True) -> tuple[Used, str]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", JOIN, "sh", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if inside:
            self.cgroup.add(process.pid)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        out, _ = process.communicate("\n")
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Used(wall, cpu), out

    def made(
        self, kind: str, seconds: float, rate: float = 0, *, inside: bool = True, floods: int = 1
    ) -> Made:
        """Return what `floods` processes at once have made together, each with a file of its own."""
        each = [" ".join([self.flood, kind, str(seconds), str(rate), self._file(n)]) for n in range(floods)]
        _, out = self.run(["/bin/sh", "-c", " & ".join(each) + "; wait"], inside=inside)
        lines = [(int(calls), float(took)) for calls, took in map(str.split, out.splitlines())]
        return Made(sum(calls for calls, _ in lines), sum(calls / took for calls, took in lines))

    def _file(self, number: int) -> str:
        # One file for all, and they would wait for each other in the kernel.
        path = self._folder / f"of-{number}" / "file"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return str(path)


@contextlib.contextmanager
def watching(bench: Bench, *, flags: int = 0) -> Iterator[tuple[Observer, list[float]]]:
    """Observe the cgroup; the list gets the ages in ms at which starts of `true` reached this thread of Python."""
    ages: list[float] = []
    stop = threading.Event()
    with Observer() as observer:
        observer.watch(bench.cgroup, flags=flags)

        def consume() -> None:
            while not stop.is_set():
                batch = observer.handover.take(0.1)
                now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                ages.extend((now - each.time_ns) / 1e6 for each in batch if _is_program(each))

        thread = threading.Thread(target=consume)
        thread.start()
        try:
            yield observer, ages
        finally:
            observer.unwatch(bench.cgroup)
            stop.set()
            thread.join()


@contextlib.contextmanager
def bpftrace(bench: Bench, folder: Path) -> Iterator[bool]:
    """Run bpftrace over the same calls of the same cgroup, in a mount namespace of its own for its tracefs."""
    script = folder / "peer.bt"
    script.write_text(BPFTRACE.replace("ID", str(bench.cgroup.id)))
    command = f"mount -t tracefs none /sys/kernel/tracing && exec bpftrace {script}"
    if shutil.which("bpftrace") is None:
        yield False
        return
    with subprocess.Popen(
        ["unshare", "-m", "/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        ready = b"Attaching" in process.stdout.readline()
        drain = threading.Thread(
            target=lambda: [None for _ in iter(lambda: process.stdout and process.stdout.read(65536), b"")]
        )
        drain.start()
        # The line comes before the first probe is there.
        time.sleep(_ATTACHING_S)
        try:
            yield ready
        finally:
            # One that comes while it attaches is lost.
            while drain.is_alive():
                process.send_signal(signal.SIGINT)
                drain.join(2)


def _is_program(seen: Seen) -> bool:
    return seen.kind == Kind.EXEC and seen.path.endswith("/true")


def reader_cpu(observer: Observer) -> float:
    """Return the seconds of processor time that the reader's thread has used."""
    ident = observer.reader.thread_id
    assert ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


def run_time(observer: Observer) -> tuple[int, int]:
    """Return nanoseconds and runs of all our programs."""
    costs = observer.loaded.costs()
    return sum(each.run_time_ns for each in costs), sum(each.runs for each in costs)


def per_call(bench: Bench) -> None:
    """How long our program runs for each system call, as the kernel's own statistics have it."""
    rows = []
    cases = (
        ("outside any watched cgroup", "read", False, 0), ("inside, not of interest", "getppid", True, 0),
        ("read, summed", "read", True, 0), ("read, told by itself", "read", True, EACH_IO),
        ("open and close, each told, mean", "open", True, EACH_OPEN),
        ("open and close, told once, mean", "open", True, 0),
    )  # fmt: skip
    for name, kind, inside, flags in cases:
        with watching(bench, flags=flags) as (observer, _):
            descriptor = observer.loaded.enable_stats()
            found = []
            for _ in range(5):
                before = run_time(observer)
                bench.made(kind, 0.3, inside=inside)
                after = run_time(observer)
                found.append((after[0] - before[0]) / (after[1] - before[1]))
            os.close(descriptor)
        rows.append((name, statistics.median(found), min(found), max(found)))
    table(
        "one system call", ("case", "median ns", "least", "most"), rows,
        notes=["by BPF statistics, which count some 45 ns for a program that does nothing"],
    )  # fmt: skip


def sustained(bench: Bench) -> None:
    """What one reader takes, what is lost, and what becomes of programs that start meanwhile."""
    rows = []
    for name, kind, rate, flags, seconds in (
        ("small, summed, flat out", "read", 0, 0, FLOOD_S), ("small, flat out", "read", 0, EACH_IO, FLOOD_S),
        ("rich, flat out", "open", 0, EACH_OPEN, FLOOD_S),
        ("small, 100k/s", "read", 100_000, EACH_IO, 10), ("rich, 100k/s", "open", 100_000, EACH_OPEN, 10),
    ):  # fmt: skip
        with watching(bench, flags=flags) as (observer, ages), programs(bench) as started:
            counters, start = observer.reader.counters, reader_cpu(observer)
            before = counters.records + counters.io_records
            made = bench.made(kind, seconds, rate, floods=1 if rate else os.cpu_count() or 1)
            cpu = reader_cpu(observer) - start
            time.sleep(0.5)
            observer.reader.sums()
            taken = counters.records + counters.io_records - before if flags else summed(bench, observer)
        ages.sort()
        rows.append(
            (name, round(made.rate), made.calls, taken, counters.dropped_vital, counters.dropped_file,
             counters.dropped_io, 100 * cpu / seconds, len(started), len(ages), ages[len(ages) * 99 // 100])
        )  # fmt: skip
    table(
        f"one reader in Python; flat out is one flood a core, for {FLOOD_S:g} s",
        ("load", "offered/s", "made", "taken", "lost vital", "lost file", "lost io", "% of a core", "programs", "told",
         "p99 ms"),
        rows,
        notes=[
            "taken counts what else the processes did as well; of sums, the reads of the file that is flooded",
            "programs were started meanwhile; p99 is from their start to Python",
        ],
    )  # fmt: skip


def summed(bench: Bench, observer: Observer) -> int:
    """Return how many reads of the floods' file were summed."""
    keys, values = observer.loaded.sums()
    ours = (keys["cgroup"] == bench.cgroup.id) & (keys["ino"] == Path("/dev/zero").stat().st_ino)
    return int(values["reads"][ours].sum())


@contextlib.contextmanager
def programs(bench: Bench) -> Iterator[list[float]]:
    """Start programs in the cgroup, some ten a second; the list gets when."""
    started: list[float] = []
    stop = threading.Event()

    def start() -> None:
        while not stop.wait(0.1):
            bench.run(["/bin/true"])
            started.append(time.monotonic())

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield started
    finally:
        stop.set()
        thread.join()


def latency(bench: Bench) -> None:
    """From the kernel's record to Python."""
    with watching(bench) as (observer, ages):
        for _ in range(200):
            bench.run(["/bin/true"])
        observer.reader.drain(everything=True)
        time.sleep(0.3)
    ages.sort()
    table(
        "from the start of a program to Python", ("events", "p50 ms", "p99 ms", "most ms"),
        [(str(len(ages)), ages[len(ages) // 2], ages[len(ages) * 99 // 100], ages[-1])],
    )  # fmt: skip


def overhead(bench: Bench, folder: Path, name: str) -> None:
    """A whole workload: bare, watched, and under bpftrace, in turns."""
    command = bench.workloads[name]
    used: dict[str, list[Used]] = {"bare": [], "ours": [], "bpftrace": []}
    shares: list[float] = []
    bench.run(command)
    for number in range(ROUNDS):
        used["bare"].append(bench.run(command)[0])
        with watching(bench):
            if name.endswith("again"):
                bench.run(command)
            used["ours"].append(bench.run(command)[0])
        # In a round of its own, as counting costs as well.
        shares.append(share_of(bench, name))
        if number < PEER_ROUNDS.get(name, ROUNDS):
            with bpftrace(bench, folder) as ready:
                if ready:
                    used["bpftrace"].append(bench.run(command)[0])
    rows = [
        (variant, len(found), *_ratios(used["bare"], found, "cpu"), *_ratios(used["bare"], found, "wall"))
        for variant, found in used.items()
        if variant != "bare" and found
    ]
    bare = statistics.median(each.cpu for each in used["bare"])
    table(
        f"{TITLES[name]}: {bare:.2f} s of processor time bare, {ROUNDS} rounds in turns",
        ("watched by", "rounds", "cpu ratio", "from", "to", "wall ratio", "from", "to"),
        rows,
        notes=[
            _share(shares),
            "ratios are of medians; from and to are the quartiles of the rounds' own ratios",
        ],
    )


def share_of(bench: Bench, name: str) -> float:
    """Return which share of a workload's processor time our programs and the reader took, in one round."""
    command = bench.workloads[name]
    with watching(bench) as (observer, _):
        if name.endswith("again"):
            bench.run(command)
            time.sleep(_SETTLING_S)
        descriptor = observer.loaded.enable_stats()
        before, start = run_time(observer)[0], reader_cpu(observer)
        cpu = bench.run(command)[0].cpu
        time.sleep(_SETTLING_S)
        reader = reader_cpu(observer) - start
        share = (((run_time(observer)[0] - before) / 1e9) + reader) / cpu
        os.close(descriptor)
        return share


def _share(shares: list[float]) -> str:
    low, middle, high = (100 * each for each in statistics.quantiles(shares, n=4))
    return f"share of our programs and the reader: {middle:.1f} % (quartiles {low:.1f} to {high:.1f})"


def _ratios(bare: list[Used], watched: list[Used], what: str) -> tuple[float, float, float]:
    base = statistics.median(getattr(each, what) for each in bare)
    # The peer may have fewer rounds, the first ones.
    own = [getattr(there, what) / getattr(here, what) for here, there in zip(bare, watched, strict=False)]
    low, _, high = statistics.quantiles(own, n=4)
    return statistics.median(getattr(each, what) for each in watched) / base, low, high


def main(parts: Sequence[str] = ()) -> None:
    """Run these parts, or all of them."""
    if unknown := [each for each in parts if each not in PARTS]:
        print(f"  no part `{unknown[0]}`; there are {', '.join(PARTS)}")
        return
    if shutil.which("cc") is None:
        print("  no C compiler: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            bench = Bench(folder)
        except KernelError as error:
            print(f"  nothing is measured: {error}")
            return
        try:
            for part in parts or PARTS:
                if part in FIGURES:
                    FIGURES[part](bench)
                else:
                    overhead(bench, folder, part)
        finally:
            bench.cgroup.remove()


FIGURES = {"calls": per_call, "sustained": sustained, "latency": latency}
TITLES = {
    "agent-like": "agent-like: interpreters, small programs, JSON",
    "compile": "compile",
    "tar": "tar of files not seen before",
    "tar-again": "the same files again in the same run",
    "reads": "10^6 reads and writes of one byte",
}
PARTS = (*FIGURES, *TITLES)
