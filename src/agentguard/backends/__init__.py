"""Adapters of the ports: one module for each engine, named by assembly alone.

Enters: what a port takes. Leaves: what it promises, on a real engine: memory, SQLite, PostgreSQL, Redis, Temporal.
Called by: assembly. An adapter passes the contract suite of its port or does not ship. What needs an extra is imported
when it is asked for; without the extra that raises `ApprovalError` (`extra_missing`).
"""

from typing import TYPE_CHECKING

from agentguard.backends._memory_approvals import MemoryApprovalStore
from agentguard.backends._memory_events import MemoryEventStore
from agentguard.backends._memory_ledger import MemoryLedger
from agentguard.backends._sqlite_approvals import SqliteApprovalStore
from agentguard.backends._sqlite_events import SqliteEventStore
from agentguard.backends._sqlite_ledger import SqliteLedger
from agentguard.backends._sqlite_outbox import SqliteOutbox
from agentguard.core import ApprovalError

if TYPE_CHECKING:
    from agentguard.backends._postgres_approvals import PostgresApprovalStore
    from agentguard.backends._redis_approvals import RedisApprovalStore
    from agentguard.backends._temporal_approvals import TemporalEngine
    from agentguard.backends._temporal_server import TemporalServer, TemporalTls
    from agentguard.backends._temporal_worker import TemporalWorker, is_worked_on

__all__ = [
    "MemoryApprovalStore",
    "MemoryEventStore",
    "MemoryLedger",
    "PostgresApprovalStore",
    "RedisApprovalStore",
    "SqliteApprovalStore",
    "SqliteEventStore",
    "SqliteLedger",
    "SqliteOutbox",
    "TemporalEngine",
    "TemporalServer",
    "TemporalTls",
    "TemporalWorker",
    "is_worked_on",
]

# name -> (module, extra, what the extra brings)
_EXTRAS = {
    "PostgresApprovalStore": ("_postgres_approvals", "postgres", ("psycopg", "psycopg_pool")),
    "RedisApprovalStore": ("_redis_approvals", "redis", ("redis",)),
    "TemporalEngine": ("_temporal_approvals", "temporal", ("temporalio",)),
    "TemporalServer": ("_temporal_server", "temporal", ("temporalio",)),
    "TemporalTls": ("_temporal_server", "temporal", ("temporalio",)),
    "is_worked_on": ("_temporal_worker", "temporal", ("temporalio",)),
    "TemporalWorker": ("_temporal_worker", "temporal", ("temporalio",)),
}


def __getattr__(name: str) -> object:
    if name not in _EXTRAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    place, extra, brings = _EXTRAS[name]
    try:
        return getattr(importlib.import_module(f"agentguard.backends.{place}"), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in brings:
            raise
        raise ApprovalError(
            f"approvals there need `{library}`, which is missing",
            code="extra_missing",
            hint=f"pip install 'agentguard[{extra}]'",
        ) from None
