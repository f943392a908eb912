from __future__ import annotations

import csv
import io
import json
import select
import signal
from typing import TYPE_CHECKING

import pytest

from agentguard.cli.audit import line_of
from command_line import PROD, STAGING, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from command_line import Command

SCALE = ("scale-deployment", "-r", "staging/api", "--params")


@pytest.fixture
def recorded(agentguard: Command) -> Command:
    """Return a project with four decisions: allow, ask (after the approval that it opens), deny, transform."""
    agentguard("check", *STAGING, "--correlation-id", "first")
    agentguard("check", *PROD)
    agentguard("check", *STAGING, "-p", "nobody")
    agentguard("check", *SCALE, '{"namespace": "staging", "deployment": "api", "replicas": 50}')
    return agentguard


def _seqs(records: Sequence[dict[str, int]]) -> list[int]:
    return [each["seq"] for each in records]


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("--last", "2"), [4, 5]),
        (("--principal", "deploy-*"), [1, 2, 3, 5]),
        (("--action", "scale-*"), [5]),
        (("--effect", "deny"), [4]),
        (("--correlation-id", "first"), [1]),
        (("--since", "1h"), [1, 2, 3, 4, 5]),
        (("--until", "2026-01-01"), []),
        (("--since", "2999-01-01T00:00Z"), []),
        (("--principal", "deploy-agent", "--last", "1"), [5]),
    ],
)
def test_filters_narrow_what_is_shown_and_exported(
    recorded: Command, filters: tuple[str, ...], seqs: list[int]
) -> None:
    assert _seqs(recorded("audit", "show", "--json", *filters).json()) == seqs
    exported = recorded("audit", "export", *filters).out.splitlines()
    assert _seqs([json.loads(line) for line in exported]) == seqs


def test_show_has_one_line_a_record(recorded: Command) -> None:
    lines = recorded("audit", "show").out.splitlines()
    assert len(lines) == 5
    assert "approval opened deploy-agent: restart-deployment@1 on prod/api ap-" in lines[1]
    assert "? require_approval deploy-agent: restart-deployment@1 on prod/api (" in lines[2]
    assert recorded("audit", "show", "-q").out == ""


def test_show_of_nothing_says_what_to_try(agentguard: Command) -> None:
    assert "agentguard check" in agentguard("audit", "show").out
    assert agentguard("audit", "show", "--json").json() == []
    agentguard("check", *STAGING)
    assert "nothing is on record that fits" in agentguard("audit", "show", "--effect", "deny").out


@pytest.mark.parametrize(
    "arguments", [("--since", "yesterday"), ("--effect", "maybe"), ("--last", "0"), ("--until", "99d9")]
)
def test_a_filter_that_cannot_be_read_is_wrong_usage(recorded: Command, arguments: tuple[str, str]) -> None:
    assert recorded("audit", "show", *arguments).code == 2


def test_export_writes_the_lines_of_the_log(recorded: Command) -> None:
    ran = recorded("audit", "export")
    assert ran.out == "".join(path.read_text() for path in recorded.segments())


def test_export_writes_csv_into_a_file(recorded: Command) -> None:
    target = recorded.folder / "out.csv"
    assert recorded("audit", "export", "--format", "csv", "--output", target).code == 0
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert [row["effect"] for row in rows] == ["allow", "", "require_approval", "deny", "transform"]


def test_export_into_no_folder_is_an_error(recorded: Command) -> None:
    ran = recorded("audit", "export", "--output", recorded.folder / "no/where")
    assert ran.code in (1, 2)
    assert "Traceback" not in ran.err


def test_export_of_no_log_is_3(agentguard: Command) -> None:
    assert agentguard("audit", "export").code == 3


def test_verify_of_a_good_log_names_its_head(recorded: Command) -> None:
    ran = recorded("audit", "verify")
    assert ran.code == 0
    assert "✔ intact: 5 records in 1 file" in ran.out
    assert "the signed head names record 5" in ran.out
    assert "\r" not in ran.out + ran.err
    assert recorded("audit", "verify", "--json").json()["records"] == 5
    assert recorded("audit", "verify", recorded.segments()[0]).code == 0


def test_verify_names_a_changed_record(recorded: Command) -> None:
    segment = recorded.segments()[0]
    segment.chmod(0o600)
    segment.write_text(segment.read_text().replace('"require_approval"', '"allow"', 1))
    ran = recorded("audit", "verify")
    assert ran.code == 4
    assert "✘ not intact: record 3 was changed" in ran.out
    assert recorded("audit", "verify", "--json").json()["problem"]["seq"] == 3
    assert recorded("audit", "verify", "--quiet") == type(ran)(4, "", "")


def test_verify_finds_a_log_cut_before_its_head(recorded: Command) -> None:
    segment = recorded.segments()[0]
    segment.chmod(0o600)
    segment.write_text("".join(segment.read_text().splitlines(keepends=True)[:-1]))
    ran = recorded("audit", "verify")
    assert (ran.code, "truncated" in ran.out) == (4, True)


def test_verify_without_a_head_says_that_the_end_is_not_protected(recorded: Command) -> None:
    (recorded.folder / "audit/head").unlink()
    ran = recorded("audit", "verify")
    assert (ran.code, "head" in ran.out) == (0, True)


def test_verify_of_no_log_is_3(agentguard: Command) -> None:
    assert agentguard("audit", "verify").code == 3
    assert agentguard("audit", "verify", "no/such/path").code == 2


def test_a_line_that_is_no_record_is_4(recorded: Command) -> None:
    segment = recorded.segments()[0]
    segment.chmod(0o600)
    segment.write_text("garbage\n")
    assert recorded("audit", "show").code == 4
    assert recorded("agents", "list").code == 4


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"seq": "\x1b[2J", "timestamp": "\x1b[2J", "type": "\x1b[2J"},
        {"type": "decision", "effect": "\x1b[2J", "principal": "\x9b2J", "\x1b": "\u202e"},
        {"type": "decision", "effect": "allow"},
        {"type": "decision", "effect": ["allow"], "seq": None},
        {"type": "decision", "effect": "allow", "principal": {"id": "\n"}, "reason": "a\r\nb"},
    ],
)
def test_a_record_of_any_shape_is_one_printable_line(record: dict[str, object]) -> None:
    text = line_of(record).replace("\x1b[32m\x1b[1m", "").replace("\x1b[0m", "")
    assert text.isprintable()


def test_tail_begins_with_the_newest_and_follows(recorded: Command) -> None:
    with recorded.spawn("audit", "tail", "--last", "1", "--json") as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["seq"] == 5
        recorded("check", *STAGING)
        assert json.loads(tail.stdout.readline())["seq"] == 6
        tail.send_signal(signal.SIGINT)
        out, err = tail.communicate(timeout=20)
        assert (tail.returncode, out, err) == (0, "", "")


def test_tail_waits_for_a_log_that_is_not_there_yet(agentguard: Command) -> None:
    with agentguard.spawn("audit", "tail", "--effect", "require_approval", "--last", "0") as tail:
        assert tail.stdout is not None
        stream = tail.stdout

        def seen() -> bool:
            agentguard("check", *STAGING)
            agentguard("check", *PROD)
            return bool(select.select([stream], [], [], 0.5)[0])

        wait_for(seen)
        assert "require_approval" in stream.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.wait(20) == 0


def test_a_reader_that_goes_away_ends_it_as_sigpipe_would(recorded: Command) -> None:
    with recorded.spawn("audit", "tail", "--last", "4") as tail:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        tail.stdout.close()
        recorded("check", *STAGING)
        assert wait_for(tail.poll) == 141
        assert tail.stderr is not None
        assert tail.stderr.read() == ""
