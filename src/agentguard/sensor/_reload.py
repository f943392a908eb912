"""New settings for a sensor that runs: whom it watches and whose sidecar is told counts at once, the rest at its next start."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import AgentGuardError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.sensor._outlet import Outlet
    from agentguard.sensor._settings import Watching
    from agentguard.sensor._watcher import Watcher

_log = logging.getLogger("agentguard.sensor")


def renew(old: Watching, load: Callable[[], Watching], watcher: Watcher, outlet: Outlet) -> Watching:
    """Have what `load` returns count, and return it. If it fails, the old settings go on to count, and that is on record."""
    try:
        fresh = load()
    except (AgentGuardError, OSError) as error:
        why = str(error) if isinstance(error, AgentGuardError) else (error.strerror or str(error)).lower()
        _log.error("the settings cannot be used, so the old ones still count: %s", why)
        watcher.tell("reload-failed", alert="sensor.reload-failed", reason=why)
        return old
    if fresh.project != old.project:
        why = f"the project is `{fresh.project}` now, and was `{old.project}`"
        _log.error("the settings are another project's, so the old ones still count: %s", why)
        watcher.tell("reload-failed", alert="sensor.reload-failed", reason=why)
        return old
    # Neither a folder nor a source of pods can be changed under those who use it.
    later = [name for name, value in fresh.fixed.items() if old.fixed.get(name) != value]
    if later:
        _log.warning("these settings count from the next start on: %s", ", ".join(later))
    _log.info("the settings were read again; watched are agents of: %s", ", ".join(fresh.rules.principals))
    watcher.tell("reloaded", watches=list(fresh.rules.principals), after_restart=later)
    watcher.set_rules(fresh.rules)
    outlet.set_uids(fresh.uids)
    # What differs from what is in use is said each time.
    return msgspec.structs.replace(fresh, fixed=old.fixed)
