"""The pages in a real browser: they are live, they hold hostile text, and the policy has nothing to complain of."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from agentguard.core import Event, EventKind
from page_checks import ARGUMENTS, CONTRAST, UNNAMED
from sidecar import ADMIN, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

pytestmark = pytest.mark.browser
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or ""
HOSTILE = "x/<img src=x onerror=alert(1)>\u202egnp.exe"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def world() -> Iterator[World]:
    with running(World()) as made:
        yield made


@pytest.fixture
def page(browser: Browser, world: World) -> Iterator[Page]:
    """A page whose test fails if anything is wrong in the console, policy violations among it."""
    complaints: list[str] = []
    context = browser.new_context(base_url=f"http://127.0.0.1:{world.port}")
    opened = context.new_page()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def refuse(dialog: Dialog) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("console", note)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", refuse)
    yield opened
    context.close()
    assert complaints == []


def log_in(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Admin token").fill(ADMIN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#stream[data-state=live]")


def test_a_decision_appears_by_itself(page: Page, world: World) -> None:
    log_in(page)
    assert page.get_by_role("heading", name="No decision yet").is_visible()
    world.check("prod/api", params={"namespace": "prod"})
    row = page.locator("#rows .row").first
    row.wait_for()
    assert "prod/api" in row.inner_text()
    assert "approval" in row.locator(".effect").inner_text()
    assert not page.get_by_role("heading", name="No decision yet").is_visible()
    expect(page.locator(".f-seq")).to_have_text("1")
    expect(page.locator("#count")).to_have_text("1 of 1 shown")


def test_details_open_by_click_and_by_keyboard(page: Page, world: World) -> None:
    world.check("staging/old", params={"replicas": 3})
    log_in(page)
    world.check("staging/new", params={"replicas": 4})
    page.locator("#rows .row").nth(1).wait_for()
    for index, text in ((0, '"replicas": 4'), (1, '"replicas": 3')):
        details = page.locator("#rows .more").nth(index)
        assert not details.is_visible()
        page.locator("#rows .row").nth(index).locator(".c-reason").click()
        assert text in details.inner_text()
        page.get_by_role("checkbox", name="Details of decision").nth(index).press("Space")
        assert not details.is_visible()


def test_hostile_text_stays_text_however_it_gets_in(page: Page, world: World) -> None:
    world.check(HOSTILE, params={"html": "<script>alert(2)</script>"})
    log_in(page)
    world.check(HOSTILE, params={"html": "<script>alert(3)</script>"}, context={"task": "<b>bold\u2066</b>"})
    page.locator("#rows .row").nth(1).wait_for()
    for index in range(2):
        row = page.locator("#rows .row").nth(index)
        assert row.locator(".f-resource").inner_text() == "x/<img src=x onerror=alert(1)>⟨U+202E⟩gnp.exe"
        row.locator(".c-reason").click()
    assert "<script>alert(3)" in page.locator("#rows .more").first.inner_text()
    assert "<b>bold⟨U+2066⟩</b>" in page.locator("#rows .more").first.inner_text()
    assert page.locator("#rows img, #rows script, #rows b").count() == 0


def test_pause_holds_rows_back_and_resume_shows_them(page: Page, world: World) -> None:
    log_in(page)
    page.get_by_role("button", name="Pause").click()
    for number in range(3):
        world.check(f"staging/{number}")
    expect(page.locator("#waiting")).to_contain_text("3 waiting")
    assert page.locator("#rows .row").count() == 0
    page.get_by_role("button", name="Resume").click()
    assert page.locator("#rows .f-resource").all_inner_texts() == ["staging/2", "staging/1", "staging/0"]


def test_filters_hide_what_is_there_and_what_comes(page: Page, world: World) -> None:
    world.check("staging/a")
    log_in(page)
    page.get_by_role("checkbox", name="allow").uncheck()
    page.get_by_role("searchbox").fill("prod/b")
    world.check("staging/b")
    world.check("prod/b")
    world.check("prod/c")
    expect(page.locator("#count")).to_have_text("1 of 4 shown")
    assert page.locator("#rows .row:visible .f-resource").all_inner_texts() == ["prod/b"]


def test_rows_are_bounded(page: Page, world: World) -> None:
    log_in(page)
    for number in range(230):
        world.check(f"staging/{number}")
    expect(page.locator("#rows .f-resource").first).to_have_text("staging/229")
    expect(page.locator("#rows .row")).to_have_count(200)


def test_a_login_link_logs_in_once(page: Page, world: World) -> None:
    code = world.codes.issue()
    page.goto(f"/login?code={code}")
    page.wait_for_selector("#live")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Admin token").wait_for()


def test_the_page_works_without_scripts(browser: Browser, world: World) -> None:
    world.check("prod/api")
    world.check("staging/api", params={"replicas": 3})
    context = browser.new_context(base_url=f"http://127.0.0.1:{world.port}", java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/login?code={world.codes.issue()}")
    page.get_by_role("button", name="Open the console").click()
    assert page.locator("#rows .f-resource").all_inner_texts() == ["staging/api", "prod/api"]
    assert not page.get_by_role("button", name="Pause").is_visible()
    page.get_by_role("checkbox", name="Details of decision 2").check()
    assert '"replicas": 3' in page.locator("#rows .more").first.inner_text()
    page.get_by_role("checkbox", name="allow").uncheck()
    page.get_by_role("button", name="Filter and refresh").click()
    assert page.locator("#rows .f-resource").all_inner_texts() == ["prod/api"]
    context.close()


def test_the_documentation_tries_an_endpoint(page: Page, world: World) -> None:
    page.goto("/docs")
    page.get_by_label("Token for trying things out").fill("agent-token")
    section = page.locator("#v1-check")
    section.get_by_role("button", name="Try it").click()
    section.get_by_text("200 OK").wait_for()
    assert '"effect": "require_approval"' in section.locator("output").inner_text()
    assert world.log.records[-1]["resource"] == "prod/api"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1360, 360])
def test_pages_are_readable_and_fit(
    page: Page, world: World, tmp_path: Path, scheme: str, width: int
) -> None:
    for resource in ("staging/api", "prod/api", "scale/web", "other/" + "long-" * 60, HOSTILE):
        world.check(resource, params={"namespace": "prod", "text": "x" * 500})
    # Colours are compared at rest, not while a new row fades in.
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/login")
    assert page.evaluate(CONTRAST) == []
    log_in(page)
    page.locator("#rows .more-toggle").nth(1).check()
    for path in ("", "/docs"):
        if path:
            page.goto(path)
        page.screenshot(path=tmp_path / f"{scheme}-{width}{path.replace('/', '-')}.png")
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_focus_is_visible(page: Page) -> None:
    log_in(page)
    for _ in range(8):
        page.keyboard.press("Tab")
        style = "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth })()"
        around = "(() => { const s = getComputedStyle(document.activeElement.parentElement); return s.outlineStyle })()"
        assert page.evaluate(style).startswith("solid") or page.evaluate(around) == "solid"


def test_policies_are_shown_with_their_places(page: Page, world: World) -> None:
    world.policy_problem = "policies/a.yaml:3: <img src=x onerror=alert(1)>"
    log_in(page)
    page.get_by_role("link", name="Policies").click()
    page.get_by_role("heading", name="Policies", exact=True).wait_for()
    row = page.get_by_role("row", name="few-restarts")
    assert "policy.yaml:13" in row.inner_text()
    assert page.get_by_role("row", name="shipped.sql-drop").count() == 0
    page.get_by_text("Rules that ship with AgentGuard").click()
    assert page.get_by_role("row", name="shipped.sql-drop").is_visible()
    assert "onerror" in page.get_by_role("alert").inner_text()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    page.get_by_label("Text").fill("untrusted")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**/policies?q=untrusted")
    assert page.get_by_role("row", name="no-planted-recipients").is_visible()
    assert page.get_by_role("row", name="few-restarts").count() == 0


def test_events_appear_beside_decisions_and_can_be_hidden(page: Page, world: World) -> None:
    log_in(page)
    world.check("staging/api")
    now = datetime.now(UTC)
    payload = {"action": "file.read", "resource": "file:///etc/shadow", "effect": "deny", "path": HOSTILE}
    world.events.append([Event("k-1", EventKind.FILE, now, "deploy-agent", "run-1", payload)])
    event = page.locator("#rows .row[data-event]")
    event.wait_for()
    assert "would be denied" in event.inner_text()
    expect(page.locator("#rows .row")).to_have_count(2)
    decision = page.locator("#rows .row:not([data-event])")
    decision.locator(".f-label").evaluate("label => label.textContent = 'require_approval (observed)'")
    label, cell = decision.locator(".effect").bounding_box(), decision.locator("td.c-effect").bounding_box()
    assert label is not None
    assert cell is not None
    assert label["x"] + label["width"] <= cell["x"] + cell["width"], "the label stays in its column"
    event.click()
    assert "What was seen" in page.locator(".more", has_text="Kind").inner_text()
    page.get_by_label("seen").uncheck()
    expect(event).to_be_hidden()
    assert page.evaluate(CONTRAST) == []
