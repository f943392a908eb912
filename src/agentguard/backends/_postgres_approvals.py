"""Approvals in PostgreSQL, for processes of many machines."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from agentguard.core import Approval, ApprovalError, StoredApproval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import ApprovalFilter

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS agentguard_approvals (
    project text NOT NULL,
    id text NOT NULL,
    seq bigint NOT NULL,
    binding text NOT NULL,
    revision integer NOT NULL,
    state text NOT NULL,
    principal text NOT NULL,
    has_work boolean NOT NULL,
    effect_unknown boolean NOT NULL,
    awaits_review boolean NOT NULL,
    approval bytea NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE UNIQUE INDEX IF NOT EXISTS agentguard_approvals_seq ON agentguard_approvals (project, seq);
CREATE UNIQUE INDEX IF NOT EXISTS agentguard_approvals_pending
    ON agentguard_approvals (project, binding) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS agentguard_approvals_work ON agentguard_approvals (project, seq) WHERE has_work;
CREATE TABLE IF NOT EXISTS agentguard_places (project text PRIMARY KEY, seq bigint NOT NULL);
CREATE TABLE IF NOT EXISTS agentguard_versions (room text PRIMARY KEY, version integer NOT NULL);
"""
_KEEP_VERSION = "INSERT INTO agentguard_versions VALUES ('approvals', %s) ON CONFLICT DO NOTHING"
# Whoever holds the project's row is the only writer, so places are given out in the order in which they are seen.
_NEXT = (
    "INSERT INTO agentguard_places (project, seq) VALUES (%s, 1)"
    " ON CONFLICT (project) DO UPDATE SET seq = agentguard_places.seq + 1 RETURNING seq"
)
_COLUMNS = (
    "project, seq, id, binding, revision, state, principal, has_work, effect_unknown, awaits_review, approval"
)
_INSERT = f"INSERT INTO agentguard_approvals ({_COLUMNS}) VALUES ({', '.join(['%s'] * 11)})"  # noqa: S608 - our own words
_UPDATE = (
    "UPDATE agentguard_approvals SET seq = %s, binding = %s, revision = %s, state = %s, principal = %s, has_work = %s,"
    " effect_unknown = %s, awaits_review = %s, approval = %s WHERE project = %s AND id = %s"
)
_SETTINGS = (
    ("fsync", ("on",)),
    ("full_page_writes", ("on",)),
    ("synchronous_commit", ("on", "remote_apply", "remote_write", "local")),
)
# What the address may have said otherwise; `read committed` lets who comes second see what the first has done.
_SESSION = (
    "SET statement_timeout = 5000; SET lock_timeout = 5000;"
    " SET default_transaction_isolation = 'read committed'; SET client_encoding = 'UTF8'"
)
# One process makes the tables at a time.
_SCHEMA_LOCK = 0x41475F61
_TIMEOUT_S = 5.0
_decoder = msgspec.json.Decoder(Approval)


class PostgresApprovalStore:
    """An `ApprovalStore` in tables of a PostgreSQL database, made if they are not there; projects share them.

    A server that does not keep what it has committed over a crash is refused.

    Raises:
        ApprovalError: the database cannot be reached or used, or keeps less than it must (`approvals_unavailable`).
    """

    def __init__(self, url: str, *, project: str, connections: int = 8) -> None:
        self._project = project
        check_address(url)
        # It says what fails with parts of the address; here it is raised, without.
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            timeout=_TIMEOUT_S,
            open=False,
            kwargs={"connect_timeout": 5},
            configure=_set_up,
            check=ConnectionPool.check_connection,
            name="agentguard-approvals",
        )
        with _told("open"):
            # The first one outside the pool, which would not say why there is none.
            with psycopg.connect(url, connect_timeout=5) as connection:
                _set_up(connection)
                _make_tables(connection)
            self._pool.open()

    @staticmethod
    def probe(url: str) -> None:
        """Pass where a store could be opened; nothing is made there.

        Raises:
            ApprovalError: it could not.
        """
        check_address(url)
        with _told("open"), psycopg.connect(url, connect_timeout=5) as connection:
            _set_up(connection)

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval; see `ApprovalStore.add`."""
        with _told("write to"), self._pool.connection() as connection:
            seq = self._next(connection)
            pending = connection.execute(
                "SELECT approval FROM agentguard_approvals WHERE project = %s AND binding = %s AND state = 'pending'",
                (self._project, approval.binding),
            ).fetchone()
            if pending is not None:
                connection.rollback()
                return _decoder.decode(pending[0])
            connection.execute(_INSERT, (self._project, seq, approval.id, *_row(approval)))
        return approval

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put it in the place of what has `revision`; see `ApprovalStore.swap`."""
        with _told("write to"), self._pool.connection() as connection:
            seq = self._next(connection)
            known = connection.execute(
                "SELECT revision FROM agentguard_approvals WHERE project = %s AND id = %s",
                (self._project, approval.id),
            ).fetchone()
            if known is None or known[0] != revision:
                connection.rollback()
                return False
            connection.execute(_UPDATE, (seq, *_row(approval), self._project, approval.id))
        return True

    def get(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""
        with _told("read"), self._pool.connection() as connection:
            row = connection.execute(
                "SELECT approval FROM agentguard_approvals WHERE project = %s AND id = %s",
                (self._project, _text(approval_id)),
            ).fetchone()
        return None if row is None else _decoder.decode(row[0])

    def read(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals by the place of their last change; see `ApprovalStore.read`."""
        where, values = _where(wanted)
        query = sql.SQL(
            "SELECT seq, approval FROM agentguard_approvals WHERE project = %s AND seq > %s{} ORDER BY seq {} LIMIT %s"
        ).format(where, sql.SQL("DESC" if newest else "ASC"))
        with _told("read"), self._pool.connection() as connection:
            rows = connection.execute(query, (self._project, after, *values, limit)).fetchall()
        found = [StoredApproval(seq, _decoder.decode(data)) for seq, data in rows]
        return found[::-1] if newest else found

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._pool.close()

    def _next(self, connection: psycopg.Connection[Any]) -> int:
        row = connection.execute(_NEXT, (self._project,)).fetchone()
        assert row is not None
        return int(row[0])


def check_address(url: str) -> None:
    """Pass for what is an address of a PostgreSQL database.

    Raises:
        ApprovalError: it is none; the text does not hold it (`approvals_unavailable`).
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ApprovalError(
            "the address of PostgreSQL cannot be read",
            code="approvals_unavailable",
            hint="write it as `postgresql://USER:PASSWORD@HOST/DATABASE`, special characters as %XX",
        ) from None


def _set_up(connection: psycopg.Connection[Any]) -> None:
    """Make a new connection ready: a server that came back otherwise than it was is noticed here."""
    with connection.transaction():
        connection.execute(_SESSION)
        for name, good in _SETTINGS:
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            assert row is not None
            if row[0] not in good:
                raise ApprovalError(
                    f"PostgreSQL runs with `{name} = {row[0]}`, so a crash can undo what was used up",
                    code="approvals_unavailable",
                    hint=f"set `{name} = {good[0]}`",
                )


def _make_tables(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
    row = connection.execute("SELECT to_regclass('agentguard_versions')").fetchone()
    if row is None or row[0] is None:
        connection.execute(_SCHEMA)
        connection.execute(_KEEP_VERSION, (_VERSION,))
        return
    row = connection.execute("SELECT version FROM agentguard_versions WHERE room = 'approvals'").fetchone()
    if row is not None and row[0] > _VERSION:
        raise ApprovalError(
            "the approvals in PostgreSQL were written by a newer version", hint="use that version"
        )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Raise what goes wrong as our own error; its text does not hold the address, which has a password."""
    try:
        yield
    except PoolClosed:
        raise ApprovalError("the approvals in PostgreSQL are closed", code="approvals_closed") from None
    except PoolTimeout:
        raise _unavailable("it cannot be reached") from None
    except psycopg.Error as error:
        said = error.diag.message_primary
        raise _unavailable(f"cannot {what} the approvals: {said or _why(error)}") from None


def _why(error: psycopg.Error) -> str:
    """Return why there is no connection, in words of our own: the library's name parts of the address."""
    text = str(error)
    if "password authentication failed" in text:
        return "user or password is not accepted"
    if re.search(r'database "[^"]*" does not exist', text):
        return "there is no such database"
    return "the connection failed"


def _unavailable(why: str) -> ApprovalError:
    return ApprovalError(
        f"PostgreSQL: {why}",
        code="approvals_unavailable",
        hint="see that the server runs and `approvals.url` is right",
    )


def _row(approval: Approval) -> tuple[Any, ...]:
    return (
        approval.binding,
        approval.revision,
        approval.state.value,
        _text(approval.principal),
        approval.has_work,
        approval.is_effect_unknown,
        approval.awaits_review,
        msgspec.json.encode(approval),
    )


def _text(text: str) -> str:
    # PostgreSQL's text takes every character but this one.
    return text.replace("\0", "\ufffd")


def _where(wanted: ApprovalFilter) -> tuple[sql.Composed, list[Any]]:
    terms: list[sql.SQL] = []
    values: list[Any] = []
    if wanted.states:
        terms.append(sql.SQL(" AND state = ANY(%s)"))
        values.append([state.value for state in wanted.states])
    if wanted.principal:
        terms.append(sql.SQL(" AND principal = %s"))
        values.append(_text(wanted.principal))
    if wanted.has_work:
        terms.append(sql.SQL(" AND has_work"))
    if wanted.effect_unknown:
        terms.append(sql.SQL(" AND effect_unknown"))
    if wanted.awaits_review:
        terms.append(sql.SQL(" AND awaits_review"))
    return sql.Composed(terms), values
