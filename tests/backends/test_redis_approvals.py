"""What is Redis's own; the rest is in tests/contract/test_approval_store.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from msgspec.structs import replace

from agentguard.backends import RedisApprovalStore
from agentguard.core import ApprovalError, ApprovalFilter, ApprovalState
from approval_scene import START, draft
from approval_services import RedisServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.services

WEAKER = {
    "appendonly": "no",
    "appendfsync": "everysec",
    "appendfsync no": "no",
    "no-appendfsync-on-rewrite": "yes",
    "maxmemory-policy": "allkeys-lru",
}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Return a Redis whose settings tests change."""
    yield from serving(RedisServer, "AGENTGUARD_TEST_OTHER_REDIS")


@pytest.fixture
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        client.config_set("no-appendfsync-on-rewrite", "no")
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")


def weaken(admin: redis.Redis, setting: str) -> str:
    name = setting.split(maxsplit=1)[0]
    admin.config_set("maxmemory", "100mb")
    admin.config_set(name, WEAKER[setting])
    return name


@pytest.mark.parametrize("setting", WEAKER)
def test_a_server_that_can_forget_is_refused(setting: str, server: RedisServer, admin: redis.Redis) -> None:
    name = weaken(admin, setting)
    with pytest.raises(ApprovalError) as caught:
        RedisApprovalStore(server.url, project="weak")
    assert caught.value.code == "approvals_unavailable"
    assert f"`{name} {WEAKER[setting]}`" in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize("setting", WEAKER)
def test_a_change_under_weaker_settings_is_not_confirmed(
    setting: str, server: RedisServer, admin: redis.Redis
) -> None:
    store = RedisApprovalStore(server.url, project=f"later {setting}")
    made = store.add(draft())
    weaken(admin, setting)
    with pytest.raises(ApprovalError):
        store.swap(replace(made, revision=1), revision=0)
    with pytest.raises(ApprovalError):
        store.add(draft(2))
    store.close()


def test_memory_without_bound_needs_no_policy_of_eviction(server: RedisServer, admin: redis.Redis) -> None:
    admin.config_set("maxmemory-policy", "allkeys-lru")
    RedisApprovalStore(server.url, project="unbounded").close()


def test_who_may_not_ask_for_the_settings_is_refused(server: RedisServer, admin: redis.Redis) -> None:
    admin.acl_setuser("agent", enabled=True, passwords=["+s3cret"], commands=["+@all", "-config"], keys=["*"])
    address = server.url.replace("unix://", "unix://agent:s3cret@")
    with pytest.raises(ApprovalError) as caught:
        RedisApprovalStore(address, project="p")
    assert "does not say with which settings" in caught.value.message


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("redis://:p4ssword@127.0.0.1:1/0", "the connection failed"),
        ("redis://p4ssword", "the connection failed"),
        ("http://user:p4ssword@localhost", "cannot be read"),
        ("redis://user:p4ssword@localhost:port", "cannot be read"),
        ("p4ssword", "cannot be read"),
    ],
)
def test_a_wrong_address_is_told_without_it(address: str, why: str) -> None:
    with pytest.raises(ApprovalError) as caught:
        RedisApprovalStore(address, project="p")
    assert caught.value.code == "approvals_unavailable"
    assert why in caught.value.message
    assert "p4ssword" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_wrong_password_is_told_without_it(server: RedisServer) -> None:
    with pytest.raises(ApprovalError) as caught:
        RedisApprovalStore(server.url.replace("unix://", "unix://root:p4ssword@"), project="p")
    assert "not accepted" in caught.value.message
    assert "p4ssword" not in str(caught.value)


def test_projects_do_not_see_each_other(server: RedisServer) -> None:
    one, two = (RedisApprovalStore(server.url, project=name) for name in ("one", "two"))
    one.add(draft())
    assert two.get(draft().id) is None
    assert two.read(ApprovalFilter()) == []
    one.close()
    two.close()


def test_what_is_wanted_is_found_over_many_pages(server: RedisServer) -> None:
    store = RedisApprovalStore(server.url, project="many")
    for number in range(1, 131):
        state = ApprovalState.DENIED if number % 60 else ApprovalState.CONSUMED
        store.add(draft(number, state=state, consumed_at=START))
    consumed = ApprovalFilter((ApprovalState.CONSUMED,))
    assert [each.seq for each in store.read(consumed)] == [60, 120]
    assert [each.seq for each in store.read(consumed, limit=1)] == [60]
    assert [each.seq for each in store.read(consumed, limit=1, newest=True)] == [120]
    assert [each.seq for each in store.read(consumed, after=60, newest=True)] == [120]
    assert [each.seq for each in store.read(ApprovalFilter(effect_unknown=True))] == [60, 120]
    store.close()


def test_a_store_goes_on_after_its_server_has_crashed(server: RedisServer) -> None:
    store = RedisApprovalStore(server.url, project="crash")
    made = store.add(draft())
    server.restart()
    assert store.swap(replace(made, revision=1), revision=0)
    server.restart()
    found = store.get(made.id)
    assert found is not None
    assert found.revision == 1
    store.close()


def test_a_change_that_is_sent_again_is_the_same_change(server: RedisServer) -> None:
    """As after a connection that broke before the answer: it was made, and nobody else was quicker."""
    store = RedisApprovalStore(server.url, project="again")
    made = store.add(draft())
    after = replace(made, revision=1)
    from agentguard.backends._redis_approvals import _SWAP, _arguments

    arguments = [*_arguments(after), 0]
    assert store._write(_SWAP, arguments) == 1
    assert store._write(_SWAP, arguments) == 1
    assert store._write(_SWAP, [*_arguments(after), 0]) == 0
    store.close()
