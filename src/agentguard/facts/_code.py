"""What code of an interpreter does, by its text: python, perl, ruby, node, php and their like."""

from __future__ import annotations

import re

import msgspec

# Pairs, the second of which stands after the first. One pattern with `.*` would take quadratic time on hostile text.
_REMOTE_SHELLS = tuple(
    (re.compile(first), re.compile(then))
    for first, then in (
        (r"(?i)socket", r"(?i)dup2|subprocess|pty|/bin/(?:ba)?sh|exec|popen|spawn"),
        (r"/bin/(?:ba)?sh", r"(?i)socket"),
        (r"fsockopen", r"exec|sh|proc_open"),
        (r"TCPSocket|IO::Socket", r""),
        (r"require\(['\"]net['\"]\)", r"child_process"),
        (r"child_process", r"require\(['\"]net['\"]\)"),
    )
)
_SYSTEM_CALL = re.compile(
    r"""(?:os\.(?:system|popen)|subprocess\.\w+|\bsystem|\bexec|\bpopen|child_process)\W"""
)
_DECODED = re.compile(
    r"(?:b64decode|base64_decode|decode_base64|decode64|fromhex|decode\(['\"](?:hex|base64)|codecs\.decode|rot_?13|Buffer\.from\([^)]{0,200}(?:base64|hex)|unpack\(?['\"][mH]|\bpack\s*\(?\s*['\"][HmuU]|atob\(|\bchr\b|fromCharCode|decompress)"
)
_RUNS_DECODED = re.compile(r"\b(?:exec|eval|system|popen|compile|spawn|Function)\b")
_FETCHES = re.compile(
    r"urlopen|urlretrieve|requests\.get|httpx\.get|\bfetch\(|https?\.get\(|axios|(?:file_get_contents|include|require)\s*\(?\s*['\"]https?:|LWP::|URI\.open|\bopen\(['\"]https?:|Net::HTTP|curl_exec"
)
_RUNS_TEXT = re.compile(
    r"(?<![.\w])(?:exec|eval|instance_eval|Function)\b|\beval\)|(?:include|require)\s*\(?\s*['\"]https?:"
)
_DELETES = re.compile(
    r"(?:rmtree|rm_rf|rm_r|rmSync|rmdirSync|rimraf|rimraf\.sync|remove_tree|remove_entry_secure|fs\.rm)\W{1,4}['\"]([^'\"\n]{1,1024})['\"]"
)
_WRITES = re.compile(
    r"open\(\s*['\"]([^'\"\n]{1,1024})['\"]\s*,\s*(?:mode\s*=\s*)?['\"][rb]*([wax+])|(?:writeFile|appendFile|write_text|file_put_contents|File\.write)(?:Sync)?\(\s*['\"]([^'\"\n]{1,1024})|Path\(\s*['\"]([^'\"\n]{1,1024})['\"]\s*\)\.write_"
)
_PATH = re.compile(r"""['"]([~/][^'"\n]{1,200})['"]""")
_MAX_PATHS = 50


class Seen(msgspec.Struct, frozen=True):
    """What a text of code does. `deletes` are folders with all below; `writes` each with whether it appends."""

    reverse_shell: bool
    encoded_payload: bool
    downloads_and_runs: bool
    dynamic: bool
    paths: tuple[str, ...]
    writes: tuple[tuple[str, bool], ...]
    deletes: tuple[str, ...]


def look_into(code: str) -> Seen:
    """Return what code does, as far as its text tells."""
    runs = _RUNS_DECODED.search(code) is not None
    return Seen(
        any(_follows(code, *pair) for pair in _REMOTE_SHELLS),
        runs and _DECODED.search(code) is not None,
        _FETCHES.search(code) is not None and _RUNS_TEXT.search(code) is not None,
        _SYSTEM_CALL.search(code) is not None,
        tuple(_PATH.findall(code)[:_MAX_PATHS]),
        tuple((a or b or c, mode == "a") for a, mode, b, c in _WRITES.findall(code)[:_MAX_PATHS]),
        tuple(_DELETES.findall(code)[:_MAX_PATHS]),
    )


def _follows(code: str, first: re.Pattern[str], then: re.Pattern[str]) -> bool:
    found = first.search(code)
    return found is not None and then.search(code, found.end()) is not None
