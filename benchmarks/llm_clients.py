"""What a guarded client adds to a call, and to importing the SDK: `python -m benchmarks llm_clients`.

The same client with and without a guard, in turn, against one provider on loopback that answers at once. The guard
is a whole one: `Guard.open` with rules, sessions and the log.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
ROUNDS, CALLS = 15, 40
ASK: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
RULES = """\
version: 1
rules:
  - {id: may-ask, effect: allow, actions: ["llm.*"], resources: ["llm/**"]}
  - {id: may-call, effect: allow, actions: [rollout-status], resources: ["tool/**"]}
"""
INVENTORY = """\
resources: [{id: "llm/**", type: llm, sensitivity: public}]
principals: [{id: helper, kind: agent}]
"""


@contextmanager
def provider() -> Iterator[str]:
    """Run the provider in a process of its own, and yield its address."""
    code = (
        "import sys\nfrom llm_upstream import Upstream\n"
        "with Upstream() as upstream:\n    print(upstream.url, flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=ROOT / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def project(folder: Path) -> Path:
    """Make a project that allows what is measured."""
    command = [sys.executable, "-m", "agentguard", "init", str(folder), "-q"]
    subprocess.run(command, check=True, cwd=ROOT)
    (folder / "policies" / "own.yaml").write_text(RULES, encoding="utf-8")
    (folder / "inventory.yaml").write_text(INVENTORY, encoding="utf-8")
    return folder


def pair(plain: Callable[[], object], guarded: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Return the microseconds of wall time of single calls, round by round in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in (plain, guarded):
        for _ in range(CALLS):
            call()
    for _ in range(ROUNDS):
        for call, into in zip((plain, guarded), times, strict=True):
            for _ in range(CALLS):
                start = time.perf_counter_ns()
                call()
                into.append((time.perf_counter_ns() - start) / 1_000)
    return times


def cpu_us(call: Callable[[], object]) -> float:
    """Return the microseconds of processor time of this thread for one call, in the best round."""
    best = []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        for _ in range(CALLS):
            call()
        best.append((time.thread_time_ns() - start) / CALLS / 1_000)
    return min(best)


def import_ms(before: str, statement: str) -> float:
    """Return the milliseconds of processor time of a statement after another one, in a new interpreter, at best."""
    code = f"import time; {before}; s = time.process_time(); {statement}; print((time.process_time() - s) * 1000)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(7)
    ]
    return min(runs)


def main() -> None:
    """Measure and print."""
    import anthropic
    import openai

    from agentguard import Guard, GuardedAnthropic, GuardedOpenAI, LlmGuard

    with (
        tempfile.TemporaryDirectory() as place,
        provider() as url,
        Guard.open(project(Path(place) / "project"), principal="helper") as guard,
    ):
        own = LlmGuard(guard.session())
        plain = openai.OpenAI(base_url=url + "/v1", api_key="sk-bench", max_retries=0)
        ours = GuardedOpenAI(guard=own, base_url=url + "/v1", api_key="sk-bench", max_retries=0)
        other = anthropic.Anthropic(base_url=url, api_key="sk-bench", max_retries=0)
        ours_too = GuardedAnthropic(guard=own, base_url=url, api_key="sk-bench", max_retries=0)

        def stream(client: Any) -> None:
            for _ in client.chat.completions.create(model="m", messages=ASK, stream=True):
                pass

        ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "openai chat": (
                lambda: plain.chat.completions.create(model="m", messages=ASK),
                lambda: ours.chat.completions.create(model="m", messages=ASK),
            ),
            "openai chat, stream of 9 events": (lambda: stream(plain), lambda: stream(ours)),
            "anthropic messages": (
                lambda: other.messages.create(model="m", max_tokens=9, messages=ASK),
                lambda: ours_too.messages.create(model="m", max_tokens=9, messages=ASK),
            ),
        }
        print(f"openai {openai.__version__}, anthropic {anthropic.__version__}; wall time in us, p50")
        print(f"{'':34}{'plain':>9}{'guarded':>9}{'added':>9}{'cpu added':>11}")
        for name, (unguarded, guarded) in ways.items():
            times = [statistics.median(each) for each in pair(unguarded, guarded)]
            added_cpu = cpu_us(guarded) - cpu_us(unguarded)
            print(f"{name:34}{times[0]:9.1f}{times[1]:9.1f}{times[1] - times[0]:9.1f}{added_cpu:11.1f}")
    for sdk, names in (("openai", "GuardedOpenAI"), ("anthropic", "GuardedAnthropic")):
        alone = import_ms("pass", f"import {sdk}")
        ours_ms = import_ms(f"import {sdk}", f"from agentguard import {names}")
        print(f"import of {names}: {ours_ms:.1f} ms of processor time, beside {alone:.0f} ms of `{sdk}`")


if __name__ == "__main__":
    main()
