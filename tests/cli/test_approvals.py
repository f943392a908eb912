"""`agentguard approvals`: people decide at a real sidecar, and those who wait go on."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentguard import ActionDenied, Effect, Guard
from agentguard.cli.approvals import _patch, _span
from command_line import PARAMS, PROD, Sidecar, sidecar, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Command

GOOD = "correct horse battery"
PROD_PARAMS = {**PARAMS, "namespace": "prod"}


def login(agentguard: Command, up: Sidecar, name: str) -> None:
    ran = agentguard("people", "login", name, "--url", up.url, "--password-stdin", stdin=f"{GOOD}\n")
    assert ran.code == 0, ran.err


def open_one(agentguard: Command) -> str:
    """Return the id of an approval that somebody asked for."""
    decision = agentguard("check", *PROD, "--reason", "the pods hang", "--json").json()
    assert decision["effect"] == "require_approval"
    return str(decision["approval"])


def history(agentguard: Command, approval: str) -> list[str]:
    records = [each for each in agentguard.records() if each.get("approval") == approval]
    return [each["status"] for each in records if each["type"] == "approval"]


@pytest.fixture
def served(agentguard: Command) -> Iterator[Sidecar]:
    for name, roles in (("dana", ("approver",)), ("eli", ("approver",)), ("ada", ("admin", "viewer"))):
        chosen = [word for role in roles for word in ("--role", role)]
        assert agentguard("people", "add", name, *chosen, stdin=f"{GOOD}\n").code == 0
    with sidecar(agentguard.folder, "--port", "0") as up:
        assert up.url
        yield up


def test_nothing_waits_at_first(agentguard: Command) -> None:
    assert "nothing waits" in agentguard("approvals", "list").out
    assert agentguard("approvals", "list", "--all", "--json").json() == []
    ran = agentguard("approvals", "show", "ap-1")
    assert (ran.code, "no approval `ap-1`" in ran.err) == (2, True)


def test_what_is_asked_is_listed_and_shown_with_all_that_one_needs(agentguard: Command) -> None:
    approval = open_one(agentguard)
    assert open_one(agentguard) == approval  # the same question is asked once
    assert approval in agentguard("approvals", "list").out
    out = agentguard("approvals", "show", approval).out
    for text in ("the pods hang", "prod-needs-approval", '"namespace": "prod"', "any approver", "then deny"):
        assert text in out
    assert agentguard("approvals", "list", "--state", "denied", "--json").json() == []


def test_without_a_login_nobody_decides(agentguard: Command) -> None:
    ran = agentguard("approvals", "approve", open_one(agentguard))
    assert (ran.code, "people login" in ran.err) == (10, True)


@pytest.mark.slow
def test_people_decide_and_the_caller_goes_on(agentguard: Command, served: Sidecar) -> None:
    token = agentguard("token", "issue", "deploy-agent").out.strip()
    ended: list[Any] = []
    with Guard.connect(served.url, token, deadline_s=10) as guard:

        @guard.guarded("restart-deployment", resource="{namespace}/{deployment}")
        def restart(namespace: str, deployment: str) -> str:
            return f"restarted {namespace}/{deployment}"

        def call() -> None:
            try:
                ended.append(restart("prod", "api"))
            except ActionDenied as denied:
                ended.append(denied.decision.reason)

        for word, answer in (("approve", "restarted prod/api"), ("deny", "the approval is denied")):
            caller = threading.Thread(target=call)
            caller.start()
            (asked,) = wait_for(lambda: agentguard("approvals", "list", "--json").json())
            assert asked["state"] == "pending"
            login(agentguard, served, "dana")
            ran = agentguard("approvals", word, asked["id"], "--note", "seen")
            assert ran.code == 0, ran.err
            caller.join(10)
            assert answer in ended[-1]
            assert history(agentguard, asked["id"])[:2] == ["opened", "voted"]
    done, denied = agentguard("approvals", "list", "--all", "--json").json()
    assert (done["result"]["status"], denied["state"]) == ("succeeded", "denied")
    assert done["votes"][0]["origin"]["via"] == "cli"
    assert agentguard("approvals", "list", "--unknown", "--json").json() == []


@pytest.mark.slow
def test_only_who_may_decides_and_only_once(agentguard: Command, served: Sidecar) -> None:
    approval = open_one(agentguard)
    path = f"/v1/approvals/{approval}/vote"
    agent = agentguard("token", "issue", "deploy-agent").out.strip()
    admin = agentguard("token", "admin").out.strip()
    for token in (agent, admin, ""):
        status, answer = served.ask("POST", path, {"approve": True}, token)
        assert (status, answer["error"]["code"]) == (401, "person_needed")
    login(agentguard, served, "ada")
    ran = agentguard("approvals", "approve", approval)
    assert (ran.code, "is no approver" in ran.err) == (10, True)
    login(agentguard, served, "dana")
    assert agentguard("approvals", "delegate", approval, "--to", "ada").code != 0
    assert agentguard("approvals", "delegate", approval, "--to", "eli").code == 0
    assert agentguard("approvals", "approve", approval).code != 0
    login(agentguard, served, "eli")
    assert agentguard("approvals", "defer", approval, "--for", "10m").code == 0
    # The catalogue's schema says what a parameter may be, whoever writes it.
    assert agentguard("approvals", "approve", approval, "--set", "namespace=5").code != 0
    assert agentguard("approvals", "approve", approval, "--json").json()["state"] == "approved"
    assert agentguard("approvals", "deny", approval).code != 0
    refused = [each["code"] for each in agentguard.records() if each.get("status") == "refused"]
    assert refused == [
        "approval_not_yours",
        "delegate_refused",
        "approval_not_yours",
        "patch_refused",
        "approval_closed",
    ]
    used = agentguard("check", *PROD, "--approval", approval, "--json").json()
    assert (used["effect"], used["stage"]) == ("allow", "approval")
    assert agentguard("check", *PROD, "--approval", approval).code == 10
    (listed,) = agentguard("approvals", "list", "--unknown", "--json").json()
    assert listed["dispatched"] == used["audit_id"]


@pytest.mark.slow
def test_an_emergency_is_let_through_and_reviewed(agentguard: Command, served: Sidecar) -> None:
    approval = open_one(agentguard)
    login(agentguard, served, "dana")
    assert agentguard("approvals", "break-glass", approval, "--reason", "it burns").code == 10
    login(agentguard, served, "ada")
    assert agentguard("approvals", "break-glass", approval, "--reason", "it burns").code == 0
    assert agentguard("approvals", "review", approval, "--justified").code != 0
    (listed,) = agentguard("approvals", "list", "--review", "--json").json()
    assert listed["glass"]["reason"] == "it burns"
    login(agentguard, served, "dana")
    assert agentguard("approvals", "review", approval, "--not-justified", "--note", "no fire").code == 0
    assert agentguard("approvals", "list", "--review", "--json").json() == []


@pytest.mark.slow
def test_an_edit_is_a_transform(agentguard: Command, served: Sidecar) -> None:
    approval = open_one(agentguard)
    login(agentguard, served, "dana")
    assert agentguard("approvals", "approve", approval, "--set", "deployment=web").code == 0
    used = agentguard("check", *PROD, "--approval", approval, "--json").json()
    assert (used["effect"], used["params"]["deployment"]) == ("transform", "web")


@pytest.mark.slow
def test_a_sidecar_that_is_killed_loses_nothing(agentguard: Command) -> None:
    assert agentguard("people", "add", "dana", "--role", "approver", stdin=f"{GOOD}\n").code == 0
    token = agentguard("token", "issue", "deploy-agent").out.strip()
    with sidecar(agentguard.folder, "--port", "0") as up:
        with Guard.connect(up.url, token, deadline_s=10) as guard:
            decision = guard.check("restart-deployment", resource="prod/api", params=PROD_PARAMS)
        up.process.send_signal(signal.SIGKILL)
        up.process.wait(10)
    with sidecar(agentguard.folder, "--port", "0") as up:
        login(agentguard, up, "dana")
        assert agentguard("approvals", "approve", decision.approval).code == 0
        with Guard.connect(up.url, token, deadline_s=10) as guard:
            about: dict[str, Any] = {"resource": "prod/api", "params": PROD_PARAMS}
            used = guard.check("restart-deployment", **about, approval=decision.approval)
            assert used.effect is Effect.ALLOW
        up.process.send_signal(signal.SIGKILL)
        up.process.wait(10)
    with sidecar(agentguard.folder, "--port", "0") as up:
        assert up.url
        wait_for(lambda: "effect_unknown" in history(agentguard, decision.approval))
    shown = agentguard("approvals", "show", decision.approval).out
    assert "dispatched, effect unknown" in shown


@pytest.mark.slow
def test_the_stream_and_the_list_show_what_happens(agentguard: Command, served: Sidecar) -> None:
    approval = open_one(agentguard)
    admin = agentguard("token", "admin").out.strip()
    status, listed = served.ask("GET", "/v1/approvals?state=pending", token=admin)
    assert (status, [each["id"] for each in listed["approvals"]]) == (200, [approval])
    for query in ("state=maybe", "limit=0", "what=1", "newest=1"):
        assert served.ask("GET", f"/v1/approvals?{query}", token=admin)[0] == 400
    agent = agentguard("token", "issue", "deploy-agent").out.strip()
    assert served.ask("GET", "/v1/approvals", token=agent)[0] == 403
    status, own = served.ask("GET", f"/v1/approvals/{approval}?wait=0.1", token=agent)
    assert (status, own["state"], "params" in own) == (200, "pending", False)
    assert served.ask("GET", f"/v1/approvals/{approval}?wait=long", token=agent)[0] == 400
    other = agentguard("token", "issue", "somebody-else").out.strip()
    assert served.ask("GET", f"/v1/approvals/{approval}", token=other)[0] == 404
    assert served.ask("POST", f"/v1/approvals/{approval}/cancel", {}, other)[0] == 404
    status, ended = served.ask("POST", f"/v1/approvals/{approval}/cancel", {"note": "too late"}, agent)
    assert (status, ended["state"]) == (200, "cancelled")
    assert served.ask("GET", "/v1/approvals/ap-nothing", token=admin)[0] == 404


def test_watch_follows(agentguard: Command) -> None:
    first = open_one(agentguard)
    with agentguard.spawn("approvals", "watch", "--json") as watch:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["id"] == first
        agentguard("check", *PROD[:-1], "deployment=web")
        assert json.loads(watch.stdout.readline())["id"] != first
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 0


@pytest.mark.parametrize("text", ["", "m", "1y", "-1h", "0m", "٣m"])
def test_a_span_that_is_none_is_wrong_usage(agentguard: Command, text: str) -> None:
    assert agentguard("approvals", "defer", "ap-1", "--for", text).code == 2


@pytest.mark.parametrize("given", [("--set", "x"), ("--set", "=1"), ("--patch", "[1]"), ("--patch", "{")])
def test_a_change_that_is_none_is_wrong_usage(agentguard: Command, given: tuple[str, str]) -> None:
    assert agentguard("approvals", "approve", "ap-1", *given).code == 2


def test_changes_are_json_or_text() -> None:
    assert _patch(("n=5", "s=five", "gone=null"), '{"a": {"b": 1}}') == {
        "a": {"b": 1},
        "n": 5,
        "s": "five",
        "gone": None,
    }
    assert _span("90m") == 5400
