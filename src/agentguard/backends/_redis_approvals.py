"""Approvals in Redis, for processes of many machines; only where Redis writes every change to disk before it answers."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import redis

from agentguard.core import Approval, ApprovalError, ApprovalState, StoredApproval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.core import ApprovalFilter

# id -> JSON, id -> revision, id -> who changed it last, binding -> pending id, the last place; and by place the ids
# of all, of those with work, of those of which somebody still has to say something.
_NAMES = ("data", "revisions", "changers", "pending", "counter", "places", "work", "owed")
# ARGV: id, binding, JSON, revision, has work, owed, pending, changer
_PUT = """
local function put()
  local seq = redis.call('INCR', KEYS[5])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[8])
  redis.call('ZADD', KEYS[6], seq, ARGV[1])
  for i = 5, 6 do
    if ARGV[i] == '1' then redis.call('ZADD', KEYS[i + 2], seq, ARGV[1])
    else redis.call('ZREM', KEYS[i + 2], ARGV[1]) end
  end
  if ARGV[7] == '1' then redis.call('HSET', KEYS[4], ARGV[2], ARGV[1])
  elseif redis.call('HGET', KEYS[4], ARGV[2]) == ARGV[1] then redis.call('HDEL', KEYS[4], ARGV[2]) end
end
"""
_ADD = f"""{_PUT}
local known = redis.call('HGET', KEYS[4], ARGV[2])
if known then return redis.call('HGET', KEYS[1], known) end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return redis.error_reply('TAKEN') end
put()
return ''
"""
# A connection that breaks is tried again, and the same changer must not be told that somebody else was quicker.
_SWAP = f"""{_PUT}
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[9] then
  return redis.call('HGET', KEYS[3], ARGV[1]) == ARGV[8] and 1 or 0
end
put()
return 1
"""
# Both in one step, so that no change is missed between them.
_READ = """
local how = ARGV[4] == '1' and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE'
local found = redis.call(how, KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local told = {}
for i = 1, #found, 2 do
  told[#told + 1] = found[i + 1]
  told[#told + 1] = redis.call('HGET', KEYS[2], found[i])
end
return told
"""
# What Redis must be set to, so that what it has confirmed is on the disk, and stays.
_SETTINGS = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
_LOOKED_AT = (*_SETTINGS, "maxmemory", "maxmemory-policy")
_PAGE = 500
_LEAST_PAGE = 50
_TIMEOUT_S = 5.0
_CHECK_EVERY_S = 5.0
_decoder = msgspec.json.Decoder(Approval)


class RedisApprovalStore:
    """An `ApprovalStore` in one Redis server, under keys of one project.

    Redis counts only with `appendonly yes`, `appendfsync always`, `no-appendfsync-on-rewrite no` and no eviction:
    anything weaker can forget what it has confirmed. It is refused at the start, and with each change: one that was
    made under weaker settings is not confirmed.

    Raises:
        ApprovalError: the server cannot be reached, or keeps less than it must (`approvals_unavailable`).
    """

    def __init__(self, url: str, *, project: str) -> None:
        try:
            self._redis: redis.Redis = redis.Redis.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, health_check_interval=15
            )
        except ValueError:
            raise ApprovalError(
                "the address of Redis cannot be read",
                code="approvals_unavailable",
                hint="write it as `rediss://USER:PASSWORD@HOST:6379/0`, special characters as %XX",
            ) from None
        # One hash slot, so that scripts may touch them all on a cluster too.
        self._keys = [f"agentguard:{{{project}}}:approvals:{name}" for name in _NAMES]
        self._lock = threading.Lock()
        self._checked = float("-inf")
        self._closed = False
        try:
            self._check_server()
        except BaseException:
            self._redis.close()
            raise

    @classmethod
    def probe(cls, url: str) -> None:
        """Pass where a store could be opened; nothing is made there.

        Raises:
            ApprovalError: it could not.
        """
        cls(url, project="").close()

    def add(self, approval: Approval) -> Approval:
        """Keep a new approval; see `ApprovalStore.add`."""
        known = self._write(_ADD, _arguments(approval))
        return _decoder.decode(known) if known else approval

    def swap(self, approval: Approval, *, revision: int) -> bool:
        """Put it in the place of what has `revision`; see `ApprovalStore.swap`."""
        return bool(self._write(_SWAP, [*_arguments(approval), revision]))

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
        places = self._places(wanted)
        low, high = f"({after}", "+inf"
        size = min(max(limit, _LEAST_PAGE), _PAGE)
        while len(found) < limit:
            page = self._page(places, low, high, size, newest=newest)
            found += [each for each in page if wanted.matches(each.approval)]
            if len(page) < size:
                break
            low, high = (low, f"({page[-1].seq}") if newest else (f"({page[-1].seq}", high)
        found = found[:limit]
        return found[::-1] if newest else found

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._closed = True
        self._redis.close()

    def _places(self, wanted: ApprovalFilter) -> str:
        """Return the key of the least that holds all that is wanted."""
        _, _, _, _, _, places, work, owed = self._keys
        if wanted.has_work or (wanted.states and all(state.is_open for state in wanted.states)):
            return work
        return owed if wanted.effect_unknown or wanted.awaits_review else places

    def _page(self, places: str, low: str, high: str, size: int, *, newest: bool) -> list[StoredApproval]:
        bounds = (high, low) if newest else (low, high)
        with self._told("read"):
            told: Any = self._redis.eval(_READ, 2, places, self._keys[0], *bounds, size, int(newest))
        return [
            StoredApproval(int(float(seq)), _decoder.decode(data))
            for seq, data in zip(told[::2], told[1::2], strict=True)
        ]

    def _write(self, script: str, arguments: list[Any]) -> Any:
        self._check_server()
        with self._told("write to"), self._redis.pipeline(transaction=True) as steps:
            steps.eval(script, len(self._keys), *self._keys, *arguments)
            steps.config_get(*_LOOKED_AT)
            result, settings = steps.execute()
        _check_settings(settings)
        return result

    def _check_server(self) -> None:
        with self._lock:
            if time.monotonic() < self._checked + _CHECK_EVERY_S:
                return
        with self._told("open"):
            try:
                settings: Any = self._redis.config_get(*_LOOKED_AT)
            except redis.ResponseError:
                raise _weak(
                    "and does not say with which settings", "let its user run CONFIG GET and INFO"
                ) from None
            written: Any = self._redis.info("persistence")
        _check_settings(settings)
        if written.get("aof_last_write_status") != "ok":
            raise _weak("and cannot write its file", "see that its disk has room")
        with self._lock:
            self._checked = time.monotonic()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Raise what goes wrong as our own error; its text does not hold the address, which may have a password."""
        if self._closed:
            raise ApprovalError("the approvals in Redis are closed", code="approvals_closed")
        try:
            yield
        except (redis.RedisError, OSError) as error:
            with self._lock:
                self._checked = float("-inf")
            raise ApprovalError(
                f"cannot {what} the approvals in Redis: {_why(error)}",
                code="approvals_unavailable",
                hint="see that the server runs and `approvals.url` is right",
            ) from None


def _check_settings(settings: dict[str, str]) -> None:
    for name, good in _SETTINGS.items():
        if settings.get(name) != good:
            raise _weak(
                f"with `{name} {settings.get(name, '?')}`",
                f"set `{name} {good}` in its configuration file, and start it again",
            )
    if settings.get("maxmemory") != "0" and settings.get("maxmemory-policy") != "noeviction":
        raise _weak(
            f"with `maxmemory-policy {settings.get('maxmemory-policy', '?')}`",
            "set `maxmemory-policy noeviction`",
        )


def _arguments(approval: Approval) -> list[Any]:
    return [
        approval.id,
        approval.binding,
        msgspec.json.encode(approval),
        approval.revision,
        int(approval.has_work),
        int(approval.is_effect_unknown or approval.awaits_review),
        int(approval.state is ApprovalState.PENDING),
        secrets.token_hex(8),
    ]


def _why(error: Exception) -> str:
    """Return what went wrong in words of our own: the library's name parts of the address."""
    if isinstance(error, redis.AuthenticationError):
        return "user or password is not accepted"
    if isinstance(error, redis.TimeoutError):
        return "it does not answer"
    if isinstance(error, redis.ConnectionError | OSError):
        return "the connection failed"
    return type(error).__name__


def _weak(how: str, hint: str) -> ApprovalError:
    return ApprovalError(
        f"Redis runs {how}, so it can forget what was used up", code="approvals_unavailable", hint=hint
    )
