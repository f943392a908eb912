from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from command_line import Command

TOOLS = [
    {
        "name": "send_note",
        "description": "Send a note",
        "input_schema": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "zz": {"type": "string", "pattern": "(?=a)"}},
        },
    },
    {
        "name": "listNotes",
        "description": "List",
        "input_schema": {"properties": {"limit": {"type": "integer"}}},
    },
]


def test_import_shows_why_and_writes_a_file_that_is_used(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    ran = agentguard("actions", "import", file)
    assert ran.code == 0, ran.err
    for words in (
        "write, high, sends external",
        "`send` in its name; risk: `send`",
        "target, recipient",
        "unsure: no word says what it is",
        "its pattern needs look-around",
        "unsure of 1 place",
        "wrote 2 actions to",
    ):
        assert words in ran.out
    assert agentguard("policy", "validate").code == 0
    shown = agentguard("actions", "show", "send_note").out
    assert "access: write" in shown
    assert "/to: target, recipient" in shown
    assert "/zz: target" in shown
    denied = agentguard("check", "send_note", "-r", "note/x", "-P", "to=anna")
    assert denied.code != 0
    assert "undeclared" not in denied.out


def test_import_into_a_file_that_is_there_needs_force_and_keeps_corrections(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    assert agentguard("actions", "import", file).code == 0
    ran = agentguard("actions", "import", file)
    assert (ran.code, "is there already" in ran.err, "--force" in ran.err) == (3, True, True)
    path = agentguard.folder / "actions" / "tools.yaml"
    text = path.read_text(encoding="utf-8").replace("risk: high", "risk: low")
    path.write_text(text, encoding="utf-8")
    ran = agentguard("actions", "import", file, "--force")
    assert (ran.code, "kept as you wrote it in send_note: risk" in ran.out) == (0, True)
    assert path.read_text(encoding="utf-8") == text
    file.write_text(json.dumps(TOOLS[:1]), encoding="utf-8")
    assert "no tool stands for list-notes@1 any more" in agentguard("actions", "import", file, "--force").out
    assert agentguard("actions", "show", "list-notes").code == 0


def test_dry_run_writes_nothing(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    ran = agentguard("actions", "import", file, "--dry-run")
    assert (ran.code, "2 actions; nothing was written" in ran.out) == (0, True)
    assert not (agentguard.folder / "actions" / "tools.yaml").exists()


def test_json_names_what_was_inferred(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    target = agentguard.folder / "actions" / "deep" / "x.yaml"
    data = agentguard("actions", "import", file, "--output", target, "--json").json()
    assert data["file"] == str(target)
    assert (data["kept"], data["gone"]) == ({}, [])
    first, second = data["actions"]
    assert (first["tool"], first["action"], first["access"], first["risk"]) == (
        "send_note", "send_note@1", "write", "high",
    )  # fmt: skip
    assert first["arguments"]["/to"] == {"role": "target", "kind": "recipient"}
    assert first["unsure"] == ["/zz"]
    assert second["action"] == "list-notes@1"
    assert target.is_file()
    assert agentguard("actions", "import", file, "--force", "--quiet", "--output", target).out == ""


def test_tools_are_read_from_standard_input(agentguard: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))

    give(json.dumps(TOOLS).encode())
    assert agentguard("actions", "import", "-").code == 0
    assert (agentguard.folder / "actions" / "imported.yaml").is_file()
    give(b"\xff")
    ran = agentguard("actions", "import", "-")
    assert (ran.code, "not UTF-8" in ran.err) == (2, True)


def test_module_is_found_by_its_name_and_not_run(
    agentguard: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    agentguard.write(
        "shop/tools.py", 'raise SystemExit("run")\n\ndef send_note(to: str) -> None:\n    "Send"\n'
    )
    monkeypatch.chdir(agentguard.folder)
    ran = agentguard("actions", "import", "shop.tools")
    assert ran.code == 0, ran.err
    (agentguard.folder / "actions" / "shop.tools.yaml").unlink()
    assert agentguard("actions", "import", "shop/tools.py").code == 0
    assert (agentguard.folder / "actions" / "tools.yaml").is_file()
    for missing in ("shop.nothing", "no-module", "nowhere.json"):
        ran = agentguard("actions", "import", missing)
        assert (ran.code, "cannot be read" in ran.err) == (3, True)


def test_name_that_ships_gets_a_newer_version(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps([{**TOOLS[0], "name": "mail.send"}]))
    assert agentguard("actions", "import", file).code == 0
    assert agentguard("actions", "show", "mail.send").out.startswith("mail.send@2")
    assert agentguard("actions", "import", file, "--force").code == 0
    assert agentguard("actions", "show", "mail.send").out.startswith("mail.send@2")


def test_what_another_file_declares_is_refused(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    assert agentguard("actions", "import", file).code == 0
    ran = agentguard("actions", "import", file, "--output", agentguard.folder / "actions" / "b.yaml")
    assert (ran.code, "`send_note@1` is declared in another file" in ran.err) == (3, True)


def test_what_is_no_list_of_tools_is_refused_by_name(agentguard: Command) -> None:
    file = agentguard.write("tools.json", "[]")
    ran = agentguard("actions", "import", file)
    assert (ran.code, "tools.json: an empty list is no list of tools" in ran.err) == (3, True)
    assert "--format" in ran.err


def test_file_that_cannot_be_written_says_so_and_leaves_nothing(agentguard: Command) -> None:
    file = agentguard.write("tools.json", json.dumps(TOOLS))
    place = agentguard.write("blocked", "") / "x.yaml"
    ran = agentguard("actions", "import", file, "--output", place)
    assert (ran.code, "cannot be written" in ran.err) == (3, True)


def test_hostile_words_do_not_steer_the_terminal(agentguard: Command) -> None:
    hostile = {
        "name": "a\x1b[31m",
        "description": "\u202e",
        "inputSchema": {"properties": {"x\x1b": {}, "y": {"\x07": 1}}},
    }
    file = agentguard.write("tools.json", json.dumps({"tools": [hostile]}))
    ran = agentguard("actions", "import", file, "--dry-run")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out
