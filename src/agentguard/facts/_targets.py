"""What the words of a command line name: options, paths, hosts, and whether much hangs on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentguard.facts._budget import UnparsedError
from agentguard.facts._path import fits, normalise, path_classes
from agentguard.facts._words import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentguard.facts._unwrap import Run

_SYSTEM = re.compile(
    r"/|/\*|~|~/\*|\.|\.\.|\*|\./\*|\.git|.*/\.\.|(?:/(?:bin|boot|dev|etc|lib|lib32|lib64|proc|root|sbin|sys|usr)(?:/.*)?)|/(?:home|opt|mnt|media|srv|var|run|Users|Library|System|data)(?:/\*)?|/(?:home|Users)/[^/]+(?:/\*)?|/var/(?:lib|log|spool|mail|backups)(?:/.*)?|~/\.(?:ssh|gnupg|aws|kube|config)(?:/.*)?|/[*.?]+"
)
BARE_HOST = re.compile(
    r"(?:[\w-]+\.)+[a-zA-Z][\w-]*(?::\d+)?(?:/\S*)?|(?:\d+\.){3}\d+(?::\d+)?(?:/\S*)?|(?:0x[0-9a-fA-F]+|\d{6,10})(?:/\S*)?"
)
_VALUED = frozenset("oHdXuAeFTbcmwxEKQrtCyYzUP")
# `mv` and `rsync --delete` on these take away what matters; within them they change single files.
WHOLE = re.compile(
    r"/|~|/\*|/(?:bin|boot|dev|etc|lib|lib32|lib64|root|sbin|usr|home|opt|var|srv|sys)(?:/\*)?|/(?:home|Users)/[^/]+(?:/\*)?"
)
_TOP = (
    "/etc",
    "/usr",
    "/bin",
    "/boot",
    "/lib",
    "/root",
    "/sbin",
    "/home",
    "/var",
    "/opt",
    "/srv",
    "/sys",
    "/dev",
)
_PATTERN = re.compile(r"[*?\[]")


# What is worth knowing of a file that is named without its folder.
TELLING = frozenset(
    (
        "password_hash",
        "account_file",
        "ssh_key",
        "cloud_credential",
        "docker_socket",
        "process_memory",
        "kernel",
    )
)
# Options of shells and interpreters that take a value.
_SCRIPT_OPTIONS = frozenset(("-o", "+o", "-O", "+O", "--rcfile", "--init-file", "-W", "-X", "-r", "-I"))


def operands(words: tuple[str, ...]) -> Iterator[str]:
    """Yield the words that are no options."""
    for at, word in enumerate(words):
        if word == "--":
            yield from words[at + 1 :]
            return
        if word and not word.startswith("-"):
            yield word


def script_of(words: tuple[str, ...]) -> str:
    """Return the script that an interpreter or a shell is told to run, empty where it is told none."""
    before = ""
    for word in words:
        if word in ("-c", "-m", "-e"):
            return ""
        if not word.startswith(("-", "+")) and before not in _SCRIPT_OPTIONS:
            return word
        before = word
    return ""


def option_value(words: tuple[str, ...], *names: str) -> str | None:
    """Return the value of an option, None where it is not given."""
    for at, word in enumerate(words):
        if word in names:
            return words[at + 1] if at + 1 < len(words) else None
        if word.startswith("--") and word.partition("=")[0] in names:
            return word.partition("=")[2]
    return None


def bare_hosts(words: tuple[str, ...]) -> Iterator[str]:
    """Yield arguments of a fetcher that name a host without a scheme; not the values of options."""
    for before, word in zip(("", *words), words, strict=False):
        valued = before.startswith("--") or (before.startswith("-") and before[-1:] in _VALUED)
        if not valued and UNKNOWN not in word and BARE_HOST.fullmatch(word):
            yield word


def only_shows(run: Run) -> bool:
    """Tell whether a program that formats is only asked."""
    return any(
        each in ("-l", "--list", "-h", "--help", "--version", "-V", "print", "-n", "-p", "--dump", "-d")
        for each in run.arguments
    )


def matters(target: str) -> bool:
    """Tell whether to delete a folder of this name, with all below, destroys what matters."""
    if target.startswith(UNKNOWN + "/"):
        # An empty variable leaves the root.
        target = target[1:] or "/"
    if UNKNOWN in target:
        return False
    try:
        path = normalise(target)
        return any(_SYSTEM.fullmatch(each) for each in (path, target)) or any(
            fits(each, path) for each in _TOP if _PATTERN.search(path) and path.count("/") == 1
        )
    except UnparsedError:
        return True


def tells(word: str) -> bool:
    """Tell whether a file of this name is one that matters, or a log."""
    return matters(word) or not TELLING.union(("log",)).isdisjoint(classes(paths_of({word: None})))


def one_form(word: str) -> str:
    """Return a path in its one form; as it is where that is none."""
    try:
        return normalise(word.replace(UNKNOWN, "?"))
    except UnparsedError:
        return word


def classes(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the classes of paths, each once."""
    return tuple(dict.fromkeys(each for path in paths for each in path_classes(path)))


def paths_of(words: dict[str, None]) -> dict[str, None]:
    """Return the paths among words, in their one form."""
    found: dict[str, None] = {}
    for word in words:
        try:
            found.setdefault(normalise(word.replace(UNKNOWN, "?")))
        except UnparsedError:
            continue
    return found
