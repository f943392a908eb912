"""Programs that take away evidence: the log, the journal, the audit, the history of commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentguard.facts._unwrap import Run

_LOG_SWITCHES = re.compile(
    r"\bHIST(?:FILE|SIZE|FILESIZE)=(?:/dev/null|0|''|\"\")?(?:\s|$)|unset\s+HIST(?:FILE|SIZE)|\bset\s+\+o\s+history|\bshopt\s+-\w*u\w*\s+history"
)
_KEEPERS = ("auditd", "rsyslog", "syslog", "systemd-journald")
_STOPS = frozenset(("stop", "disable", "mask", "kill"))
# Program -> beginnings of the options that empty what it keeps.
_EMPTIES: dict[str, tuple[str, ...]] = {
    "history": ("-c", "-d", "-w"), "journalctl": ("--vacuum", "--rotate", "--flush"), "auditctl": ("-D", "-e0"),
    "dmesg": ("-C", "--clear", "-c"), "wevtutil": ("cl", "clear-log"),
}  # fmt: skip


def switches_off(text: str) -> bool:
    """Tell whether a declaration keeps commands out of the history: `HISTSIZE=0`, `unset HISTFILE`."""
    return _LOG_SWITCHES.search(text) is not None


def tampers(run: Run) -> bool:
    """Tell whether a program empties a log, or ends what keeps it."""
    name, words = run.name, run.arguments
    if name in _EMPTIES:
        return any(each.startswith(_EMPTIES[name]) for each in words) or (
            name == "auditctl" and "-e 0" in " ".join(words)
        )
    if name in ("set", "shopt"):
        return switches_off(f"{name} {' '.join(words)}")
    if name in ("pkill", "killall"):
        return _ends_keeper(words)
    if name in ("systemctl", "service") or "/init.d/" in run.path:
        return not _STOPS.isdisjoint(words) and _ends_keeper((name, *words))
    return False


def _ends_keeper(words: tuple[str, ...]) -> bool:
    return any(each.startswith(_KEEPERS) for each in words)
