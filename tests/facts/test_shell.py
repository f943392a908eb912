from __future__ import annotations

import base64
import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentguard.facts._budget import UnparsedError
from agentguard.facts._shell import argv_facts, shell_facts

COMMANDS = [
    ("ls -la | grep x && make", ("ls", "grep", "make")),
    ("sudo -u ann env A=1 nice -n 5 git status", ("sudo", "env", "nice", "git")),
    ("timeout -k 5 10 make", ("timeout", "make")),
    ("xargs -n 1 -P4 touch", ("xargs", "touch")),
    ("bash -euo pipefail -c 'git pull; make'", ("bash", "git", "make")),
    ("sh -c \"sh -c 'id'\"", ("sh", "id")),
    ("eval 'a' b; trap 'rm x' EXIT", ("eval", "a", "trap", "rm")),
    ("kubectl exec pod -- sh -c id", ("kubectl", "sh", "id")),
    ("docker run -it image id", ("docker", "id")),
    ("su ann -c id", ("su", "id")),
    ("env -S 'git status'", ("env", "git")),
    ("find . -execdir touch {} ';'", ("find", "touch")),
    ("echo $(date) `id` <(who)", ("date", "id", "who", "echo")),
    ("a=ls; b=$a; $b", ("ls",)),
    ("$'\\u0069d'", ("id",)),
    ("printf 'id' | sh", ("printf", "sh", "id")),
    ("echo -e 'i\\x64' | sh", ("echo", "sh", "id")),
    ("printf '%s%s' i d | sh", ("printf", "sh", "id")),
    ("rev <<< di | sh", ("rev", "sh", "id")),
    (f"echo {base64.b32encode(b'id').decode()} | base32 -d | sh", ("echo", "base32", "sh", "id")),
    ("${PATH:0:1}bin${PATH:0:1}id", ("id",)),
    ("x=hidden; ${x:2:1}d", ("dd",)),
    ("/usr/bin/python3.11 --version", ("python",)),
    ("ssh -p 22 host 'id; who'", ("ssh", "id", "who")),
    ("! time -p id", ("id",)),
]


@pytest.mark.parametrize(("line", "commands"), COMMANDS, ids=[each[0] for each in COMMANDS])
def test_programs_are_seen_wherever_they_hide(line: str, commands: tuple[str, ...]) -> None:
    found = shell_facts(line)["shell.commands"]
    assert set(commands) <= set(found)


UNKNOWN = [
    "$X",
    "x=a; x=b; $x",
    "eval $(cat f)",
    "$(cat f) -l",
    'sh -c "$X"',
    "cat f | sh",
    "${x^^}",
    "sh <(cat f)",
]


@pytest.mark.parametrize("line", UNKNOWN)
def test_program_that_is_only_known_later_is_dynamic(line: str) -> None:
    assert shell_facts(line)["shell.dynamic"]


def test_arguments_without_a_shell_are_not_expanded() -> None:
    facts = argv_facts(["echo", "$(rm -rf /)", "`id`", "a;b"])
    assert facts["shell.commands"] == ("echo",)
    assert not facts["shell.deletes_root"]


@pytest.mark.parametrize("argv", [[], ["ls", 3]])
def test_malformed_arguments_are_unparsed(argv: list[str]) -> None:
    with pytest.raises(UnparsedError):
        argv_facts(argv)


HOSTILE = {
    "parentheses": "(" * 30_000,
    "substitutions": "echo " + "$(" * 3_000,
    "closed substitutions": "echo " + "$(echo " * 300 + ")" * 300,
    "pipes": "a|" * 30_000 + "b",
    "quotes": '"' * 65_000,
    "words": "a " * 32_000,
    "documents": "cat <<A\n" * 8_000,
    "functions": "f(){ " * 10_000,
    "ifs": "if a; then " * 5_000,
    "doubling": "".join(f"a{i + 1}=$a{i}$a{i};" for i in range(60)).replace("$a0", "xx") + "echo $a60",
    "wrappers": "eval " * 12_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_line_is_given_up_soon(text: str) -> None:
    shell_facts("ls")
    start = time.thread_time()
    with pytest.raises(UnparsedError):
        shell_facts(text)
    assert time.thread_time() - start < 0.5


WORDS = st.sampled_from(
    ["rm", "-rf", "/", "|", "sh", "$(", ")", "`", "'", '"', "$x", "x=", ";", "&&", "<<E", "\n", "E", "{", "}", "bash -c", "eval", "${x:-", "<(", ">", "curl", "base64 -d", "echo", "\\", "$'", "((", "if", "then", "fi", "f()", "&", "\ue000", "\ue001", "\0", "xargs", "find", "-exec", "env -S"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_states_facts_or_is_unparsed(text: str) -> None:
    try:
        facts = shell_facts(text)
    except UnparsedError:
        return
    assert isinstance(facts["shell.commands"], tuple)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS | st.text(max_size=8), min_size=1, max_size=12))
def test_any_arguments_state_facts_or_are_unparsed(argv: list[str]) -> None:
    try:
        argv_facts(argv)
    except UnparsedError:
        return


NULLS = ["r\0m -rf /", "ls\0; rm -rf /", "printf 'rm\\0 -rf /' | sh", "rm\0"]


@pytest.mark.parametrize("line", NULLS)
def test_null_that_readers_drop_or_stop_at_is_unparsed(line: str) -> None:
    # Bash drops it from what it reads: `r\0m` on its standard input is `rm`.
    with pytest.raises(UnparsedError):
        shell_facts(line)
    with pytest.raises(UnparsedError):
        argv_facts(["ls", "a\0b"])


def test_commands_hidden_in_too_many_layers_are_unparsed() -> None:
    line = "id"
    for _ in range(7):
        line = f"echo {base64.b64encode(line.encode()).decode()} | base64 -d | sh"
    with pytest.raises(UnparsedError):
        shell_facts(line)


def test_characters_beyond_ascii_keep_their_places() -> None:
    facts = shell_facts(
        "cat 'h\u00e9llo \U0001f600.txt' > /tmp/\u00fc.txt && r\u00e9m \"\U000f3a2f\" -rf / ; rm -rf /"
    )
    assert facts["shell.writes"][0] == "/tmp/\u00fc.txt"
    assert set(facts["shell.commands"]) == {"cat", "r\u00e9m", "rm"}
    assert facts["shell.deletes_root"]


def test_characters_beyond_latin_do_not_crash_the_grammar() -> None:
    # The grammar's scanner read beyond a table of the C library for each of these.
    for start in range(0x100, 0x110000, 0x1F3):
        line = "".join(
            chr(start + at) for at in range(8) if not 0xD800 <= start + at < 0xE000 and start + at < 0x110000
        )
        with contextlib.suppress(UnparsedError):
            shell_facts(f"{line} ${line} {{{line}}}")
