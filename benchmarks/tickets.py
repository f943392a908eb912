"""Cost of an execution ticket: canonical parameters, issued, verified, used up."""

from __future__ import annotations

import tempfile
from pathlib import Path

from agentguard.core import Decision, Effect, Principal, canonical_json
from agentguard.enforcement import TicketIssuer, TicketStore, TicketVerifier
from agentguard.identity import StateFolder, TicketKeys
from benchmarks.measure import Cost, cost

PARAMS = {
    "namespace": "prod",
    "deployment": "api",
    "replicas": 5,
    "labels": {"team": "payments", "tier": "1"},
    "note": "a short text of some words",
}
ACTION, RESOURCE, EXECUTOR = "scale-deployment@1", "prod/api", "deployer"
LIMITS_US = {"issue": 150, "verify": 200}


def measure(folder: Path) -> dict[str, Cost]:
    keys = TicketKeys(StateFolder.open("bench-project", {"XDG_STATE_HOME": str(folder)}))
    issuer = TicketIssuer(keys)
    store = TicketStore(folder / "tickets.sqlite")
    verifier = TicketVerifier(keys, executor=EXECUTOR, store=store)
    principal = Principal("deploy-agent")
    decision = Decision(Effect.ALLOW, "rule", principal.id, ACTION, RESOURCE, PARAMS)

    def issue(_: object) -> str:
        return issuer.sign(issuer.draft(decision, principal, EXECUTOR), "01a1fc5d844477a1bb27bd043f5e6568")

    def verify(ticket: str) -> object:
        return verifier.verify(ticket, action=ACTION, resource=RESOURCE, params=PARAMS)

    # Each is used once: as many as are measured, with the first pass over all of them.
    fresh = iter([issue(None) for _ in range(1 + 2 * 3 * 200)])

    def consume(_: object) -> object:
        return verifier.consume(next(fresh), action=ACTION, resource=RESOURCE, params=PARAMS)

    costs = {
        "canonical": cost(canonical_json, [PARAMS], calls=5000),
        "issue": cost(issue, [None], calls=500),
        "verify": cost(verify, [issue(None)], calls=500),
        "consume": cost(consume, [None], calls=200, rounds=3),
    }
    store.close()
    return costs


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, figures in measure(Path(folder)).items():
            limit = f", must be at most {LIMITS_US[name]}" if name in LIMITS_US else ""
            print(
                f"{name:10} {figures.cpu:8.1f} us of processor time; wall p50 {figures.p50:8.1f},"
                f" p99 {figures.p99:8.1f} us{limit}"
            )


if __name__ == "__main__":
    main()
