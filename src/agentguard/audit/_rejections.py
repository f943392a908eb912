"""Rejections: what is recorded of a request that nobody vouches for."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentguard.core import AuditLog

_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_PEER_CHARS = 64
_OTHERS = "others"


class _Bucket:
    __slots__ = ("bytes", "count", "since", "tokens", "updated")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens = tokens
        self.updated = self.since = now
        self.count = self.bytes = 0

    def take(self, rate: float, burst: float, now: float) -> bool:
        self.tokens = min(burst, self.tokens + (now - self.updated) * rate)
        self.updated = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Rejections:
    """Records unauthenticated and malformed requests: size and digest, never content.

    Each peer may cause `per_peer_rate` records a second (with a `burst`), all peers together `total_rate`.
    What is beyond is counted, and recorded as one record for each peer when `interval_s` is over, at the next
    call of `record` or `flush`. At most `max_peers` are remembered; the counts of those that were seen longest
    ago go into one count for all others.
    """

    def __init__(
        self,
        log: AuditLog,
        *,
        per_peer_rate: float = 1.0,
        burst: int = 5,
        total_rate: float = 20.0,
        interval_s: float = 10.0,
        max_peers: int = 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._rate = per_peer_rate
        self._burst = burst
        self._total_rate = total_rate
        self._interval_s = interval_s
        self._max_peers = max_peers
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._peers: OrderedDict[str, _Bucket] = OrderedDict()
        now = monotonic()
        self._others = _Bucket(0, now)
        # Room for a few peers at once, and no more than that however many there are.
        self._total_burst = max(total_rate, float(burst) * 4)
        self._total = _Bucket(self._total_burst, now)
        self._next_flush = now + interval_s

    def record(self, peer: str, kind: str, body: bytes) -> None:
        """Record that a `body` from `peer` was refused; `kind` is ours and in `snake_case`.

        Raises:
            AuditError: the log takes no records.
        """
        kind = kind if _KIND.fullmatch(kind) else "other"
        peer = "".join(char for char in peer[:_PEER_CHARS] if char.isprintable())
        with self._mutex:
            now = self._monotonic()
            if now >= self._next_flush:
                self._report(now)
            bucket = self._bucket(peer, now)
            room = bucket.take(self._rate, self._burst, now)
            if not (room and self._total.take(self._total_rate, self._total_burst, now)):
                bucket.count += 1
                bucket.bytes += len(body)
                return
        digest = hashlib.sha256(body).hexdigest()
        self._log.append(
            {"type": "rejected", "kind": kind, "peer": peer, "bytes": len(body), "sha256": digest}
        )

    def flush(self) -> None:
        """Record the surplus counted so far. Raises AuditError if the log takes no records."""
        with self._mutex:
            self._report(self._monotonic())

    def _bucket(self, peer: str, now: float) -> _Bucket:
        bucket = self._peers.get(peer)
        if bucket is None:
            bucket = self._peers[peer] = _Bucket(self._burst, now)
            if len(self._peers) > self._max_peers:
                _, oldest = self._peers.popitem(last=False)
                self._others.count += oldest.count
                self._others.bytes += oldest.bytes
        else:
            self._peers.move_to_end(peer)
        return bucket

    def _report(self, now: float) -> None:
        for peer, bucket in [*self._peers.items(), (_OTHERS, self._others)]:
            if bucket.count:
                # Counted down only after it is recorded: what a full disk refuses is reported later.
                self._log.append(_surplus(peer, bucket, now))
                bucket.count = bucket.bytes = 0
            bucket.since = now
        self._next_flush = now + self._interval_s


def _surplus(peer: str, bucket: _Bucket, now: float) -> dict[str, Any]:
    return {
        "type": "rejected",
        "kind": "surplus",
        "peer": peer,
        "count": bucket.count,
        "bytes": bucket.bytes,
        "seconds": round(now - bucket.since, 3),
    }
