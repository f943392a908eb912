"""Runs the examples of a document, in order, in one folder of its own, with the package as it is.

A comment before a fenced block says what becomes of it:

- `<!-- run -->` before ```console: each `$ command` is run by sh, and the lines below it must be its output, in
  order; `…` stands for any text, a line `…` for any lines. Before ```python: it is run as a program, and a block
  ```text that follows with `<!-- output -->` must be its output.
- `<!-- file: NAME -->`: the block is written to NAME in the folder where the commands are.
- `<!-- not run: REASON -->`: it is left alone.

`$ agentguard up` starts a sidecar on a free port that runs until the document ends; 127.0.0.1:8787 means that one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src"
UP = "agentguard up"
ADDRESS = "127.0.0.1:8787"
DEADLINE_S = 30.0
_END = "\x1e"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<kind>[a-z]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, its kind, and what the comment before it says."""

    mark: str
    kind: str
    body: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(match["mark"] or "", match["kind"], match["body"], line)


def matches(expected: list[str], actual: list[str]) -> bool:
    """Tell whether lines are as written; a line `…` stands for any lines."""
    if not expected:
        return not actual
    if expected[0] == "…":
        return any(matches(expected[1:], actual[at:]) for at in range(len(actual) + 1))
    return bool(actual) and _same(expected[0], actual[0]) and matches(expected[1:], actual[1:])


def _same(expected: str, actual: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.rstrip().split("…"))
    return re.fullmatch(pattern, actual.rstrip()) is not None


@dataclass
class Runner:
    """Runs blocks in `folder`, which changes as the commands change it."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    _address: str = ADDRESS
    _printed: list[str] = field(default_factory=list)
    _sidecars: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put `agentguard` and `python` on the path: this interpreter, this source."""
        home = self.folder
        commands = home / ".bin"
        commands.mkdir()
        for name, arguments in {"agentguard": "-m agentguard", "python": ""}.items():
            shim = commands / name
            shim.write_text(f'#!/bin/sh\nexec {sys.executable} -W ignore {arguments} "$@"\n')
            shim.chmod(0o755)
        self._environ = {
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / ".state"),
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCE),
            "PYTHONIOENCODING": "utf-8",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "120",
            "PWD_FILE": str(home / ".pwd"),
        }

    def run(self, text: str) -> list[str]:
        """Run a document's blocks and return what is wrong, one text a problem."""
        try:
            for block in blocks(text):
                self._run_block(block)
        finally:
            for sidecar in self._sidecars:
                sidecar.terminate()
                sidecar.communicate(timeout=DEADLINE_S)
        return self.problems

    def _run_block(self, block: Block) -> None:
        if block.mark.startswith("file: "):
            path = self.folder / block.mark.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
        elif block.mark == "output":
            self._compare(block, "the program", block.body.splitlines(), self._printed)
        elif block.mark == "run" and block.kind == "python":
            self._printed = self._start(["python", "-c", self._here(block.body)]).splitlines()
        elif block.mark == "run":
            self._console(block)

    def _console(self, block: Block) -> None:
        commands: list[tuple[str, list[str]]] = []
        for line in block.body.splitlines():
            if line.startswith("$ "):
                commands.append((line.removeprefix("$ "), []))
            elif line.startswith("> "):
                commands[-1] = (f"{commands[-1][0]}\n{line.removeprefix('> ')}", [])
            else:
                commands[-1][1].append(line)
        for command, expected in commands:
            if command == UP:
                self._up(block, expected)
                continue
            # The exit code of one command is `$?` to the next, as in a terminal.
            script = f"(exit ${{LAST:-0}})\n{self._here(command)}\nlast=$?\nprintf '{_END}%s' $last; pwd > $PWD_FILE"
            printed, _, last = self._start(["sh", "-c", script]).rpartition(_END)
            self._environ["LAST"] = last
            self.folder = Path((Path(self._environ["PWD_FILE"])).read_text().strip())
            self._compare(block, command, expected, printed.splitlines())

    def _start(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=DEADLINE_S,
            check=False,
        )
        return done.stdout

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, self._address)

    def _up(self, block: Block, expected: list[str]) -> None:
        sidecar = subprocess.Popen(
            ["agentguard", "up", "--port", "0"],
            cwd=self.folder,
            env=self._environ,
            executable=Path(self._environ["PATH"].partition(":")[0]) / "agentguard",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._sidecars.append(sidecar)
        assert sidecar.stdout is not None
        timer = threading.Timer(DEADLINE_S, sidecar.kill)
        timer.start()
        printed = []
        for line in sidecar.stdout:
            printed.append(line.rstrip("\n"))
            found = re.search(r"at http://(\S+)", line)
            if found:
                self._address = found[1]
            if "Ctrl-C" in line:
                break
        timer.cancel()
        self._compare(block, UP, expected, [each.replace(self._address, ADDRESS) for each in printed])

    def _compare(self, block: Block, command: str, expected: list[str], actual: list[str]) -> None:
        if not matches(expected, actual):
            shown = "\n".join(actual)
            self.problems.append(
                f"line {block.line}: `{command}` printed\n{shown}\nand not\n" + "\n".join(expected)
            )
