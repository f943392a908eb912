"""Approvals in Redis, for processes of many machines; only where Redis writes every change to disk before it answers."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import redis

from agentguard.core import Approval, ApprovalError, StoredApproval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import ApprovalFilter

# KEYS: data (id -> JSON), revisions, places (sorted by seq), work (the same, of those with work), pending (binding -> id), counter
_ADD = """
local known = redis.call('HGET', KEYS[5], ARGV[2])
if known then return redis.call('HGET', KEYS[1], known) end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return redis.error_reply('TAKEN') end
local seq = redis.call('INCR', KEYS[6])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[3], seq, ARGV[1])
if ARGV[5] == '1' then redis.call('ZADD', KEYS[4], seq, ARGV[1]) end
if ARGV[6] == '1' then redis.call('HSET', KEYS[5], ARGV[2], ARGV[1]) end
return false
"""
_SWAP = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[7] then return 0 end
local seq = redis.call('INCR', KEYS[6])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[3], seq, ARGV[1])
if ARGV[5] == '1' then redis.call('ZADD', KEYS[4], seq, ARGV[1]) else redis.call('ZREM', KEYS[4], ARGV[1]) end
if ARGV[6] == '1' then redis.call('HSET', KEYS[5], ARGV[2], ARGV[1])
elseif redis.call('HGET', KEYS[5], ARGV[2]) == ARGV[1] then redis.call('HDEL', KEYS[5], ARGV[2]) end
return 1
"""
# Both in one step, so that no change is missed between them.
_READ = """
local found
if ARGV[4] == '1' then found = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
else found = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3]) end
local told = {}
for i = 1, #found, 2 do
  told[#told + 1] = found[i + 1]
  told[#told + 1] = redis.call('HGET', KEYS[2], found[i])
end
return told
"""
_PAGE = 500
_TIMEOUT_S = 5.0
_CHECK_EVERY_S = 5.0
_decoder = msgspec.json.Decoder(Approval)


class RedisApprovalStore:
    """An `ApprovalStore` in one Redis server, under keys of one project.

    Redis counts only with `appendonly yes`, `appendfsync always` and no eviction: anything weaker can forget what it has
    confirmed, so it is refused, at the start and whenever it is found so later.

    Raises:
        ApprovalError: the server cannot be reached, or keeps less than it must (`approvals_unavailable`).
    """

    def __init__(self, url: str, *, project: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, health_check_interval=15
        )
        # One hash slot, so that scripts may touch them all on a cluster too.
        names = ("data", "revisions", "places", "work", "pending", "counter")
        self._keys = [f"agentguard:{{{project}}}:approvals:{name}" for name in names]
        self._add = self._redis.register_script(_ADD)
        self._swap = self._redis.register_script(_SWAP)
        self._read = self._redis.register_script(_READ)
        self._lock = threading.Lock()
        self._checked = float("-inf")
        try:
            self._check_durability()
        except BaseException:
            self._redis.close()
            raise

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval; see `ApprovalStore.add`."""
        self._check_durability()
        with self._told("write to"):
            known = self._add(keys=self._keys, args=_arguments(approval))
        return approval if known is None else _decoder.decode(known)

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put it in the place of what has `revision`; see `ApprovalStore.swap`."""
        self._check_durability()
        with self._told("write to"):
            return bool(self._swap(keys=self._keys, args=[*_arguments(approval), revision]))

    def get(self, approval_id: str) -> Approval | None:
        """Return the approval with this id, or None."""
        with self._told("read"):
            data: Any = self._redis.hget(self._keys[0], approval_id)
        return None if data is None else _decoder.decode(data)

    def read(
        self, wanted: ApprovalFilter, *, after: int = 0, limit: int = 1_000, newest: bool = False
    ) -> list[StoredApproval]:
        """Return approvals by the place of their last change; see `ApprovalStore.read`."""
        found: list[StoredApproval] = []
        places = self._keys[3 if wanted.has_work else 2]
        low, high = f"({after}", "+inf"
        while len(found) < limit:
            page = self._page(places, low, high, newest=newest)
            found += [each for each in page if wanted.matches(each.approval)]
            if len(page) < _PAGE:
                break
            if newest:
                high = f"({page[-1].seq}"
            else:
                low = f"({page[-1].seq}"
        found = found[:limit]
        return found[::-1] if newest else found

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._redis.close()

    def _page(self, places: str, low: str, high: str, *, newest: bool) -> list[StoredApproval]:
        with self._told("read"):
            told = self._read(keys=[places, self._keys[0]], args=[low, high, _PAGE, int(newest)])
        return [
            StoredApproval(int(float(seq)), _decoder.decode(data))
            for seq, data in zip(told[::2], told[1::2], strict=True)
        ]

    def _check_durability(self) -> None:
        with self._lock:
            if time.monotonic() < self._checked + _CHECK_EVERY_S:
                return
        with self._told("open"):
            settings: Any = self._redis.config_get(
                "appendonly", "appendfsync", "maxmemory", "maxmemory-policy"
            )
            written: Any = self._redis.info("persistence")
        if settings.get("appendonly") != "yes" or settings.get("appendfsync") != "always":
            raise _weak("without `appendonly yes` and `appendfsync always`", "set both, as with CONFIG SET")
        if settings.get("maxmemory") not in {"0", 0} and settings.get("maxmemory-policy") != "noeviction":
            raise _weak("with eviction", "set `maxmemory-policy noeviction`")
        if written.get("aof_last_write_status") != "ok":
            raise _weak("and cannot write its file", "see that its disk has room")
        with self._lock:
            self._checked = time.monotonic()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Raise what goes wrong as our own error; its text does not hold the address, which may have a password."""
        try:
            yield
        except redis.RedisError as error:
            self._checked = float("-inf")
            raise ApprovalError(
                f"cannot {what} the approvals in Redis: {type(error).__name__}",
                code="approvals_unavailable",
                hint="see that the server runs and `approvals.url` is right",
            ) from None


def _arguments(approval: Approval) -> list[Any]:
    return [
        approval.id,
        approval.binding,
        msgspec.json.encode(approval),
        approval.revision,
        int(approval.has_work),
        int(approval.state.value == "pending"),
    ]


def _weak(how: str, hint: str) -> ApprovalError:
    return ApprovalError(
        f"Redis runs {how}, so it can forget what was used up", code="approvals_unavailable", hint=hint
    )
