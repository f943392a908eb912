from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from command_line import Command

EXAMPLES = Path(__file__).parents[2] / "examples" / "traces"


def test_replay_shows_decisions_and_where_arguments_come_from(agentguard: Command) -> None:
    ran = agentguard("session", "replay", EXAMPLES / "injected-mail.jsonl")
    assert ran.code == 10
    for words in (
        "assistant is asked: Summarise my unread mail",
        "deny  line 4: send_email(to=",
        "The user neither named the target nor asked for any change",
        "/to/0: target, cited: it stands in a text that the user spoke of",
        "it would not have been made",
        "3 calls: 1 allow, 2 deny",
    ):
        assert words in ran.out
    assert agentguard("audit", "show", "--json").out.count("replay") == 0


def test_replay_as_json(agentguard: Command) -> None:
    ran = agentguard("session", "replay", EXAMPLES / "office.jsonl", "--json")
    assert ran.code == 0
    (session,) = ran.json()["sessions"]
    assert [each["effect"] for each in session["calls"]] == ["allow"] * 5
    assert session["calls"][4]["arguments"][0]["origin"] == "selected"
    assert agentguard("session", "replay", EXAMPLES / "office.jsonl", "-q").out == ""


def test_trace_from_standard_input_with_tools_beside_it(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = agentguard.write("tools.json", json.dumps([{"name": "read_x", "input_schema": {}}]))
    lines = [{"intent": "Read", "principal": "deploy-agent"}, {"tool": "read_x", "args": {}}]
    data = "\n".join(map(json.dumps, lines)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    ran = agentguard("session", "replay", "-", "--tools", tools)
    assert (ran.code, "1 call: 1 allow" in ran.out) == (0, True)


def test_replay_works_without_a_project(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AGENTGUARD_PROJECT", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert agentguard("session", "replay", EXAMPLES / "shop.jsonl").code == 10


def test_wrong_trace_names_its_line(agentguard: Command) -> None:
    file = agentguard.write("t.jsonl", '{"intent": "x"}\n{"tool": 3}\n')
    ran = agentguard("session", "replay", file)
    assert (ran.code, "t.jsonl:2: `tool` must be a text" in ran.err) == (3, True)
    ran = agentguard("session", "replay", "nowhere.jsonl")
    assert (ran.code, "cannot be read" in ran.err) == (3, True)
    binary = agentguard.folder / "b.jsonl"
    binary.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in agentguard("session", "replay", binary).err
