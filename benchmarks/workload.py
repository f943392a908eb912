"""Rules and requests for every engine alike, made from a seed; and what they mean, as plainly as can be said.

A rule: role `r` may run an action (exact, or all of a service: `svc7-*`) on what is in environment `e`, unless the
resource has tag `t`, with the parameter `amount` in [low, high]. The most specific rule decides, among equals the
strictest, and nothing said is denied. Rules grow with the services that they are about, ten for each.
Seven requests of ten are aimed at a rule; the others are drawn at random.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

EFFECTS = ("allow", "require_approval", "deny")
VERBS = ("restart", "scale", "update", "read", "delete")
ROLES = tuple(f"role-{number}" for number in range(10))
ENVIRONMENTS = ("dev", "staging", "prod", "dr")
TAGS = ("frozen", "payments", "legacy", "public", "core")
MAX_AMOUNT = 1000
REQUESTS = 2000
RULES_A_SERVICE = 10
AIMED = 0.7
EXACT = 0.7
CHECKED = 300


@dataclass(frozen=True, slots=True)
class Spec:
    """One rule, in no engine's language. `service` is set where `action` is a glob: all that it can do."""

    id: str
    effect: str
    role: str
    action: str
    service: str | None
    environment: str
    unless_tag: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Host:
    """One resource."""

    id: str
    environment: str
    tag: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, in no engine's language."""

    principal: str
    role: str
    action: str
    host: Host
    amount: int


@dataclass(frozen=True, slots=True)
class Workload:
    """So many rules, and 2,000 requests about what they are about."""

    specs: tuple[Spec, ...]
    asks: tuple[Ask, ...]
    services: tuple[str, ...]
    hosts: tuple[Host, ...]

    @property
    def actions(self) -> list[str]:
        """Every action that there is."""
        return [f"{service}-{verb}" for service in self.services for verb in VERBS]


def workload(rules: int, *, seed: int = 20) -> Workload:
    """Return the workload with so many rules, the same for the same seed."""
    rng = random.Random(seed)
    services = tuple(f"svc{number}" for number in range(max(1, rules // RULES_A_SERVICE)))
    hosts = tuple(
        Host(f"{environment}/host-{number}", environment, rng.choice(TAGS))
        for environment in ENVIRONMENTS
        for number in range(50)
    )
    specs = tuple(_spec(rng, number, services) for number in range(rules))
    asks = tuple(
        _aimed(rng, rng.choice(specs), hosts) if rng.random() < AIMED else _stray(rng, services, hosts)
        for _ in range(REQUESTS)
    )
    return Workload(specs, asks, services, hosts)


def _spec(rng: random.Random, number: int, services: tuple[str, ...]) -> Spec:
    service = rng.choice(services)
    exact = rng.random() < EXACT
    # A broad deny that a narrower allow overrides cannot be said where a deny always wins (Cedar), so denials name
    # their action, and no engine's answer depends on what it cannot express.
    effect = rng.choices(EFFECTS, (6, 2, 2 if exact else 0))[0]
    low = rng.randrange(0, MAX_AMOUNT // 2)
    return Spec(
        id=f"rule-{number}",
        effect=effect,
        role=rng.choice(ROLES),
        action=f"{service}-{rng.choice(VERBS)}" if exact else f"{service}-*",
        service=None if exact else service,
        environment=rng.choice(ENVIRONMENTS),
        unless_tag=rng.choice(TAGS),
        low=low,
        high=rng.randrange(low, MAX_AMOUNT),
    )


def _aimed(rng: random.Random, spec: Spec, hosts: tuple[Host, ...]) -> Ask:
    fits = [host for host in hosts if host.environment == spec.environment and host.tag != spec.unless_tag]
    action = spec.action if spec.service is None else f"{spec.service}-{rng.choice(VERBS)}"
    return Ask(f"agent-{spec.role}", spec.role, action, rng.choice(fits), rng.randint(spec.low, spec.high))


def _stray(rng: random.Random, services: tuple[str, ...], hosts: tuple[Host, ...]) -> Ask:
    role = rng.choice(ROLES)
    action = f"{rng.choice(services)}-{rng.choice(VERBS)}"
    return Ask(f"agent-{role}", role, action, rng.choice(hosts), rng.randrange(MAX_AMOUNT))


def oracle(specs: tuple[Spec, ...], ask: Ask) -> str:
    """Return the effect that a request must get: looks at every rule, knows no engine."""
    found = [
        (spec.service is None, EFFECTS.index(spec.effect))
        for spec in specs
        if spec.role == ask.role
        and (spec.action == ask.action if spec.service is None else ask.action.startswith(f"{spec.service}-"))
        and spec.environment == ask.host.environment
        and spec.unless_tag != ask.host.tag
        and spec.low <= ask.amount <= spec.high
    ]
    return EFFECTS[max(found)[1]] if found else "deny"
