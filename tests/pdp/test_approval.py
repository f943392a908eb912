"""A request whose approval is used is decided again, under the policy that is in force then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentguard.approvals import EmbeddedEngine, Router
from agentguard.backends import MemoryApprovalStore
from agentguard.config import ApprovalSettings
from agentguard.core import (
    Action,
    Approval,
    ApprovalError,
    ApprovalFilter,
    ApprovalState,
    Cancel,
    CastVote,
    Context,
    Decision,
    Effect,
    Notice,
    Outcome,
    Principal,
    Request,
    Risk,
    Sensitivity,
)
from agentguard.pdp import ApprovalDesk, PolicyDecisionPoint, World, edit_problem
from agentguard.policy import PolicySet, Rule, compile_policies, parse_policies
from agentguard.registry import ActionRegistry, Inventory, ResourceEntry
from approval_scene import ANNA, BEN, HERE, PEOPLE, ListLog

AGENT = Principal("deploy-agent", on_behalf_of=("olga",))
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "n": {"type": "integer", "maximum": 100},
        "token": {"type": "string", "secret": True},
    },
}
REGISTRY = ActionRegistry.build(
    [
        Action("scale", 1, "Change the number of replicas", Risk.HIGH, SCHEMA, reversible=True),
        Action("drop", 1, "Drop it", Risk.CRITICAL, {"type": "object"}),
    ]
)
INVENTORY = Inventory.build(
    [
        ResourceEntry("prod/api", "deployment", "prod", Sensitivity.INTERNAL, owner="team-a"),
        ResourceEntry("prod/vault", "deployment", "prod", Sensitivity.RESTRICTED),
    ],
    [],
)
ASK = {"id": "ask", "effect": "require_approval", "actions": ["scale"], "reason": "a person decides"}
MAY = {"id": "may", "effect": "allow", "actions": ["scale"]}


def rules(*written: dict[str, Any]) -> PolicySet:
    return compile_policies(msgspec.convert(written, list[Rule]))


class Bell:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.notices.append(notice)

    def close(self) -> None:
        """Nothing to do."""


class Scene:
    """A decision point with people behind it."""

    def __init__(self, *written: dict[str, Any], bell: Bell | None = None, **settings: Any) -> None:
        self.log = ListLog()
        self.engine = EmbeddedEngine(MemoryApprovalStore(), audit=self.log, find_person=PEOPLE.get)
        router = Router(ApprovalSettings(**settings))
        self.desk = ApprovalDesk(
            lambda: self.engine, router, commit=lambda value: {"c": f"secret of {len(value)}"}, notifier=bell
        )
        world = World(REGISTRY, INVENTORY, rules(*(written or (ASK,))))
        self.pdp = PolicyDecisionPoint(world, audit=self.log, desk=self.desk)

    def set_rules(self, *written: dict[str, Any]) -> None:
        self.pdp.world = msgspec.structs.replace(self.pdp.world, policies=rules(*written))

    def decide(self, approval: str = "", **changes: Any) -> Decision:
        request = Request(AGENT, "scale", "prod/api", {"n": 5}, Context(reason="load"), approval=approval)
        return self.pdp.decide(msgspec.structs.replace(request, **changes))

    def asked(self) -> str:
        decision = self.decide()
        assert decision.effect is Effect.REQUIRE_APPROVAL
        return decision.approval

    def vote(self, approval: str, *, approves: bool = True, person: Any = ANNA, **more: Any) -> None:
        self.engine.apply(approval, CastVote(person=person, origin=HERE, approves=approves, **more))

    def approved(self) -> str:
        approval = self.asked()
        self.vote(approval)
        return approval

    def kept(self, approval: str) -> Approval:
        return self.engine.wait(approval)


def test_what_needs_a_person_is_asked_with_all_that_they_need() -> None:
    scene = Scene()
    decision = scene.decide(params={"n": 5, "token": "hunter2"})
    kept = scene.kept(decision.approval)
    assert kept.params == {"n": 5, "token": {"c": "secret of 7"}}
    assert (kept.principal, kept.on_behalf_of, kept.purpose) == ("deploy-agent", ("olga",), "load")
    assert (kept.rule, kept.reason, kept.risk) == ("ask", "a person decides", Risk.HIGH)
    assert kept.about["reversible"] == "yes"
    assert kept.about["owner"] == "team-a"
    opened, decided = scene.log.records
    assert opened["approval"] == decided["approval"] == decision.approval
    assert "hunter2" not in str(scene.log.records)


def test_what_is_approved_is_let_through_once_and_its_outcome_is_noted() -> None:
    scene = Scene()
    approval = scene.approved()
    decision = scene.decide(approval)
    assert (decision.effect, decision.stage) == (Effect.ALLOW, "approval")
    assert decision.reason == "approved by anna: a person decides"
    assert scene.kept(approval).dispatched == decision.audit_id
    scene.pdp.record_outcome(Outcome(decision.audit_id, "succeeded", "ok", "deploy-agent"))
    result = scene.kept(approval).result
    assert result is not None
    assert (result.status, result.detail) == ("succeeded", "ok")
    again = scene.decide(approval)
    assert (again.effect, again.reason) == (Effect.DENY, "the approval is used up")


@pytest.mark.parametrize(
    ("outcome", "is_known"),
    [
        (Outcome("AUDIT", "succeeded", "", "deploy-agent", "APPROVAL"), True),
        (Outcome("AUDIT", "succeeded", "", "other-agent", "APPROVAL"), False),
        (Outcome("other", "succeeded", "", "deploy-agent", "APPROVAL"), False),
        (Outcome("other", "succeeded", "", "deploy-agent"), False),
    ],
)
def test_an_outcome_counts_that_names_its_own_decision(outcome: Outcome, *, is_known: bool) -> None:
    scene = Scene()
    approval = scene.approved()
    decision = scene.decide(approval)
    scene.desk._dispatched.clear()  # as after a restart
    named = msgspec.structs.replace(
        outcome,
        audit_id=decision.audit_id if outcome.audit_id == "AUDIT" else outcome.audit_id,
        approval=approval if outcome.approval else "",
    )
    scene.pdp.record_outcome(named)
    assert (scene.kept(approval).result is not None) is is_known


REFUSALS = [
    ({"params": {"n": 6}}, "the approval is for another request"),
    ({"params": {"n": 5.0}}, "approved by anna"),  # the same number, by RFC 8785
    ({"params": {"n": 5, "token": "x"}}, "the approval is for another request"),
    ({"resource": "prod/vault"}, "the approval is for another request"),
    ({"principal": Principal("deploy-agent")}, "the approval is for another request"),
    ({"principal": Principal("other-agent", on_behalf_of=("olga",))}, "there is no approval"),
    ({"approval": "ap-nothing"}, "there is no approval"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS)
def test_an_approval_lets_nothing_else_through(changes: dict[str, Any], reason: str) -> None:
    scene = Scene()
    approval = scene.approved()
    decision = scene.decide(**{"approval": approval, **changes})
    assert decision.reason.startswith(reason)
    assert (decision.effect is Effect.ALLOW) == reason.startswith("approved")


def test_while_it_waits_the_same_approval_is_named_again() -> None:
    scene = Scene()
    approval = scene.asked()
    decision = scene.decide(approval)
    assert (decision.effect, decision.approval) == (Effect.REQUIRE_APPROVAL, approval)


@pytest.mark.parametrize("approves", [True, False])
def test_a_denial_and_an_expiry_are_denials_that_say_so(*, approves: bool) -> None:
    scene = Scene(high_s=1.0)
    approval = scene.asked()
    if approves:
        scene.engine.apply(approval, Cancel(why="withdrawn", by="deploy-agent"))
    else:
        scene.vote(approval, approves=False, note="not today")
    decision = scene.decide(approval)
    assert (decision.effect, decision.stage) == (Effect.DENY, "approval")
    assert ("withdrawn" if approves else "denied by anna") in decision.reason


OTHER = {**ASK, "id": "ask-2", "resources": ["prod/*"]}
IN_FORCE = [
    # Unchanged beside another new rule: the votes are kept.
    ((ASK, {"id": "more", "effect": "allow", "actions": ["drop"]}), Effect.ALLOW, "approval", "consumed"),
    (({**ASK, "reason": "somebody else wrote it"},), Effect.REQUIRE_APPROVAL, "policy", "cancelled"),
    ((ASK, OTHER), Effect.REQUIRE_APPROVAL, "policy", "cancelled"),
    ((MAY,), Effect.ALLOW, "policy", "consumed"),
    (({**MAY, "effect": "transform", "transform": [{"op": "set", "path": "/n", "value": 1}]},), Effect.TRANSFORM, "policy", "consumed"),
    (({**ASK, "effect": "deny"},), Effect.DENY, "policy", "cancelled"),
    ((), Effect.DENY, "default", "cancelled"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "effect", "stage", "state"), IN_FORCE)
def test_the_policy_then_in_force_counts(
    written: tuple[dict[str, Any], ...], effect: Effect, stage: str, state: str
) -> None:
    scene = Scene()
    approval = scene.approved()
    scene.set_rules(*written)
    decision = scene.decide(approval)
    assert (decision.effect, decision.stage) == (effect, stage)
    assert scene.kept(approval).state is ApprovalState(state)
    if effect is Effect.REQUIRE_APPROVAL:
        assert decision.approval not in ("", approval)


def test_a_release_by_the_policy_is_recorded_as_such() -> None:
    scene = Scene()
    approval = scene.asked()
    scene.set_rules(MAY)
    assert scene.decide(approval).effect is Effect.ALLOW
    assert scene.log.steps(approval) == ["opened", "released", "dispatched"]


def test_an_edit_is_a_transform_that_is_decided_again() -> None:
    scene = Scene()
    approval = scene.asked()
    scene.vote(approval, patch={"n": 2})
    decision = scene.decide(approval)
    assert (decision.effect, decision.params) == (Effect.TRANSFORM, {"n": 2})
    edited = next(each for each in scene.log.records if each.get("status") == "edited")
    assert edited["patch"] == {"n": 2}


EDITS = [
    ({"n": 1000}, (ASK,), "denied", "schema"),
    ({"n": 50}, (ASK, {"id": "no", "effect": "deny", "tier": "mandatory", "when": {"params": {"n": 50}}}), "denied", "mandatory"),
    ({"n": 50}, (ASK, {**ASK, "id": "big", "tier": "mandatory", "when": {"params": {"n": 50}}}), "denied", "approval"),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "written", "what", "stage"), EDITS)
def test_an_edit_that_the_policy_does_not_let_through_is_denied(
    patch: dict[str, Any], written: tuple[dict[str, Any], ...], what: str, stage: str
) -> None:
    scene = Scene(*written)
    approval = scene.asked()
    scene.vote(approval, patch=patch)
    decision = scene.decide(approval)
    assert (decision.effect is Effect.DENY, what) == (True, "denied")
    assert decision.stage == stage
    assert scene.kept(approval).state is ApprovalState.CANCELLED


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ({"n": 3}, None),
        # Secrets stand as commitments until the caller is there, so the schema is asked then.
        ({"n": 1000}, None),
        ({"token": "x"}, "a secret or a parameter that is not declared cannot be set here"),
        ({"other": 1}, "a secret or a parameter that is not declared cannot be set here"),
    ],
)
def test_an_edit_is_looked_at_when_it_is_made(patch: dict[str, Any], problem: str | None) -> None:
    scene = Scene()
    kept = scene.kept(scene.asked())
    said = edit_problem(scene.pdp.world, kept, patch, lambda value: {"c": str(value)})
    assert said == problem


def test_two_people_are_needed_where_a_rule_wants_them() -> None:
    scene = Scene({**MAY, "obligations": [{"two_person": True}]})
    approval = scene.approved()
    assert scene.decide(approval).effect is Effect.REQUIRE_APPROVAL
    scene.vote(approval, person=BEN)
    decision = scene.decide(approval)
    assert (decision.effect, decision.reason[:23]) == (Effect.ALLOW, "approved by anna, ben: ")


def test_people_are_told_where_a_rule_wants_it_or_it_is_denied() -> None:
    told = {**MAY, "obligations": [{"notify": ["ops"]}]}
    assert Scene(told).decide().reason == "a rule wants people to be told, and nothing here can tell them"
    bell = Bell()
    assert Scene(told, bell=bell).decide().effect is Effect.ALLOW
    assert [each.groups for each in bell.notices] == [("ops",)]


def test_risk_asks_too_and_is_asked_again() -> None:
    scene = Scene({**MAY, "actions": ["**"]})
    about: dict[str, Any] = {"action": "scale", "resource": "prod/vault"}
    decision = scene.decide(**about)
    assert (decision.effect, decision.stage) == (Effect.REQUIRE_APPROVAL, "risk")
    scene.vote(decision.approval)
    assert scene.decide(decision.approval, **about).effect is Effect.ALLOW


LIMITED = """
version: 1
rules: [{id: ask, effect: require_approval, actions: [scale]}]
limits: [{id: one, effect: deny, of: {actions: [scale]}, count: 1, per: 1h}]
"""


def test_what_is_approved_counts_in_the_history_and_what_only_waits_does_not() -> None:
    scene = Scene()
    scene.pdp.world = msgspec.structs.replace(scene.pdp.world, policies=parse_policies(LIMITED))
    asked = [scene.decide(params={"n": number}).approval for number in (1, 2)]
    for approval in asked:
        scene.vote(approval)
    assert scene.decide(asked[0], params={"n": 1}).effect is Effect.ALLOW
    late = scene.decide(asked[1], params={"n": 2})
    assert (late.effect, late.rule) == (Effect.DENY, "one")
    assert scene.kept(asked[1]).state is ApprovalState.CANCELLED


def test_a_full_log_denies_and_nothing_is_dispatched() -> None:
    scene = Scene()
    approval = scene.approved()
    scene.log.is_full = True
    decision = scene.decide(approval)
    assert (decision.effect, decision.stage) == (Effect.DENY, "audit")
    scene.log.is_full = False
    assert scene.decide(approval).reason == "the approval is used up"


def test_when_nobody_can_be_asked_it_is_a_denial() -> None:
    scene = Scene()
    scene.engine.close()
    decision = scene.decide()
    assert (decision.effect, decision.stage) == (Effect.DENY, "approval")


def test_a_plan_asks_nobody() -> None:
    scene = Scene()
    (decision,) = scene.pdp.decide_plan([Request(AGENT, "scale", "prod/api", {"n": 5})])
    assert (decision.effect, decision.approval) == (Effect.REQUIRE_APPROVAL, "")
    assert scene.engine.find(ApprovalFilter()) == []


def test_about_what_has_happened_already_nobody_is_asked() -> None:
    scene = Scene()
    decision = scene.decide(context=Context(attributes={"observed": True}))
    assert (decision.effect, decision.approval) == (Effect.REQUIRE_APPROVAL, "")
    assert scene.engine.find(ApprovalFilter()) == []
    # Nor is an approval used for it, or let it through unused.
    approval = scene.approved()
    assert scene.decide(approval, context=Context(attributes={"observed": True})).effect is Effect.DENY
    assert scene.decide(approval).effect is Effect.ALLOW


def test_who_waits_is_told_where_it_stands_and_others_are_not() -> None:
    scene = Scene()
    approval = scene.asked()
    assert scene.pdp.wait_approval(approval, principal=AGENT, timeout_s=0).state is ApprovalState.PENDING
    scene.vote(approval)
    status = scene.pdp.wait_approval(approval, principal=AGENT, timeout_s=5)
    assert (status.state, status.note) == (ApprovalState.APPROVED, "approved by anna")
    with pytest.raises(ApprovalError):
        scene.pdp.wait_approval(approval, principal=Principal("other-agent"), timeout_s=0)
    alone = PolicyDecisionPoint(World(REGISTRY, INVENTORY, rules(ASK)))
    with pytest.raises(ApprovalError):
        alone.wait_approval(approval, principal=AGENT, timeout_s=0)
    assert alone.decide(Request(AGENT, "scale", "prod/api", {"n": 5})).approval == ""
