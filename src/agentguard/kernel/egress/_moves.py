"""From what an observer sees, the proxy's address, back to what the agent wanted; and the names that it was told."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agentguard.kernel._layout import Kind
from agentguard.kernel._ring import Ring
from agentguard.kernel._seen import Address, Seen
from agentguard.kernel.egress import _layout as layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.kernel._dns import DnsMessage
    from agentguard.kernel.egress._enforcer import Listening

RING_BYTES = 512 << 10
_LOOPBACK = frozenset(("127.0.0.1", "::1"))
_KINDS = frozenset((Kind.CONNECT, Kind.SENDTO))
_THREADS, _OF_EACH = 16_384, 16
_ANSWERS = 4096


class Moves:
    """Translates what one agent's observer sees. `translate` is for one thread, `note_answer` for any."""

    def __init__(self, descriptor: int, listening: Listening, cgroup: int) -> None:
        self._ring = Ring(descriptor, RING_BYTES, layout.MOVE)
        self._ports = {listening.proxy4, listening.proxy6, listening.dns4, listening.dns6} - {0}
        self._cgroup = cgroup
        self._of_thread: OrderedDict[int, deque[tuple[int, Address]]] = OrderedDict()
        self._answers: deque[DnsMessage] = deque(maxlen=_ANSWERS)

    def note_answer(self, message: DnsMessage) -> None:
        """Take in a question to our resolver, or what it answered: no packet on port 53 tells it."""
        self._answers.append(message)

    def translate(self, seen: Seen) -> Iterator[Seen]:
        """Yield what the agent did, in place of what was seen of it."""
        while self._answers:
            message = self._answers.popleft()
            yield Seen(Kind.DNS, time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._cgroup, 0, 0, dns=message)
        if seen.kind in _KINDS and seen.address is not None:
            seen = self._moved(seen, seen.address)
        yield seen

    def _moved(self, seen: Seen, address: Address) -> Seen:
        if address.port not in self._ports or address.host not in _LOOPBACK:
            return seen
        # What was led elsewhere was told before the call returned, and so before it was seen.
        self._read()
        for moved_ns, wanted in reversed(self._of_thread.get(seen.tid, ())):
            if moved_ns <= seen.time_ns:
                return msgspec.structs.replace(seen, address=wanted)
        return seen

    def _read(self) -> None:
        while batch := self._ring.drain():
            for move in np.frombuffer(batch, layout.MOVE):
                raw = ipaddress.IPv6Address(bytes(move["address"]))
                host, protocol = raw.ipv4_mapped or raw, "tcp" if int(move["protocol"]) == 6 else "udp"  # noqa: PLR2004 - TCP
                family = "inet" if host.version == 4 else "inet6"  # noqa: PLR2004 - of IP
                known = self._of_thread.setdefault(int(move["tid"]), deque(maxlen=_OF_EACH))
                known.append((int(move["time_ns"]), Address(family, str(host), int(move["port"]), protocol)))
                self._of_thread.move_to_end(int(move["tid"]))
        while len(self._of_thread) > _THREADS:
            self._of_thread.popitem(last=False)

    def close(self) -> None:
        """Unmap the ring. Idempotent."""
        self._ring.close()
