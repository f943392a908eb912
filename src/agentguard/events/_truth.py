"""Claim against truth: what the decisions let an agent do, joined with what the kernel saw its processes do.

A claim and a deed belong together when the claim's principal, or the executor of its ticket, is whose process it was,
when a claim that names a run names this one, and when the deed falls into the claim's time.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from agentguard.core import Event, EventKind, Severity
from agentguard.events._claims import Claim, claim_of, seconds
from agentguard.events._deeds import Deed, Names, deed_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal["contradicted", "undeclared", "refused"]
MAX_CLAIMS = 4_096
# Clocks of the record and of the kernel differ by less; an effect may end after its outcome was told.
_SLACK_S = 0.25
_REPEAT_S = 60.0
_MAX_TOLD = 10_000
_MAX_EVIDENCE = 3
_WORDS = {"file": "opened", "host": "reached for", "program": "ran"}


class Discrepancy(msgspec.Struct, frozen=True):
    """One thing that was done and not decided so.

    `contradicted`: something else of its kind was asked for at that time. `undeclared`: no decision speaks of it.
    `refused`: it was asked for, and not allowed. `claims` are the nearest decisions, newest first; `sessions` are all in
    which the principal was acting.
    """

    kind: Kind
    severity: Severity
    deed: Deed
    claims: tuple[Claim, ...]
    sessions: tuple[str, ...]

    @property
    def reason(self) -> str:
        """One sentence for a person."""
        done = f"{_WORDS[self.deed.family]} {self.deed.resource}"
        if self.kind == "undeclared":
            return f"{done}, and no decision speaks of it"
        claim = self.claims[0]
        if self.kind == "refused":
            return f"{done} although `{claim.action}` of it was not allowed ({claim.effect})"
        return f"claimed `{claim.action}` of {claim.resource}, but {done}"


class Truth:
    """Holds the claims of the last minutes against what was done. For one thread.

    `facts_of` returns the facts about the arguments of a decision's record (`core.FACTS`); `own` are the doors at which agents ask us, as (host, port).
    A claim without an outcome holds for `window_s` seconds.
    """

    def __init__(
        self,
        facts_of: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        *,
        own: frozenset[tuple[str, int]] = frozenset(),
        window_s: float = 60.0,
    ) -> None:
        self._facts_of, self._own, self._window_s = facts_of, own, window_s
        self._claims: deque[Claim] = deque(maxlen=MAX_CLAIMS)
        # What the kernel's own gate has asked about, and holds or lets through as it was decided.
        self._gated: deque[Claim] = deque(maxlen=MAX_CLAIMS)
        self._names = Names()
        self._told: dict[tuple[str, str, str, str], float] = {}

    def note(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the audit log: a decision claims something, an outcome ends its claim."""
        kind = record.get("type")
        if kind == "decision" and not _is_observed(record):
            claims = self._gated if _is_gates(record) else self._claims
            claims.append(claim_of(record, self._facts_of(record), window_s=self._window_s))
        elif kind == "outcome":
            self._end(str(record.get("decision", "")), seconds(record["timestamp"]))

    def judge(self, event: Event) -> Event | None:
        """Return the alert about what was done, or None where it was decided so, or anything may do it.

        The same discrepancy of one run is told once a minute.
        """
        self._names.learn(event)
        deed = deed_of(event, self._names)
        found = self._compare(deed, event) if deed is not None else None
        if found is None or not self._is_new(event.session, found):
            return None
        return _alert(found, event)

    def _compare(self, deed: Deed, event: Event) -> Discrepancy | None:
        if not deed.is_named and deed.is_ordinary(self._own):
            return None
        claims = list(self._open(deed, event, self._claims))
        covering = [each for each in claims if each.covers(deed)]
        if any(each.is_allowed for each in covering):
            return None
        sessions = tuple(dict.fromkeys(each.session for each in claims if each.session))
        if covering:
            return Discrepancy("refused", Severity.CRITICAL, deed, tuple(covering), sessions)
        # The slack excuses; it accuses nobody of what came before the claim.
        rivals = tuple(
            each
            for each in claims
            if each.is_allowed and each.speaks_of(deed.family) and each.since <= deed.at <= each.until
        )
        if not rivals and any(each.covers(deed) for each in self._open(deed, event, self._gated)):
            return None
        severity = _severity(deed, is_contradicted=bool(rivals))
        if severity is None:
            return None
        return Discrepancy("contradicted" if rivals else "undeclared", severity, deed, rivals, sessions)

    @staticmethod
    def _open(deed: Deed, event: Event, claims: deque[Claim]) -> Iterator[Claim]:
        for claim in reversed(claims):
            if (
                event.principal in claim.principals
                and (not claim.run or claim.run == event.session)
                and claim.since - _SLACK_S <= deed.at <= claim.until + _SLACK_S
            ):
                yield claim

    def _end(self, audit_id: str, at: float) -> None:
        for place in range(len(self._claims) - 1, -1, -1):
            claim = self._claims[place]
            if claim.audit_id == audit_id:
                self._claims[place] = msgspec.structs.replace(claim, until=min(claim.until, at))
                return

    def _is_new(self, run: str, found: Discrepancy) -> bool:
        key = (run, found.kind, found.deed.action, found.deed.resource)
        told = self._told.get(key)
        if told is not None and found.deed.at < told + _REPEAT_S:
            return False
        self._told.pop(key, None)
        if len(self._told) >= _MAX_TOLD:
            del self._told[next(iter(self._told))]
        self._told[key] = found.deed.at
        return True


def _is_observed(record: Mapping[str, Any]) -> bool:
    """Tell whether the decision is about what the kernel saw, and so is itself the truth and no claim."""
    attributes = (record.get("context") or {}).get("attributes") or {}
    return bool(record.get("observed") or attributes.get("observed"))


def _is_gates(record: Mapping[str, Any]) -> bool:
    """Tell whether the kernel's own gate has asked, which holds what is not allowed: the agent has claimed nothing."""
    return ((record.get("context") or {}).get("attributes") or {}).get("pep") == "kernel"


def _severity(deed: Deed, *, is_contradicted: bool) -> Severity | None:
    """Return how much it matters that nothing asked for this; None for what the policy allows, or says nothing of."""
    if deed.is_named:
        return Severity.CRITICAL if is_contradicted else Severity.HIGH
    if deed.effect in {"allow", "transform"}:
        # Files that rules allow are touched all the time; another host or program than the one claimed is a lie.
        return Severity.MEDIUM if is_contradicted and deed.family != "file" else None
    if is_contradicted:
        return Severity.HIGH if deed.family == "host" else Severity.MEDIUM
    return {"host": Severity.MEDIUM, "program": Severity.LOW}.get(deed.family)


def _alert(found: Discrepancy, event: Event) -> Event:
    now = datetime.now(UTC)
    payload = {
        "action": f"truth.{found.kind}",
        "resource": found.deed.resource,
        "reason": found.reason,
        "severity": found.severity.value,
        "done": {"action": found.deed.action, "event_id": event.event_id, **shown(event.payload)},
        "claims": [
            {
                "audit_id": each.audit_id,
                "action": each.action,
                "resource": each.resource,
                "effect": each.effect,
            }
            for each in found.claims[:_MAX_EVIDENCE]
        ],
        "sessions": list(found.sessions),
    }
    if found.deed.effect:
        payload["would"] = found.deed.effect
    if found.deed.rule:
        payload["rule"] = found.deed.rule
    # Whoever else compares finds the same, and the store keeps one of each id.
    return Event(f"{event.event_id}-truth", EventKind.ALERT, now, event.principal, event.session, payload)
