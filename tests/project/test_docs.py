"""What the documents say is there, what is there is in the documents, and their examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest

from agentguard.cli._app import root
from agentguard.config import Config
from agentguard.core import Effect
from agentguard.enforcement._obligation import KNOWN_OBLIGATIONS
from agentguard.policy import LintKind, templates
from agentguard.policy._transform import _KEYS as TRANSFORM_OPS
from agentguard.server import openapi
from doc_examples import Runner, blocks, matches

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = frozenset(("api.md", "catalogue.md", "cli.md", "configuration.md", "errors.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "design").glob("*.md")])
WRITTEN = [page for page in PAGES if page.name not in GENERATED]
SOURCES = sorted((ROOT / "src" / "agentguard").rglob("*.py"))
CODES = (
    re.compile(r"\bcode(?:: str)? ?= ?\"([a-z_]+)\""),
    re.compile(r"default_code = \"([a-z_]+)\""),
    re.compile(r"HttpError\(\s*\d+,\s*\"([a-z_]+)\""),
    re.compile(r"unauthorized\(\s*\"([a-z_]+)\""),
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    assert files or not (ROOT / ".git").exists()
    return [path for path in files if path.is_file() and not path.is_symlink()]


def test_generated_references_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}run `make docs`"


def test_every_setting_is_documented() -> None:
    text = (DOCS / "configuration.md").read_text()
    for setting in Config.settings():
        assert f"## `{setting.section}`" in text
        assert f"| `{setting.key}` | {setting.type} " in text
        assert setting.variable is None or f"`{setting.variable}`" in text


def test_every_command_and_option_is_documented() -> None:
    text = (DOCS / "cli.md").read_text()
    seen = 0

    def visit(command: click.Command, path: str) -> None:
        nonlocal seen
        context = click.Context(command)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                visit(below, f"{path} {name}")
            return
        section = re.search(rf"^#+ `{re.escape(path)}`\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, path
        for parameter in command.params:
            for spelling in parameter.opts if isinstance(parameter, click.Option) else ():
                assert spelling in section[1], f"{path} {spelling}"
                seen += 1

    visit(root, "agentguard")
    assert seen > 50


def test_every_error_code_is_documented() -> None:
    text = (DOCS / "errors.md").read_text()
    found = {code for path in SOURCES for pattern in CODES for code in pattern.findall(path.read_text())}
    assert len(found) > 50
    assert [code for code in sorted(found) if f"| `{code}` |" not in text] == []


def test_every_endpoint_is_documented_with_an_example() -> None:
    text = (DOCS / "api.md").read_text()
    for path, operations in openapi()["paths"].items():
        for method in operations:
            section = text.partition(f"### {method.upper()} {path}\n")[2].partition("\n### ")[0]
            assert f"http://127.0.0.1:8787{path}" in section


def test_every_metric_is_documented() -> None:
    text = (DOCS / "api.md").read_text()
    names = {
        name
        for path in SOURCES
        for name in re.findall(r"Family\(\s*\"(agentguard_[a-z_]+)\"", path.read_text())
    }
    assert len(names) > 5
    assert [
        name for name in sorted(names) if f"| `{name}` |" not in text and f"| `{name}_total` |" not in text
    ] == []


def test_every_word_of_the_rule_language_is_documented() -> None:
    text = (DOCS / "policies.md").read_text()
    words = [effect.value for effect in Effect]
    words += [*KNOWN_OBLIGATIONS, *TRANSFORM_OPS, *(kind.value for kind in LintKind)]
    words += [template.name for template in templates()]
    assert [word for word in words if f"`{word}`" not in text and f"`{word}:" not in text] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_console_block_is_run_or_says_why_not(page: Path) -> None:
    unmarked = [
        block.line for block in blocks(page.read_text()) if block.kind == "console" and not block.mark
    ]
    assert unmarked == []


RUNNABLE = [page for page in WRITTEN if "<!-- run -->" in page.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_examples_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    assert "\n\n".join(Runner(tmp_path).run(page.read_text())) == ""


def test_readme_has_examples_that_run() -> None:
    assert ROOT / "README.md" in RUNNABLE


@pytest.mark.slow
def test_demo_prints_what_the_readme_says() -> None:
    (shown,) = [
        each for each in blocks((ROOT / "README.md").read_text()) if each.mark == "output of the demo"
    ]
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "devops" / "run.py", "--once", "--port", "0", "--no-color"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # What the kernel saw is for root to tell.
    lines = [line for line in shown.body.splitlines() if os.geteuid() == 0 or "the kernel saw" not in line]
    assert matches(["…", *lines, "…"], done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "…", "d"], ["a", "b", "c", "d"], True),
        (["record …, ok"], ["record 0f3, ok"], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["allow"], ["deny"], False),
    ],
)
def test_output_is_compared_line_by_line(expected: list[str], actual: list[str], *, same: bool) -> None:
    assert matches(expected, actual) is same


def test_wrong_output_in_an_example_is_noticed(tmp_path: Path) -> None:
    page = "<!-- run -->\n```console\n$ echo one\ntwo\n$ false\n$ echo $?\n0\n```\n"
    assert len(Runner(tmp_path).run(page)) == 2


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$",
        re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL),
        re.MULTILINE,
    ):
        kept = (each for each in heading.lower() if each in " -_" or unicodedata.category(each)[0] in "LN")
        found.add("".join(kept).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_internal_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^\$ )make (?:[A-Z_]+=\S+ )*([a-z]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


# Written in two parts, so that this file is not found by itself.
MACHINE = re.compile(
    "|".join(("/wo" + r"rk/(?!\*)", "/ho" + "me/[a-z]", "/ro" + "ot/", "/Us" + "ers/[A-Za-z]"))
)
INDEX = re.compile("py" + r"pi\.org|python" + r"hosted\.org|index-" + r"url", re.IGNORECASE)
# Their subject is which files and hosts there are on machines; none is this one's.
ABOUT_PATHS_AND_HOSTS = (
    "src/agentguard/facts/",
    "src/agentguard/kernel/jail/_profiles.py",
    "tests/facts/",
    "tests/cases/facts-",
)
OPEN_END = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


@pytest.mark.parametrize(
    ("what", "pattern"), [("path", MACHINE), ("index", INDEX), ("open end", OPEN_END)], ids=str
)
def test_no_file_names_a_machine_an_index_or_an_open_end(what: str, pattern: re.Pattern[str]) -> None:
    found = []
    for path in tracked_files():
        if what != "open end" and str(path.relative_to(ROOT)).startswith(ABOUT_PATHS_AND_HOSTS):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []
