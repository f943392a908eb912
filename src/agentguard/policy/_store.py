"""The policy set in force, kept in step with its files.

Changed files are parsed, all is compiled and checked, and only then does one assignment put the new set in
force. A set that cannot be used changes nothing but `problem`, which says what is wrong with it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from agentguard.core import AgentGuardError, PolicyError
from agentguard.policy._load import load_rules, policy_files
from agentguard.policy._set import PolicySet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from agentguard.policy._compile import CompiledRule
    from agentguard.policy._sequence_compile import Entry

log = logging.getLogger("agentguard.policy")

# The time of change is there because a content can be exchanged, or a permission given, without another time
# of modification.
Stamp = tuple[int, int, int, int]


class PolicyStore:
    """The rules of one folder. `current` is the set in force; `problem` why the files differ from it."""

    def __init__(
        self,
        folder: Path,
        *,
        base: Path | None = None,
        check: Callable[[PolicySet], None] | None = None,
        shipped: Iterable[CompiledRule | Entry] = (),
    ) -> None:
        """Load the folder; names in errors are relative to `base`. `check` may refuse a set.

        The `shipped` rules stand beside those of the folder, whatever becomes of its files.

        Raises:
            ConfigError: the folder cannot be read, or its rules cannot be used.
        """
        self._folder = folder
        self._base = base
        self._check = check
        self._shipped = tuple(shipped)
        self._parsed: dict[Path, tuple[Stamp, list[CompiledRule | Entry]]] = {}
        self._tried: dict[Path, Stamp] | None = None
        self._lock = threading.Lock()
        self.problem: str | None = None
        self.current = self._load(self._stamps())

    def refresh(self) -> bool:
        """Put changed files in force; tell whether `current` is another set now. Never raises."""
        with self._lock:
            try:
                stamps = self._stamps()
                if stamps == self._tried:
                    return False
                fresh = self._load(stamps)
            except AgentGuardError as error:
                return self._keep(str(error))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the files, the old set must hold
                return self._keep(f"the policy files cannot be read: {type(error).__name__}")
            if self.problem is not None:
                log.info("policy files can be used again")
                self.problem = None
            if fresh.version == self.current.version:
                return False
            self.current = fresh
            log.info("policy in force: %d rules, %s", len(fresh.rules), fresh.version[:19])
            return True

    def _keep(self, problem: str) -> bool:
        if problem != self.problem:
            log.error("policy files cannot be used, the old set stays in force: %s", problem)
        self.problem = problem
        return False

    def _stamps(self) -> dict[Path, Stamp]:
        stamps: dict[Path, Stamp] = {}
        # Whatever fails here, the next look must not take the files for tried.
        tried, self._tried = self._tried, None
        for path in policy_files(self._folder):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # an editor is just replacing it: the next look will see it
            stamps[path] = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        self._tried = tried
        return stamps

    def _load(self, stamps: dict[Path, Stamp]) -> PolicySet:
        self._tried = stamps
        if self._parsed and not stamps:
            raise PolicyError(f"no rule files are left in `{self._folder.name}`", hint="put one back")
        parsed: dict[Path, tuple[Stamp, list[CompiledRule | Entry]]] = {}
        for path, stamp in stamps.items():
            known = self._parsed.get(path)
            rules = known[1] if known is not None and known[0] == stamp else load_rules(path, self._base)
            parsed[path] = (stamp, rules)
        fresh = PolicySet((*self._shipped, *(rule for _, rules in parsed.values() for rule in rules)))
        if self._check is not None:
            self._check(fresh)
        self._parsed = parsed
        return fresh


class PolicyWatcher:
    """A thread that looks at the files of a store every `interval_s` and reports each new set."""

    def __init__(
        self, store: PolicyStore, on_change: Callable[[PolicySet], None], *, interval_s: float = 0.5
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._interval_s = interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agentguard-policies", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking. Idempotent."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            if self._store.refresh():
                try:
                    self._on_change(self._store.current)
                except Exception:
                    # This thread must live: a kill switch may be the next file.
                    log.exception("the new policy set could not be taken up")
