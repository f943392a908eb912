"""The demo: a DevOps agent works on a small real system, and AgentGuard decides each of its steps first.

Starts the system, the sidecar and the agent, says whether all came as it had to, and goes on until Ctrl-C.
Everything lies in a folder of its own under the temporary folder and is gone afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from children import Children, Patience, Stopped
from demo import Demo, DemoError
from show import Terminal

PORT = 8787
_INTERRUPTED = 130
_TAIL = 15


def main() -> int:
    """Run the demo: 0 if all came as it had to, 1 if not, 130 if `--once` was stopped before it was said."""
    options = _options()
    try:
        import agentguard.core  # noqa: F401 - is it there, with all that it needs?
    except ImportError as error:
        print(f"error: {error}; start the demo with `make run`", file=sys.stderr)
        return 1
    patience = Patience()
    terminal = Terminal(color=not options.no_color)
    scratch = Path(tempfile.mkdtemp(prefix="agentguard-demo-"))
    messages = scratch / "messages.log"
    try:
        with messages.open("w") as log:
            children = Children(log)
            try:
                code = _play(Demo(scratch, children, patience, terminal), terminal, options)
            finally:
                children.stop_all()
    except (DemoError, OSError, subprocess.SubprocessError) as error:
        terminal.result(f"{error}; the last messages:", good=False)
        terminal.say("\n".join(messages.read_text().splitlines()[-_TAIL:]))
        code = 1
    finally:
        if options.keep is not None and (scratch / "project" / "audit").is_dir():
            shutil.copytree(scratch / "project" / "audit", options.keep, dirs_exist_ok=True)
            terminal.say(f"the audit log is kept in {options.keep}")
        shutil.rmtree(scratch)
    return code


def _play(demo: Demo, terminal: Terminal, options: argparse.Namespace) -> int:
    """Return the exit code."""
    code = _INTERRUPTED if options.once else 0
    terminal.say(terminal.paint("A DevOps agent at work, with AgentGuard between it and the world", "bold"))
    try:
        demo.build()
        demo.guard(options.port)
        findings = demo.work(then_end=options.once)
        terminal.heading("Verdict")
        for finding in findings:
            terminal.result(finding.text, good=finding.good)
        code = 0 if all(finding.good for finding in findings) else 1
        if not options.once:
            demo.serve()
    except Stopped:
        terminal.say("\nstopping: the agent, the sidecar, the system")
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--once", action="store_true", help="end after the verdict: 0 if all came as it had to"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help=f"the sidecar's port; 0 is a free one [{PORT}]"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy the audit log there in the end")
    parser.add_argument("--no-color", action="store_true", help="print without colour")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
