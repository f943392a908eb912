from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from agentguard.cli._app import COMMANDS, run
from agentguard.cli._exit import MEANINGS
from agentguard.core import ExecutionError
from command_line import STAGING, environment, spawn

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import Command


def test_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in out
    for code, meaning in MEANINGS.items():
        assert str(int(code)) in out
        assert meaning in " ".join(out.split())


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in "".join(capsys.readouterr())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: agentguard {name}")


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"agentguard {version('agentguard')}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["policy", "nonsense"], ["audit"]])
def test_what_is_not_known_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage:" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_completes(shell: str, tmp_path: Path) -> None:
    own = {**environment(), "_AGENTGUARD_COMPLETE": f"{shell}_source"}
    with spawn(tmp_path, env=own) as process:
        out, err = process.communicate(timeout=20)
    if shell == "bash" and "Bash" in err:
        pytest.skip(err)
    assert "_AGENTGUARD_COMPLETE" in out


def test_completion_knows_commands_and_actions(agentguard: Command) -> None:
    own = {**environment(), "_AGENTGUARD_COMPLETE": "bash_complete"}
    for words, found in (("agentguard po", "policy"), ("agentguard check restart-d", "restart-deployment")):
        chosen = {**own, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        with agentguard.spawn(env=chosen) as process:
            assert f"plain,{found}\n" in process.communicate(timeout=20)[0]


def test_the_module_is_the_command(agentguard: Command) -> None:
    with agentguard.spawn("check", *STAGING) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("✔ allow")
    assert "\x1b" not in out


def test_a_terminal_that_cannot_print_symbols_gets_plain_ones(agentguard: Command) -> None:
    own = {**environment(), "PYTHONIOENCODING": "ascii:backslashreplace"}
    for arguments, start in ((("check", *STAGING), "* allow"), (("agents", "list"), "principal")):
        with agentguard.spawn(*arguments, env=own) as process:
            out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        assert out.startswith(start)


def test_a_closed_pipe_is_no_allow(agentguard: Command) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with agentguard.spawn("check", *STAGING, stdout=writer) as process:
        os.close(writer)
        err = process.communicate(timeout=20)[1]
    assert (process.returncode, err) == (141, "")


def test_ctrl_c_ends_without_a_traceback(agentguard: Command) -> None:
    # It waits for its parameters, so the signal comes in the middle.
    with agentguard.spawn("check", *STAGING, "--params", "-", stdin=subprocess.PIPE) as process:
        pid = process.pid
        _wait_until_it_reads(pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert agentguard.segments() == []


def _wait_until_it_reads(pid: int) -> None:
    from pathlib import Path

    from command_line import wait_for

    def reading() -> bool:
        parts = Path(f"/proc/{pid}/syscall").read_text().split() if sys.platform == "linux" else ["0"]
        return parts[:2] in (["0", "0x0"], ["63", "0x0"])  # read(0) on x86-64 and arm64

    wait_for(reading)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RuntimeError("line one\nBearer abc.def.ghi \x1b[31m"), 1, "RuntimeError: line one\\x0a[redacted]"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ExecutionError("no"), 2, "error: no"),
    ],
)
def test_an_unexpected_error_is_a_line_and_no_traceback(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("agentguard.assembly.load_project", fail)
    ran = agentguard("check", *STAGING)
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert "\x1b" not in ran.err
    assert "Bearer" not in ran.err
