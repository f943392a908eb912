"""Keeps what a decision point remembers of sessions over a restart.

One process of a project may keep it: the sidecar. It saves about once a second while something changes, and on
close. After a crash the newest second is missing; the label store then counts every session as having seen
everything until it has aged out, since nobody knows what the missing second held. Sessions with an intent have files
of their own (`intent.Journals`), in which nothing that was answered is missing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, IntegrityError, Location
from agentguard.flow import FlowStore, load, save
from agentguard.intent import Journals
from agentguard.policy import History

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("agentguard.pdp")

INTERVAL_S = 1.0


class Keeper:
    """Loads `history` and `flow` from `folder`, and saves them while it is open. `journals` are files there too.

    If another process keeps them already, these begin empty, there are no journals, and `is_keeping` is false.

    Raises:
        IntegrityError: the saved history is damaged, or the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._history_file, self._flow_file = folder / "history", folder / "flow"
        self._lock = os.open(folder / "sessions.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.is_keeping = _try_lock(self._lock)
        self.history = History()
        self.journals: Journals | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if not self.is_keeping:
            log.warning("another process keeps this project's sessions; here they end with the process")
            self.flow = FlowStore()
            return
        self.history.load(self._history_file)
        self.flow = load(self._flow_file, time.time())
        try:
            self.journals = Journals(folder / "sessions")
        except OSError as error:
            raise IntegrityError(
                f"the sessions with an intent cannot be kept: {(error.strerror or str(error)).lower()}",
                code="history_unavailable",
                location=Location(str(folder / "sessions")),
            ) from None
        self._save()
        self._thread = threading.Thread(target=self._run, name="agentguard-sessions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save for the last time. Idempotent."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._save(closing=True)
        os.close(self._lock)

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            self._save()

    def _save(self, *, closing: bool = False) -> None:
        try:
            save(self.flow, self._flow_file, closing=closing)
            self.history.save(self._history_file)
        except (AgentGuardError, OSError) as error:
            # What is remembered still holds in this process; the next look tries again.
            log.error("the sessions could not be saved: %s", type(error).__name__)  # noqa: TRY400 - no traceback


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
