"""From words to the programs that run: seen through sudo, env, xargs, `sh -c` and their like."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from agentguard.facts._programs import INTERPRETERS, OWN_ARGUMENTS, SHELLS, WRAPPERS

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_WRAPPERS = 16
_AWK = re.compile(r"""system\s*\(\s*"([^"]*)"|"([^"]*)"\s*\|\s*getline""")
_COMMAND_OPTION = re.compile(
    r"(?:--checkpoint-action=exec=|--to-command=|--use-compress-program=|(?:-o)?ProxyCommand[= ]|--rsh=|alias\.[^=]+=!)(.+)"
)
_CODE_OPTIONS = {"python": "c", "python2": "c", "python3": "c", "perl": "eE", "ruby": "e", "node": "ep", "nodejs": "ep",
                 "php": "r", "lua": "e", "deno": "", "bun": "e", "osascript": "e", "pwsh": "c", "powershell": "c", "tclsh": ""}  # fmt: skip


_SHELL_AT_END = re.compile(rf"(?:\S*/)?(?:{'|'.join(sorted(SHELLS))})(?: -s.*)?")


class Run(msgspec.Struct, frozen=True):
    """A program that runs. `code`: texts that it runs; `reads_code`: it runs what it is fed.

    `path` is the program as it was named, `source` the line's own text where there is one.
    """

    name: str
    path: str
    arguments: tuple[str, ...]
    code: tuple[str, ...] = ()
    reads_code: bool = False
    source: str = ""
    from_input: bool = False

    def with_source(self, source: str) -> Run:
        """Return the same with the text that it was read from."""
        return msgspec.structs.replace(self, source=source)


def unwrap(argv: list[str]) -> Iterator[Run]:
    """Yield the program that `argv` names, and each that it starts."""
    from_input = False
    for _ in range(_MAX_WRAPPERS):
        while argv and not argv[0]:
            argv = argv[1:]
        while argv and "=" in argv[0] and argv[0].partition("=")[0].isidentifier():
            argv = argv[1:]
        if not argv:
            return
        path, arguments = argv[0], argv[1:]
        name = path.rpartition("/")[2]
        name = name if name in INTERPRETERS else _without_version(name)
        code, reads = _code_of(name, arguments)
        if from_input and name in SHELLS and arguments and re.fullmatch(r"-\w*c|\{\}.*", arguments[-1]):
            reads = True  # `xargs sh -c` and `xargs -I{} sh -c '{}'` run what they are fed
        yield Run(name, path, tuple(arguments), tuple(code), reads, " ".join(argv), from_input)
        from_input = from_input or name in ("xargs", "parallel")
        if name == "find":
            for inner in _found(arguments):
                yield from unwrap(inner)
            return
        if name not in WRAPPERS:
            argv = _after_dashes(name, arguments)
            if not argv:
                return
            continue
        if name == "env" and any(each.startswith("-S") for each in arguments):
            return
        argv = _wrapped(name, arguments)


def _without_version(name: str) -> str:
    bare = name.rstrip("0123456789.")
    return bare if bare in INTERPRETERS or bare in SHELLS else name


def _wrapped(name: str, arguments: list[str]) -> list[str]:
    takes, skip = WRAPPERS[name], OWN_ARGUMENTS.get(name, 0)
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            at += 1
            break
        if not word.startswith("-") or word == "-":
            if name == "env" and "=" in word:
                at += 1
                continue
            if skip:
                skip, at = skip - 1, at + 1
                continue
            break
        valued = word in takes if word.startswith("--") else word[-1:] in takes and len(word) == 2  # noqa: PLR2004
        at += 2 if valued else 1
    return arguments[at:]


def _after_dashes(name: str, arguments: list[str]) -> list[str]:
    if name in ("kubectl", "docker", "podman", "oc", "nerdctl") and "--" in arguments:
        return arguments[arguments.index("--") + 1 :]
    if name in ("docker", "podman", "nerdctl") and arguments[:1] in (["exec"], ["run"]):
        plain = [at for at, each in enumerate(arguments[1:], start=1) if not each.startswith("-")]
        return arguments[plain[0] + 1 :] if plain else []
    return []


def _found(arguments: list[str]) -> Iterator[list[str]]:
    for at, word in enumerate(arguments):
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            rest = arguments[at + 1 :]
            end = next((i for i, each in enumerate(rest) if each in (";", "+")), len(rest))
            yield rest[:end]


def _code_of(name: str, arguments: list[str]) -> tuple[list[str], bool]:
    """Return the code in the arguments of a program, and whether it runs what it is fed."""
    if name in SHELLS:
        return _shell_code(arguments)
    if name in INTERPRETERS:
        return _interpreter_code(name, arguments)
    if name in ("at", "batch"):
        return [], not {"-l", "-f", "-r", "-d"} & set(arguments)
    if name == "ssh":
        return _carried(name, arguments), any(_SHELL_AT_END.fullmatch(each) for each in _remote(arguments))
    if name in ("source", "."):
        streamed = [each for each in arguments[:1] if "\ue000" in each]
        return streamed, arguments[:1] == ["/dev/stdin"]
    return _carried(name, arguments), False


def _carried(name: str, arguments: list[str]) -> list[str]:
    """Return the command lines that a program which is no shell is told to run."""
    if name == "eval":
        return [" ".join(arguments)]
    if name == "trap":
        return arguments[:1]
    if name == "env":
        at = next((at for at, word in enumerate(arguments) if word.startswith("-S")), None)
        return [] if at is None else [" ".join((arguments[at][2:], *arguments[at + 1 :]))]
    if name in ("su", "script"):
        return [then for word, then in pairwise(arguments) if word in ("-c", "--command")]
    if name == "alias":
        return [each.partition("=")[2] for each in arguments if "=" in each]
    if name in ("awk", "gawk", "mawk", "nawk"):
        return [code for each in arguments for pair in _AWK.findall(each) for code in pair if code]
    return (_remote(arguments) if name == "ssh" else []) + _in_options(arguments)


def _in_options(arguments: list[str]) -> list[str]:
    """Return the commands that options carry, as `tar --checkpoint-action=exec=CMD` does."""
    return [match[1] for each in arguments if (match := _COMMAND_OPTION.fullmatch(each))]


def _shell_code(arguments: list[str]) -> tuple[list[str], bool]:
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word in ("-s", "-"):
            return [], True
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return arguments[at + 1 : at + 2], False
        if word in ("--rcfile", "--init-file") or re.fullmatch(r"[-+]\w*[oO]", word):
            at += 1
        elif not word.startswith(("-", "+")):
            # A script: known by its name alone, unless it is a stream.
            stream = word in ("/dev/stdin", "/proc/self/fd/0", "/dev/fd/0")
            return ([word] if word == "\ue000" else []), stream
        at += 1
    return [], True


def _interpreter_code(name: str, arguments: list[str]) -> tuple[list[str], bool]:
    letters = _CODE_OPTIONS.get(name, "")
    for at, word in enumerate(arguments):
        if word.startswith("-") and word[1:2] != "-" and word[-1:] and word[-1] in letters:
            return arguments[at + 1 : at + 2], False
        if not word.startswith("-"):
            # A script: known by its name alone, unless it is a stream.
            return [word] if word == "\ue000" else [], word in ("/dev/stdin", "/proc/self/fd/0")
        if word == "-":
            return [], True
        if word == "-m":
            return [], False
    return [], not any(each in ("-V", "-v", "--version", "-h", "--help") for each in arguments)


def _remote(arguments: list[str]) -> list[str]:
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if not word.startswith("-"):
            rest = arguments[at + 1 :]
            return [" ".join(rest)] if rest else []
        at += 2 if len(word) == 2 and word[1] in "bcDEeFIiJLlmOopQRSWw" else 1  # noqa: PLR2004
    return []
