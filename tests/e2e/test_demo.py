"""The main job, `make run`, as a stranger sees it: its output, its exit code, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "devops"
DEADLINE_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes under /proc"),
]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the demo a home and a place for temporary files, and see that it leaves nothing in either."""
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    scratch.mkdir()
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith(("AGENTGUARD_", "XDG_"))
    }
    yield {
        **inherited,
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert _processes(scratch) == []
    assert list(scratch.iterdir()) == []
    assert list(home.iterdir()) == []


def _processes(scratch: Path) -> list[str]:
    """Return the command lines of the processes that work in `scratch`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(scratch) in line:
            found.append(line)
    return found


def _command(*arguments: str, demo: Path = DEMO) -> list[str]:
    return [sys.executable, str(demo / "run.py"), *arguments]


def _once(environ: dict[str, str], demo: Path = DEMO) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command("--once", "--port", "0", demo=demo),
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_run_once_shows_every_effect_and_proves_it(environ: dict[str, str]) -> None:
    files = sorted(DEMO.rglob("*.yaml*"))
    done = _once(environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    for line in (
        "20 decisions, all as expected: 9 allowed, 1 transformed, 10 denied",
        "untouched: prod api 1.4.1 with 4 replicas, 40 rows in customers and 120 rows in orders",
        "mail went to team@shop.example, and nowhere else",
        "the log has 23 decisions and the outcome of the 10 that were let through",
        "the log has three approvals: one given and used once, one refused, one that nobody answered",
    ):
        assert f"  ✓ {line}\n" in done.stdout
    # What the kernel saw is on record too, and is never quite the same.
    for pattern in (
        r"audit log verified up to record \d+: the chain holds, the signed head names it",
        r"in a copy, record \d+ forged from deny to allow: the verifier names it",
        r"the kernel saw the lie: claimed the log, opened secrets/staging.env|what its processes really did, nobody .*",
    ):
        assert re.search(rf"^  ✓ (?:{pattern})$", done.stdout, re.MULTILINE)
    assert "staging api replicas 3 → 5" in done.stdout
    assert "prod api replicas still 4" in done.stdout
    assert sorted(DEMO.rglob("*.yaml*")) == files


@pytest.mark.parametrize(
    ("rule", "loosened", "told"),
    [
        ("max: 5", "max: 7", "staging api replicas 3 → 7"),
        # What the guard lets through really happens: the demo's denials are no accident of its tools.
        (
            "@shop",
            "@(shop|collector)",
            "NOT SO: mail went to release-check@collector.example, team@shop.example, and nowhere else",
        ),
    ],
)
def test_rule_that_says_something_else_fails_the_verdict(
    environ: dict[str, str], tmp_path: Path, rule: str, loosened: str, told: str
) -> None:
    demo = Path(shutil.copytree(DEMO, tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__")))
    for path in (demo / "project" / "policies").iterdir():
        path.write_text(path.read_text().replace(rule, loosened))
    done = _once(environ, demo)
    assert done.returncode == 1, done.stdout + done.stderr
    assert told in done.stdout
    assert "UNEXPECTED" in done.stdout
    assert "NOT SO: 20 steps decided as expected; not these" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_serving_ends_everything(environ: dict[str, str], number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with _started(environ, "--port", str(port)) as demo:
            told = _read_until(demo, "Ctrl-C to stop")
            page = next(word for word in told.split() if "/login?code=" in word)
            assert _status(page) == 200
            demo.send_signal(number)
            rest, _ = demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 0
    assert f"{port} is taken, so the sidecar gets another one" in told
    assert "stopping: the agent, the sidecar, the system" in rest
    with pytest.raises(OSError, match="refused"):
        _status(page)


def test_signal_before_the_verdict_of_one_run_is_no_success(environ: dict[str, str]) -> None:
    with _started(environ, "--once", "--port", "0") as demo:
        _read_until(demo, "system")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=DEADLINE_S)
    assert demo.returncode == 130


@contextlib.contextmanager
def _started(environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _command(*arguments), env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        try:
            yield demo
        finally:
            if demo.poll() is None:
                demo.terminate()


def _status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:  # noqa: S310 - the demo's own page
        return int(answer.status)


def _read_until(demo: subprocess.Popen[str], text: str) -> str:
    """Return what the demo says up to a line with `text`; pytest's own timeout is the deadline."""
    assert demo.stdout is not None
    told = ""
    for line in demo.stdout:
        told += line
        if text in line:
            return told
    raise AssertionError(f"the demo ended without saying `{text}`:\n{told}")
