"""Approvals in an SQLite file, for all processes of one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.backends._sqlite_file import SqliteFile
from agentguard.core import Approval, ApprovalError, StoredApproval

if TYPE_CHECKING:
    from pathlib import Path

    from agentguard.core import ApprovalFilter

_SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    binding TEXT NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    principal TEXT NOT NULL,
    has_work INTEGER NOT NULL,
    effect_unknown INTEGER NOT NULL,
    awaits_review INTEGER NOT NULL,
    approval BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS approvals_pending ON approvals (binding) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS approvals_by_state ON approvals (state, seq);
CREATE INDEX IF NOT EXISTS approvals_with_work ON approvals (seq) WHERE has_work = 1;
"""
_COLUMNS = "seq, id, binding, revision, state, principal, has_work, effect_unknown, awaits_review, approval"
_INSERT = f"INSERT INTO approvals ({_COLUMNS}) VALUES ({', '.join('?' * 10)})"  # noqa: S608 - our own words
# A changed approval takes a new place: AUTOINCREMENT uses none twice, and one writer at a time gives them out.
_NEXT = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'approvals'"
_DELETE = "DELETE FROM approvals WHERE id = ? AND revision = ?"
_decoder = msgspec.json.Decoder(Approval)


class SqliteApprovalStore:
    """An `ApprovalStore` in a file of its own; write-ahead log, synced with every change.

    Raises:
        ApprovalError: the file cannot be opened, is none of ours, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(
            path, name="approvals", schema=_SCHEMA, version=1, error=ApprovalError, prefix="approvals"
        )
        with self._file.told("open"):
            # What was used up must stay so over a power cut.
            self._file.base.execute("PRAGMA synchronous = FULL")

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval; see `ApprovalStore.add`."""
        with self._file.told("write to"), self._file.transaction() as base:
            pending = base.execute(
                "SELECT approval FROM approvals WHERE binding = ? AND state = 'pending'", (approval.binding,)
            ).fetchone()
            if pending is not None:
                return _decoder.decode(pending[0])
            (seq,) = base.execute(_NEXT).fetchone()
            base.execute(_INSERT, (seq, *_row(approval)))
        return approval

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put it in the place of what has `revision`; see `ApprovalStore.swap`."""
        with self._file.told("write to"), self._file.transaction() as base:
            if base.execute(_DELETE, (approval.id, revision)).rowcount != 1:
                return False
            (seq,) = base.execute(_NEXT).fetchone()
            base.execute(_INSERT, (seq, *_row(approval)))
        return True

    def get(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""
        with self._file.told("read"), self._file.lock:
            row = self._file.base.execute(
                "SELECT approval FROM approvals WHERE id = ?", (approval_id,)
            ).fetchone()
        return None if row is None else _decoder.decode(row[0])

    def read(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals by the place of their last change; see `ApprovalStore.read`."""
        where, values = _where(wanted, after)
        order = "DESC" if newest else "ASC"
        query = f"SELECT seq, approval FROM approvals WHERE {where} ORDER BY seq {order} LIMIT ?"  # noqa: S608 - as above
        with self._file.told("read"), self._file.lock:
            rows = self._file.base.execute(query, (*values, limit)).fetchall()
        found = [StoredApproval(seq, _decoder.decode(data)) for seq, data in rows]
        return found[::-1] if newest else found

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def _row(approval: Approval) -> tuple[Any, ...]:
    return (
        approval.id,
        approval.binding,
        approval.revision,
        approval.state.value,
        approval.principal,
        approval.has_work,
        approval.is_effect_unknown,
        approval.awaits_review,
        msgspec.json.encode(approval),
    )


def _where(wanted: ApprovalFilter, after: int) -> tuple[str, list[Any]]:
    terms = ["seq > ?"]
    values: list[Any] = [after]
    if wanted.states:
        terms.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values += [state.value for state in wanted.states]
    if wanted.principal:
        terms.append("principal = ?")
        values.append(wanted.principal)
    terms += [
        f"{name} = 1" for name in ("has_work", "effect_unknown", "awaits_review") if getattr(wanted, name)
    ]
    return " AND ".join(terms), values
