"""The section `approvals`: who is asked, how long, and what happens when nobody answers."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from agentguard.config._secret import SecretReference
from agentguard.core import Quorum, Risk

if TYPE_CHECKING:
    from agentguard.documents import Document

_Text = Annotated[str, Meta(min_length=1, max_length=1024)]
_Name = Annotated[str, Meta(min_length=1, max_length=100)]
_Limit = Annotated[float, Meta(ge=1, le=30 * 86_400)]


class EscalationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is asked too when nobody has decided in time."""

    after_s: Annotated[_Limit, Meta(description="seconds after the request")]
    people: Annotated[tuple[_Name, ...], Meta(description="who may vote from then on, by name")] = ()
    groups: Annotated[tuple[_Name, ...], Meta(description="whose members may vote from then on")] = ()


class RouteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who decides on which requests; what is left out fits all."""

    risk: Annotated[tuple[Risk, ...], Meta(description="risks of actions that it is for")] = ()
    actions: Annotated[tuple[_Text, ...], Meta(description="actions that it is for, as globs")] = ()
    resources: Annotated[tuple[_Text, ...], Meta(description="resources that it is for, as globs")] = ()
    amount_from: Annotated[
        float | None,
        Meta(description="lowest amount that it is for; an amount that is no number counts as more"),
    ] = None
    amount: Annotated[
        str,
        Meta(
            pattern=r"^(/.*)?\Z",
            description="which parameter is the amount, as a JSON pointer; left out, what the action declares",
        ),
    ] = ""
    people: Annotated[tuple[_Name, ...], Meta(description="who may vote, by name")] = ()
    groups: Annotated[tuple[_Name, ...], Meta(description="groups whose members may vote")] = ()
    quorum: Annotated[
        Quorum, Meta(description="how many people it takes: `{approve: 2, deny: 1}`; 1 and 1 by default")
    ] = Quorum()
    escalate: Annotated[
        tuple[EscalationSettings, ...], Meta(description="who is asked later, in order of `after_s`")
    ] = ()
    limit_s: Annotated[
        _Limit | None, Meta(description="seconds in which to decide; left out, what the risk says")
    ] = None
    at_zero: Annotated[
        Literal["deny", "allow"],
        Meta(
            description="the outcome when the time is up; `allow` only where `risk` has low and medium alone"
        ),
    ] = "deny"


class StandInSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who votes in the place of somebody else, and when; days in UTC, both included."""

    by: Annotated[_Name, Meta(description="who stands in")]
    since: Annotated[date | None, Meta(description="first day")] = None
    until: Annotated[date | None, Meta(description="last day")] = None


class TemporalTlsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the connection to Temporal is protected."""

    ca_file: Annotated[
        _Text | None, Meta(description="certificates to trust; without it those of the system")
    ] = None
    server_name: Annotated[
        _Text | None,
        Meta(description="the name in the server's certificate, if it is not that of the address"),
    ] = None
    cert_file: Annotated[_Text | None, Meta(description="our certificate, for mutual TLS")] = None
    key: Annotated[
        SecretReference | None, Meta(description="its private key: `env:NAME` or `file:PATH`, as PEM")
    ] = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key is None):
            raise ValueError("`cert_file` and `key` go together")


class TemporalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Temporal is."""

    address: Annotated[
        str, Meta(pattern=r"^[^\s/@]{1,253}:[0-9]{1,5}\Z", description="its front end, as HOST:PORT")
    ] = "127.0.0.1:7233"
    namespace: Annotated[_Name, Meta(description="the namespace there")] = "agentguard"
    task_queue: Annotated[
        _Name,
        Meta(description="the queue between callers and workers; each project has one of its own below it"),
    ] = "approvals"
    tls: Annotated[
        TemporalTlsSettings | None, Meta(description="TLS, `{}` with the system's certificates; none: plain")
    ] = None


class ApprovalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people are asked when a decision is `require_approval`."""

    engine: Annotated[
        Literal["embedded", "temporal"],
        Meta(description="what runs approvals: the sidecar, or workflows on Temporal"),
    ] = "embedded"
    store: Annotated[Literal["sqlite", "postgres", "redis"], Meta(description="where approvals are kept")] = (
        "sqlite"
    )
    url: Annotated[
        SecretReference | None,
        Meta(description="where the address of PostgreSQL or Redis is: `env:NAME` or `file:PATH`"),
    ] = None
    temporal: Annotated[
        TemporalSettings | None, Meta(description="where Temporal is, for `engine: temporal`")
    ] = None
    folder: Annotated[_Text, Meta(description="folder of the approvals in SQLite")] = "approvals"
    critical_s: Annotated[_Limit, Meta(description="time limit of critical actions, in seconds")] = 300.0
    high_s: Annotated[_Limit, Meta(description="time limit of actions of high risk, in seconds")] = 3600.0
    medium_s: Annotated[_Limit, Meta(description="time limit of actions of medium risk, in seconds")] = (
        14_400.0
    )
    low_s: Annotated[_Limit, Meta(description="time limit of actions of low risk, in seconds")] = 86_400.0
    defer_most_s: Annotated[
        float,
        Meta(ge=0, le=30 * 86_400, description="how long an approval may be deferred in all, in seconds"),
    ] = 86_400.0
    hold_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="how long the gateway holds a caller until a person decides, in seconds",
        ),
    ] = 0.0
    outcome_within_s: Annotated[
        float,
        Meta(ge=1, le=86_400, description="seconds after which an action without outcome counts as unknown"),
    ] = 300.0
    glass_groups: Annotated[
        tuple[_Name, ...],
        Meta(description="groups whose members may break the glass, beside people with the role `admin`"),
    ] = ()
    routes: Annotated[
        dict[_Name, RouteSettings],
        Meta(description="who decides on what, by name; the first that fits counts, and else any approver"),
    ] = {}
    stand_ins: Annotated[
        dict[_Name, tuple[StandInSettings, ...]],
        Meta(description="who votes in whose place, and when, by the name of who is away"),
    ] = {}

    def limit_s(self, risk: Risk) -> float:
        """Return the time limit of actions of a risk, in seconds."""
        limit: float = getattr(self, f"{risk.value}_s")
        return limit


def check_approvals(approvals: ApprovalSettings, document: Document) -> None:
    """Refuse routes and stand-ins that cannot be meant.

    Raises:
        DocumentError: says which, and how to mend it.
    """
    _check_engine(approvals, document)
    for name, route in approvals.routes.items():
        _check_route(name, route, document)
    for person, stand_ins in approvals.stand_ins.items():
        for number, each in enumerate(stand_ins):
            field = ("approvals", "stand_ins", person, number)
            if each.by == person:
                raise document.error(
                    "nobody stands in for themselves", *field, "by", hint="name somebody else"
                )
            if each.since is not None and each.until is not None and each.until < each.since:
                raise document.error("`until` is before `since`", *field, "until", hint="exchange them")


def _check_engine(approvals: ApprovalSettings, document: Document) -> None:
    if approvals.store == "sqlite" and approvals.url is not None:
        raise document.error(
            "SQLite has no address",
            "approvals",
            "url",
            hint="leave it out, or set `store: postgres` or `redis`",
        )
    if approvals.store != "sqlite" and approvals.url is None:
        hint = "name a variable, as `url: env:APPROVALS_URL`, or a file, as `url: file:PATH`"
        raise document.error(f"`store: {approvals.store}` needs `url`", "approvals", "store", hint=hint)
    if approvals.engine == "embedded" and approvals.temporal is not None:
        raise document.error(
            "`temporal` does nothing with `engine: embedded`",
            "approvals",
            "temporal",
            hint="set `engine: temporal`",
        )


def _check_route(name: str, route: RouteSettings, document: Document) -> None:
    field = ("approvals", "routes", name)
    mild = bool(route.risk) and all(risk in (Risk.LOW, Risk.MEDIUM) for risk in route.risk)
    if route.at_zero == "allow" and not mild:
        hint = "add `risk: [low, medium]`, or leave `at_zero` out"
        raise document.error(
            "`at_zero: allow` is for low and medium risk alone", *field, "at_zero", hint=hint
        )
    if route.amount and route.amount_from is None:
        raise document.error(
            "`amount` without `amount_from` asks nothing", *field, "amount", hint="say from which amount"
        )
    named = len(set(route.people))
    everybody = {*route.people, *(person for step in route.escalate for person in step.people)}
    groups = [*route.groups, *(group for step in route.escalate for group in step.groups)]
    if named and not groups and len(everybody) < route.quorum.approve:
        hint = "name more people or a group, or ask fewer"
        raise document.error("fewer people may vote than `quorum` asks for", *field, "quorum", hint=hint)
    times = [step.after_s for step in route.escalate]
    if times != sorted(set(times)):
        raise document.error(
            "`after_s` of the steps does not grow", *field, "escalate", hint="put them in order"
        )
    for number, step in enumerate(route.escalate):
        if not step.people and not step.groups:
            raise document.error("nobody is asked", *field, "escalate", number, hint="name people or groups")
