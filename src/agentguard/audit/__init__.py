"""Proves what was decided: an append-only, hash-chained log of records, with a signed head.

Enters: records as mappings (secrets already replaced by `Commitments`), a `Signer`, a `Clock`. Leaves: event
ids, records read back, exports, and a `Verification` that names the first record that was tampered with.
Called by: the decision point and the server to append, the command line and the pages to read and verify. It
must never say that a record is in the log before the operating system has it, nor write over one that is.
"""

from agentguard.audit._commitments import Commitments
from agentguard.audit._diagnose import Problem
from agentguard.audit._export import export_csv, export_json_lines
from agentguard.audit._head import Head, read_head
from agentguard.audit._log import LogState, SegmentLog
from agentguard.audit._memory import MemoryLog
from agentguard.audit._read import Filter, read_folder, read_records
from agentguard.audit._record import MAX_RECORD_BYTES
from agentguard.audit._rejections import Rejections
from agentguard.audit._tail import LogTail
from agentguard.audit._verify import Verification, verify

__all__ = [
    "MAX_RECORD_BYTES",
    "Commitments",
    "Filter",
    "Head",
    "LogState",
    "LogTail",
    "MemoryLog",
    "Problem",
    "Rejections",
    "SegmentLog",
    "Verification",
    "export_csv",
    "export_json_lines",
    "read_folder",
    "read_head",
    "read_records",
    "verify",
]
