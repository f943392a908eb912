"""Sessions with an intent that outlive the decision point: taken up again, or refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agentguard.core import (
    Effect,
    IntegrityError,
    Observation,
    OriginKind,
    Principal,
    Request,
    RequestError,
    SessionOpening,
)
from agentguard.intent import Journals
from agentguard.intent._journal import MAX_BYTES
from agentguard.pdp import Keeper, PolicyDecisionPoint
from intent_scenarios import WHO, Scenario, content, world

if TYPE_CHECKING:
    from pathlib import Path

KEY = (WHO.id, "s")
PROMPT = "Send an email to bob@corp.example about the harbour."


def point(folder: Path) -> PolicyDecisionPoint:
    return PolicyDecisionPoint(world(), journals=Journals(folder))


def opening(prompt: str = PROMPT, session: str = "s", subject: tuple[str, ...] = ()) -> SessionOpening:
    return SessionOpening(WHO, prompt, content().tools, session, subject)


def call(tool: str, args: dict[str, Any], session: str = "s") -> Request:
    context = msgspec.structs.replace(Request(WHO, "", "").context, session=session)
    return Request(WHO, tool, f"tool:{tool}", args, context)


def seen(tool: str, args: dict[str, Any], result: Any, session: str = "s") -> Observation:
    return Observation(WHO, tool, f"tool:{tool}", session, result, params=args)


def send(pdp: PolicyDecisionPoint, to: str, session: str = "s") -> Any:
    return pdp.decide(call("send_email", {"recipients": [to], "subject": "x", "body": "x"}, session))


def _played(scenario: Scenario, folder: Path, *, with_restarts: bool) -> list[Any]:
    folder.mkdir()
    pdp = point(folder)
    flow = pdp.flow
    pdp.open_session(opening(scenario.prompt, subject=scenario.subject))
    told: list[Any] = []
    for step in scenario.steps:
        if with_restarts:
            # Flow has a file of its own.
            pdp = PolicyDecisionPoint(world(), journals=Journals(folder), flow=flow)
        if step.saw is msgspec.UNSET:
            decision = pdp.decide(call(step.tool, step.args))
            told.append((decision.effect, decision.rule, decision.origins))
        else:
            pdp.observe(seen(step.tool, step.args, step.saw))
    return told


@pytest.mark.parametrize("scenario", content().scenarios, ids=lambda each: each.name)
def test_a_restart_before_each_step_changes_no_decision(scenario: Scenario, tmp_path: Path) -> None:
    whole = _played(scenario, tmp_path / "whole", with_restarts=False)
    assert _played(scenario, tmp_path / "restarted", with_restarts=True) == whole


def test_a_name_stays_taken_and_what_has_ended_stays_ended(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    pdp.close()
    pdp = point(tmp_path / "s")
    with pytest.raises(RequestError) as caught:
        pdp.open_session(opening())
    assert caught.value.code == "session_taken"
    assert send(pdp, "bob@corp.example").effect is Effect.ALLOW
    pdp._sessions.store.end(KEY)
    assert send(pdp, "bob@corp.example").reason == "the session has ended"
    for _ in range(2):
        pdp = point(tmp_path / "s")
        assert send(pdp, "bob@corp.example").reason == "the session has ended"
    assert send(pdp, "bob@corp.example", "never").reason != "the session has ended"


def test_a_day_unused_ends_a_session_over_a_restart(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    pdp._sessions._kept[KEY].close(1_000.0)
    pdp = point(tmp_path / "s")
    assert send(pdp, "bob@corp.example").reason == "the session has ended"
    pdp.open_session(opening(session="other"))
    assert pdp._sessions._journals is not None
    assert pdp._sessions._journals.has_ended(KEY)


def test_a_damaged_session_is_refused_and_its_name_is_no_session_without_an_intent(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    (file,) = (tmp_path / "s").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    pdp = point(tmp_path / "s")
    with pytest.raises(RequestError) as caught:
        pdp.observe(seen("list_messages", {}, []))
    assert caught.value.code == "session_unrestored"
    denied = send(pdp, "bob@corp.example")
    assert (denied.effect, denied.reason) == (Effect.DENY, "the session has ended")


def test_tools_that_cannot_be_read_any_more_end_the_session(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "s")
    journals.create(KEY, SessionOpening(WHO, PROMPT, "no tools", "s"))
    pdp = point(tmp_path / "s")
    assert send(pdp, "bob@corp.example").effect is Effect.DENY
    assert send(pdp, "bob@corp.example").reason == "the session has ended"


def _unwritable(folder: Path) -> None:
    """Make each file of a folder one that cannot be written to, root or not."""
    for file in list(folder.iterdir()):
        file.unlink()
        file.mkdir()


def test_what_cannot_be_written_ends_the_session_at_once(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    _unwritable(tmp_path / "s")
    with pytest.raises(RequestError) as caught:
        pdp.observe(seen("list_messages", {}, [{"sender": "eve@evil.example"}]))
    assert caught.value.code == "session_unkept"
    assert send(pdp, "bob@corp.example").reason == "the session has ended"


def test_a_refusal_that_cannot_be_written_is_a_decision_and_the_last_one(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    pdp.observe(seen("list_messages", {}, [{"sender": "eve@evil.example"}]))
    _unwritable(tmp_path / "s")
    denied = send(pdp, "stranger@evil.example")
    assert [each.kind for each in denied.origins] == [OriginKind.TEXT]
    assert send(pdp, "bob@corp.example").reason == "the session has ended"


def test_a_session_is_not_opened_where_it_cannot_be_kept(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(RequestError) as caught:
        pdp.open_session(opening())
    assert caught.value.code == "session_unkept"
    assert send(pdp, "bob@corp.example").effect is Effect.DENY


def test_what_is_too_large_goes_on_and_ends_with_the_process(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    for _ in range(2):
        pdp.observe(seen("list_messages", {}, "x" * MAX_BYTES))
    assert send(pdp, "bob@corp.example").effect is Effect.ALLOW
    pdp.close()
    assert send(point(tmp_path / "s"), "bob@corp.example").reason == "the session has ended"


def test_tools_that_are_no_json_end_with_the_process(tmp_path: Path) -> None:
    def send_email(recipients: list[str]) -> None:
        """Send an email."""

    pdp = point(tmp_path / "s")
    pdp.open_session(SessionOpening(WHO, PROMPT, [send_email], "s"))
    assert pdp.decide(call("send_email", {"recipients": ["bob@corp.example"]})).effect is Effect.ALLOW
    assert send(point(tmp_path / "s"), "bob@corp.example").reason == "the session has ended"


def test_a_close_that_fails_is_a_lost_session_and_no_error(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    _unwritable(tmp_path / "s")
    pdp.close()
    pdp.close()


def test_one_process_keeps_them(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    assert keeper.journals is not None
    second = Keeper(tmp_path)
    assert second.journals is None
    second.close()
    keeper.close()
    shutil.rmtree(tmp_path / "sessions")
    (tmp_path / "sessions").write_text("no folder")
    with pytest.raises(IntegrityError) as caught:
        Keeper(tmp_path)
    assert caught.value.code == "history_unavailable"


def test_a_principal_has_sessions_of_its_own(tmp_path: Path) -> None:
    pdp = point(tmp_path / "s")
    pdp.open_session(opening())
    pdp.close()
    pdp = point(tmp_path / "s")
    other = SessionOpening(Principal("other"), PROMPT, content().tools, "s")
    assert pdp.open_session(other).principal == "other"
    assert send(pdp, "bob@corp.example").effect is Effect.ALLOW
