"""Follows the files that budgets and prices are read from, and has a keeper take up what changed."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agentguard.spend._budget import Budgets
    from agentguard.spend._keeper import BudgetKeeper
    from agentguard.spend._prices import PriceTable

log = logging.getLogger("agentguard.spend")

Stamp = tuple[int, int, int, int] | None


class BudgetFollower:
    """A thread that looks at the files every `interval_s`; what cannot be used leaves the old budgets in force.

    `problem` says why they cannot be used, None while they can.
    """

    def __init__(
        self,
        files: Sequence[Path],
        load: Callable[[], tuple[Budgets, PriceTable]],
        keeper: BudgetKeeper,
        *,
        interval_s: float = 0.5,
    ) -> None:
        self._files = tuple(files)
        self._load = load
        self._keeper = keeper
        self._interval_s = interval_s
        self._tried = self._stamps()
        self.problem: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-budgets", daemon=True)
        self._thread.start()

    def refresh(self) -> bool:
        """Put changed files in force; tell whether they are now. Never raises."""
        stamps = self._stamps()
        if stamps == self._tried:
            return False
        self._tried = stamps
        try:
            budgets, prices = self._load()
        except AgentGuardError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the files, the old budgets must hold
            self.problem = f"the budgets cannot be read: {type(error).__name__}"
        else:
            self.problem = None
            self._keeper.adopt(budgets, prices)
            log.info("budgets in force: %d", len(budgets.budgets))
            return True
        log.error("budgets cannot be used, the old ones stay in force: %s", self.problem)
        return False

    def problems(self) -> list[str]:
        """Return what is wrong with the files, for whoever asks whether all is well."""
        return [] if self.problem is None else ["the budgets cannot be used; older ones are in force"]

    def stop(self) -> None:
        """Stop looking. Idempotent."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self.refresh()

    def _stamps(self) -> list[Stamp]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
