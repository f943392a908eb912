"""The pages of approvals in a real browser: a person logs in by name, sees what comes, and decides."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import expect, sync_playwright

from agentguard.approvals import EmbeddedEngine
from agentguard.backends import MemoryApprovalStore
from agentguard.core import Approval, ApprovalState, Quorum, Route, SystemClock
from agentguard.identity import People, StateFolder
from agentguard.server import PeopleDoor
from approval_scene import ListLog, draft
from page_checks import ARGUMENTS, CONTRAST, UNNAMED
from sidecar import World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
GOOD = "correct horse battery"
HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe"
LONG = "anna-" + "long-" * 11 + "name"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def people(tmp_path: Path) -> People:
    state = StateFolder.open("people-test", {"XDG_STATE_HOME": str(tmp_path)})
    made = People(state, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for name in ("anna", "ben", LONG):
        made.add(name, GOOD, roles=["approver"])
    return made


@pytest.fixture
def engine(people: People) -> Iterator[EmbeddedEngine]:
    made = EmbeddedEngine(MemoryApprovalStore(), audit=ListLog(), find_person=people.person, keeps_time=True)
    yield made
    made.close()


@pytest.fixture
def world(people: People, engine: EmbeddedEngine) -> Iterator[World]:
    with running(World(people=PeopleDoor(people), approvals=engine)) as made:
        yield made


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A page whose test fails if anything is wrong in the console, policy violations among it."""
    complaints: list[str] = []
    context = browser.new_context(base_url=f"http://127.0.0.1:{world.port}")
    opened = context.new_page()
    opened.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def begin(engine: EmbeddedEngine, number: int = 1, *, approve: int = 1, **changes: object) -> Approval:
    now = SystemClock().now()
    route = Route(quorum=Quorum(approve), limit_s=3600.0)
    return engine.open(draft(number, route=route, opened_at=now, deadline=now, **changes))


def log_in(page: Page, path: str = "/approvals", name: str = "anna") -> None:
    page.goto(path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(GOOD)
    page.get_by_role("button", name="Log in").first.click()
    page.locator("#approvals").wait_for()


def test_the_list_shows_by_itself_what_comes_and_what_was_decided(page: Page, engine: EmbeddedEngine) -> None:
    log_in(page)
    expect(page.get_by_role("heading", name="Nothing waits")).to_be_visible()
    first = begin(engine)
    expect(page.get_by_role("heading", name="Waiting for a person 1")).to_be_visible()
    begin(engine, 2, resource=HOSTILE)
    expect(page.get_by_role("heading", name="Waiting for a person 2")).to_be_visible()
    expect(page.locator("main img")).to_have_count(0)
    page.get_by_role("link", name="prod/api").click()
    page.get_by_label("Note").fill("seen in the graphs")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".effect").first).to_contain_text("approved")
    expect(page.locator(".steps")).to_contain_text("seen in the graphs")
    expect(page.locator(".steps")).to_contain_text("voted for it by anna")
    assert engine.wait(first.id).state is ApprovalState.APPROVED
    page.get_by_role("link", name="Approvals").click()
    expect(page.get_by_role("heading", name="Decided lately 1")).to_be_visible()


def test_somebody_elses_vote_shows_and_keeps_what_was_typed(
    browser: Browser, page: Page, world: World, engine: EmbeddedEngine
) -> None:
    approval = begin(engine, approve=2)
    log_in(page, f"/approvals/{approval.id}")
    expect(page.locator("dl")).to_contain_text("0 of 2")
    page.get_by_label("Note").fill("half a thought")
    other = browser.new_context(base_url=f"http://127.0.0.1:{world.port}")
    bens = other.new_page()
    log_in(bens, f"/approvals/{approval.id}", "ben")
    bens.get_by_role("button", name="Approve", exact=True).click()
    expect(bens.locator("dl")).to_contain_text("1 of 2")
    other.close()
    expect(page.get_by_text("Something has happened to this approval")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("half a thought")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator(".effect").first).to_contain_text("approved")


def test_a_changed_request_is_approved_as_changed(page: Page, engine: EmbeddedEngine) -> None:
    approval = begin(engine)
    log_in(page, f"/approvals/{approval.id}")
    page.get_by_text("Change, defer, hand over, emergency").click()
    page.get_by_label(re.compile("changed parameters")).fill('{"replicas": 3}')
    page.get_by_role("button", name="Approve the change").click()
    expect(page.locator(".effect").first).to_contain_text("approved")
    assert engine.wait(approval.id).patch == {"replicas": 3}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_pages_are_readable_and_fit(page: Page, engine: EmbeddedEngine, scheme: str, width: int) -> None:
    approval = begin(engine, resource="prod/" + "long-" * 60, purpose=HOSTILE)
    begin(engine, 2, params={"text": "x" * 600})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, name=LONG)
    for path in ("/approvals", f"/approvals/{approval.id}"):
        page.goto(path)
        for each in page.locator("summary").all():
            each.click()
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
