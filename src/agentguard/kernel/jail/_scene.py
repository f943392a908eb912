"""What is laid out for the self-test: files that must stay shut, and sockets that must not be reached."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.kernel._rules import PathRule
from agentguard.kernel.jail._canaries import Scene
from agentguard.kernel.jail._plan import decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentguard.kernel.jail._plan import Found

RULE = "self-test"


class Stage:
    """Files and sockets of one self-test; `close` takes them away."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._stack = contextlib.ExitStack()
        self._outside = self._file(self._places(found, shut=True))
        self._shut = self._file(self._places(found, shut=False))

    def rules(self) -> tuple[PathRule, ...]:
        """Return what the policy has to say besides, for the attempts to be held."""
        return (PathRule(self._shut, ("read", "write"), "deny", RULE),) if self._shut else ()

    def scene(self, *, workspace: str, with_link: bool) -> Scene:
        """Open the sockets and return the scene. A `link` is made now, so that only its inode gives it away."""
        link = ""
        if with_link and self._shut:
            link = f"{self._shut}-link"
            with contextlib.suppress(OSError):
                Path(link).hardlink_to(self._shut)
        listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"agentguard-{secrets.token_hex(8)}"
        abstract.bind(f"\0{name}")
        abstract.listen(1)
        left_open = os.open(os.devnull, os.O_RDONLY)
        self._stack.callback(os.close, left_open)
        os.set_inheritable(left_open, True)
        return Scene(
            outside=self._outside,
            shut=self._shut,
            link=link,
            workspace=workspace,
            port=listener.getsockname()[1],
            abstract=name,
            descriptor=left_open,
            launcher=os.getpid(),
        )

    def _places(self, found: Sequence[Found], *, shut: bool) -> list[str]:
        """Return folders of which the rules allow nothing, or in which they allow writing."""
        candidates: tuple[str, ...] = (
            os.environ.get("XDG_RUNTIME_DIR", ""),
            os.environ.get("HOME", ""),
            "/run",
            "/var/lib",
        )
        if not shut:
            candidates = (os.environ.get("TMPDIR", ""), "/tmp", "/dev/shm")  # noqa: S108 - a folder of its own is made there
        places = [os.path.realpath(each) for each in candidates if each.startswith("/")]
        if shut:
            return [
                each
                for each in places
                if decide(found, each, "read") is None and decide(found, each, "write") is None
            ]
        return [each for each in places if (rule := decide(found, each, "write")) and rule.effect == "allow"]

    def _file(self, places: Sequence[str]) -> str:
        for place in places:
            try:
                folder = tempfile.mkdtemp(prefix=".agentguard-", dir=place)
            except OSError:
                continue
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder, "canary")
            path.write_text("canary\n", encoding="utf-8")
            return str(path)
        return ""

    def close(self) -> None:
        """Take everything away. Idempotent."""
        self._stack.close()
