"""What is PostgreSQL's own; the rest is in tests/contract/test_approval_store.py."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace

from agentguard.backends import PostgresApprovalStore
from agentguard.core import ApprovalError, ApprovalFilter
from approval_scene import draft
from approval_services import PostgresServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL whose settings tests change."""
    yield from serving(PostgresServer, "AGENTGUARD_TEST_OTHER_POSTGRES")


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_can_forget_is_refused(name: str, server: PostgresServer) -> None:
    server.set(name, "off")
    try:
        with pytest.raises(ApprovalError) as caught:
            PostgresApprovalStore(server.url, project="weak")
        assert caught.value.code == "approvals_unavailable"
        assert f"`{name} = off`" in caught.value.message
        assert caught.value.hint == f"set `{name} = on`"
    finally:
        server.set(name, None)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("postgresql://me:p4ssword@127.0.0.1:1/approvals", "the connection failed"),
        ("postgresql://me:p4ss@p4ssword@/approvals", "the connection failed"),
        ("postgresql://me:p4ssword@localhost:port/x", "the connection failed"),
        ("host=localhost p4ssword", "cannot be read"),
        ("postgresql://localhost/x?p4ssword=1", "cannot be read"),
    ],
)
def test_a_wrong_address_is_told_without_it(address: str, why: str) -> None:
    with pytest.raises(ApprovalError) as caught:
        PostgresApprovalStore(address, project="p")
    assert caught.value.code == "approvals_unavailable"
    assert why in caught.value.message
    assert "p4ssword" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_database_that_is_not_there_is_told(server: PostgresServer) -> None:
    with pytest.raises(ApprovalError) as caught:
        PostgresApprovalStore(server.url.replace("/postgres?", "/nothing?"), project="p")
    assert "there is no such database" in caught.value.message


def test_projects_do_not_see_each_other(server: PostgresServer) -> None:
    one, two = (PostgresApprovalStore(server.url, project=name) for name in ("one", "two"))
    one.add(draft())
    assert two.get(draft().id) is None
    assert two.read(ApprovalFilter()) == []
    assert two.add(draft()).id == draft().id
    one.close()
    two.close()


def test_what_a_newer_version_wrote_is_refused(server: PostgresServer) -> None:
    PostgresApprovalStore(server.url, project="p").close()
    with psycopg.connect(server.url) as base:
        base.execute("UPDATE agentguard_versions SET version = 2")
    with pytest.raises(ApprovalError) as caught:
        PostgresApprovalStore(server.url, project="p")
    assert "newer version" in caught.value.message
    with psycopg.connect(server.url) as base:
        base.execute("UPDATE agentguard_versions SET version = 1")


def test_who_may_only_use_the_tables_can(server: PostgresServer) -> None:
    PostgresApprovalStore(server.url, project="p").close()
    with psycopg.connect(server.url) as base:
        base.execute("CREATE ROLE app LOGIN")
        base.execute("GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO app")
    store = PostgresApprovalStore(server.url.replace("agentguard@", "app@"), project="app")
    assert store.add(draft()) == draft()
    store.close()


def test_many_who_begin_at_once_make_the_tables_once(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as base:
        base.execute("DROP TABLE IF EXISTS agentguard_approvals, agentguard_places, agentguard_versions")
    made: list[PostgresApprovalStore] = []
    threads = [
        threading.Thread(target=lambda: made.append(PostgresApprovalStore(server.url, project="p")))
        for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 6
    for store in made:
        store.close()


def test_a_null_character_is_kept_in_the_approval(server: PostgresServer) -> None:
    store = PostgresApprovalStore(server.url, project="null")
    made = store.add(draft(principal="a\0b"))
    assert store.get(made.id) == made
    assert [each.approval for each in store.read(ApprovalFilter(principal="a\0b"))] == [made]
    store.close()


def test_a_store_goes_on_after_its_server_has_crashed(server: PostgresServer) -> None:
    store = PostgresApprovalStore(server.url, project="crash")
    made = store.add(draft())
    server.restart()
    assert store.swap(replace(made, revision=1), revision=0)
    server.restart()
    found = store.get(made.id)
    assert found is not None
    assert found.revision == 1
    store.close()


@pytest.mark.slow
def test_a_server_that_came_back_weaker_is_refused(server: PostgresServer) -> None:
    store = PostgresApprovalStore(server.url, project="back")
    server.set("fsync", "off")
    try:
        server.restart()
        with pytest.raises(ApprovalError):
            store.add(draft())
    finally:
        server.set("fsync", None)
        store.close()
