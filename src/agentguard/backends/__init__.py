"""Adapters of the ports: one module for each engine, named by assembly alone.

Enters: what a port takes. Leaves: what it promises, on a real engine: memory, SQLite. Called by: assembly. An
adapter passes the contract suite of its port or does not ship, and its engine is imported when it is used.
"""

from agentguard.backends._memory_approvals import MemoryApprovalStore
from agentguard.backends._memory_events import MemoryEventStore
from agentguard.backends._memory_ledger import MemoryLedger
from agentguard.backends._sqlite_approvals import SqliteApprovalStore
from agentguard.backends._sqlite_events import SqliteEventStore
from agentguard.backends._sqlite_ledger import SqliteLedger
from agentguard.backends._sqlite_outbox import SqliteOutbox

__all__ = [
    "MemoryApprovalStore",
    "MemoryEventStore",
    "MemoryLedger",
    "SqliteApprovalStore",
    "SqliteEventStore",
    "SqliteLedger",
    "SqliteOutbox",
]
