"""What the policy says of what was seen: in observe mode, what enforcement would have said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agentguard.core import Context, Decider, Effect, Principal, Request

if TYPE_CHECKING:
    from agentguard.core import Decision
    from agentguard.kernel._requests import Wish

MAX_JUDGED = 50_000
# What every C library reads is let be where the kernel tells of it (`shipped.path-account-file`).
PEP = "kernel"


class Verdict(msgspec.Struct, frozen=True):
    """The effect that a request of its own would have had, and why."""

    effect: Effect
    reason: str
    rule: str = ""
    stage: str = ""
    audit_id: str = ""


_CUT = Verdict(
    Effect.DENY, "a part of it was cut off, and an allow must not rest on the rest", stage="kernel"
)
_MANY = Verdict(Effect.DENY, "more different actions than are judged in one run", stage="kernel")


class Judge:
    """Asks `decider` about each different wish once; the decider records it. For one thread.

    It asks as of what was observed: no limit, sequence or breaker counts it for what is really asked for.
    `unrecorded` counts decisions that the audit log did not take. Without a decider nothing is judged, and the wishes are kept all the same.
    """

    def __init__(self, decider: Decider | None, *, principal: Principal, run: str) -> None:
        self.wishes: dict[tuple[str, str, str], tuple[Wish, Verdict | None]] = {}
        self.unrecorded = 0
        self._decider, self._principal = decider, principal
        self._context = Context(session=run, correlation_id=run, attributes={"pep": PEP, "observed": True})

    def verdict(self, wish: Wish) -> Verdict | None:
        """Return what the policy says of `wish`, the strictest where the same thing was done differently."""
        # Arguments and modes change the answer; the same file read twice does not.
        key = (wish.action, wish.resource, repr(wish.params))
        found = self.wishes.get(key)
        if found is not None:
            return found[1]
        verdict: Verdict | None
        if len(self.wishes) >= MAX_JUDGED:
            return _MANY
        if self._decider is None:
            verdict = None
        elif not wish.known:
            verdict = _CUT
        else:
            decision = self._decider.decide(self._request(wish))
            # What could not be recorded is a deny; here it changes nothing but that there is no proof of it.
            self.unrecorded += decision.stage == "audit"
            verdict = _verdict(decision)
        self.wishes[key] = (wish, verdict)
        return verdict

    def _request(self, wish: Wish) -> Request:
        return Request(self._principal, wish.action, wish.resource, wish.params, self._context, observed=True)


def _verdict(decision: Decision) -> Verdict:
    return Verdict(decision.effect, decision.reason, decision.rule or "", decision.stage, decision.audit_id)
