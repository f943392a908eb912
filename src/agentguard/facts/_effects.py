"""What the programs of a command line do to the machine: deletes, writes, devices, logs, shells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentguard.facts._budget import UnparsedError
from agentguard.facts._path import is_export, normalise, path_class
from agentguard.facts._programs import (
    CLIENTS,
    DUMPERS,
    FETCHERS,
    FORMATTERS,
    PRIVILEGED,
    READS_NO_PATHS,
    SHELLS,
)
from agentguard.facts._words import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.facts._unwrap import Run

_MAX_LISTED = 200
_SYSTEM = re.compile(
    r"/|/\*|~|~/\*|\.|\.\.|\*|\./\*|\.git|.*/\.\.|(?:/(?:bin|boot|dev|etc|lib|lib32|lib64|proc|root|sbin|sys|usr)(?:/.*)?)|/(?:home|opt|mnt|media|srv|var|run|Users|Library|System|data)(?:/\*)?|/(?:home|Users)/[^/]+(?:/\*)?|/var/(?:lib|log|spool|mail|backups)(?:/.*)?|~/\.(?:ssh|gnupg|aws|kube|config)(?:/.*)?|/[*.?]+"
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_BARE_HOST = re.compile(
    r"(?:[\w-]+\.)+[a-zA-Z][\w-]*(?::\d+)?(?:/\S*)?|(?:\d+\.){3}\d+(?::\d+)?(?:/\S*)?|(?:0x[0-9a-fA-F]+|\d{6,10})(?:/\S*)?"
)
_VALUED = frozenset("oHdXuAeFTbcmwxEKQrtCyYzUP")
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/([^/]+)/([^/\s]+)")
_RAW_DEVICE = re.compile(
    r"/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk|rdisk|dm-|md|loop|mapper/|mem|kmem|port|nbd).*"
)
_REMOTE_SHELL = re.compile(
    r"(?s)socket.*(?:dup2|subprocess|pty|/bin/(?:ba)?sh|exec|popen|spawn)|/bin/(?:ba)?sh.*socket|fsockopen.*(?:exec|sh)|TCPSocket|IO::Socket"
)
_SYSTEM_CALL = re.compile(
    r"""(?:os\.(?:system|popen)|subprocess\.\w+|\bsystem|\bexec|\bpopen|child_process)\W"""
)
_DECODED = re.compile(
    r"(?s)(?:b64decode|base64_decode|fromhex|decode\(['\"](?:hex|base64)|Buffer\.from\([^)]*base64|unpack\(?['\"][mH]|atob\().*|(?:exec|eval)\s*\(.*(?:b64decode|base64|decompress|fromhex)"
)
_RUNS_DECODED = re.compile(r"\b(?:exec|eval|system|popen|compile|spawn|Function)\b")
_LOG_SWITCHES = re.compile(
    r"\bHIST(?:FILE|SIZE|FILESIZE)=(?:/dev/null|0|''|\"\")?(?:\s|$)|unset\s+HIST(?:FILE|SIZE)|\bset\s+\+o\s+history"
)


_RUN_BY_OTHERS = frozenset(("LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "PROMPT_COMMAND", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "PYTHONSTARTUP", "PERL5OPT", "NODE_OPTIONS"))  # fmt: skip


class Effects:
    """Collects what is found in one command line."""

    def __init__(self) -> None:
        self.commands: dict[str, None] = {}
        self.functions: set[str] = set()
        self.dynamic = self.pipes_to_shell = self.downloads_and_runs = self.fork_bomb = False
        self.reverse_shell = self.encoded_payload = self.log_tampering = self.exports = self.privileged = (
            False
        )
        self.deletes_root = self.formats = False
        self.deletes: dict[str, None] = {}
        self.reads: dict[str, None] = {}
        self.writes: dict[str, None] = {}
        self.devices: dict[str, None] = {}
        self.urls: dict[str, None] = {}
        self.hosts: dict[str, None] = {}
        self._fetched: set[str] = set()
        self._dumps = False

    def facts(self) -> dict[str, Any]:
        """Return what was found, as facts; `net.*` is left to the caller (see `urls`)."""
        writes, reads = _paths(self.writes), _paths(self.reads)
        exports = self.exports or (
            self._dumps and any(is_export(p) or path_class(p) == "temporary" for p in writes)
        )
        return {
            "shell.commands": tuple(self.commands)[:_MAX_LISTED],
            "shell.dynamic": self.dynamic,
            "shell.pipes_to_shell": self.pipes_to_shell,
            "shell.downloads_and_runs": self.downloads_and_runs,
            "shell.deletes": tuple(each.replace(UNKNOWN, "?") for each in self.deletes)[:_MAX_LISTED],
            "shell.deletes_root": self.deletes_root,
            "shell.reads": tuple(reads)[:_MAX_LISTED],
            "shell.read_classes": tuple(dict.fromkeys(map(path_class, reads))),
            "shell.writes": tuple(writes)[:_MAX_LISTED],
            "shell.write_classes": tuple(dict.fromkeys(map(path_class, writes))),
            "shell.devices": tuple(self.devices),
            "shell.formats": self.formats,
            "shell.fork_bomb": self.fork_bomb,
            "shell.reverse_shell": self.reverse_shell,
            "shell.encoded_payload": self.encoded_payload,
            "shell.log_tampering": self.log_tampering,
            "shell.exports": exports,
            "shell.privileged": self.privileged,
            "urls": tuple(self.urls),
            "hosts": tuple(self.hosts),
        }

    def runs(self, run: Run) -> None:
        """Note a program."""
        if UNKNOWN in run.path:
            self.dynamic = True
        elif run.name:
            self.commands.setdefault(run.name)
        self.privileged |= run.name in PRIVILEGED
        self.downloads_and_runs |= bool({run.path, run.path.removeprefix("./")} & self._fetched) or (
            (run.name in SHELLS or run.name in ("source", ".", "python", "python3", "perl"))
            and any(each.removeprefix("./") in self._fetched for each in run.arguments)
        )
        if run.name.startswith(FORMATTERS) and not _only_shows(run):
            self.formats = True
            self._devices(run.arguments)
        if run.from_input and run.name in ("rm", "shred", "unlink"):
            self.deletes.setdefault("?")
        handler = getattr(self, f"_{run.name.replace('-', '_')}", None) if run.name in _HANDLED else None
        if handler is not None:
            handler(run)
        if run.name in CLIENTS:
            self._network(run)
        if run.name in DUMPERS:
            self._dumps = True
            self.exports |= any(is_export(each.partition("=")[2] or each) for each in run.arguments)
        if run.name not in READS_NO_PATHS:
            for word in run.arguments:
                self._names(word)
        self._names(run.path)

    def _names(self, word: str) -> None:
        if "://" in word or " " in word:
            return
        for part in (word, word.partition("=")[2], word.partition(":")[2]):
            if part.startswith(("/", "~", "./", "../", ".")) or "/." in part or "/etc/" in part:
                self.reads.setdefault(part)
        self.reverse_shell |= _SOCKET.search(word) is not None

    def redirect(self, target: str, operator: str) -> None:
        """Note a redirection."""
        socket = _SOCKET.fullmatch(target)
        if socket:
            self.reverse_shell = True
            self.hosts.setdefault(f"{socket[1]}:{socket[2]}")
        elif operator == "<":
            self.reads.setdefault(target)
        elif not operator.startswith("<") and not (operator == ">&" and target.isdigit()):
            self._write(target, keeps=operator in (">>", "&>>"))

    def redirected(self, run: Run) -> None:
        """Note that a program's output goes to a file."""
        if run.name in FETCHERS:
            self._fetched.update(each.removeprefix("./") for each in self.writes)

    def declares(self, text: str) -> None:
        """Look at a declaration: `export HISTSIZE=0`, `unset HISTFILE`."""
        self.log_tampering |= _LOG_SWITCHES.search(text) is not None

    def assigns(self, name: str, value: str) -> None:
        """Look at an assignment."""
        self.declares(f"{name}={value}")
        # What these name is run by programs that look harmless.
        self.dynamic |= name in _RUN_BY_OTHERS and value != ""

    def interpreted(self, code: str) -> None:
        """Look at code of an interpreter, by its text."""
        self.reverse_shell |= _REMOTE_SHELL.search(code) is not None
        self.encoded_payload |= _DECODED.search(code) is not None and _RUNS_DECODED.search(code) is not None
        self.dynamic |= _SYSTEM_CALL.search(code) is not None
        self.urls.update(dict.fromkeys(_URL.findall(code)[:20]))
        for path in re.findall(r"""['"]([~/][^'"\n]{1,200})['"]""", code)[:50]:
            self.reads.setdefault(path)

    def _write(self, target: str, *, keeps: bool = False) -> None:
        self.writes.setdefault(target)
        self._devices((target,))
        if not keeps:
            self._spoils(target)

    def _spoils(self, target: str) -> None:
        self.log_tampering |= any(path_class(path) == "log" for path in _paths({target: None}))

    def _devices(self, words: tuple[str, ...]) -> None:
        for word in words:
            if _RAW_DEVICE.fullmatch(word):
                self.devices.setdefault(word)

    def _network(self, run: Run) -> None:
        plain = [each for each in run.arguments if not each.startswith("-") and UNKNOWN not in each]
        self.urls.update(dict.fromkeys(each for each in plain if _URL.fullmatch(each)))
        if run.name in FETCHERS:
            self.urls.update(dict.fromkeys(f"http://{each}" for each in _bare_hosts(run.arguments)))
            self._fetches(run)
        elif run.name in ("nc", "ncat", "netcat", "telnet") and len(plain) > 1:
            self.hosts.setdefault(f"{plain[-2]}:{plain[-1]}" if plain[-1].isdigit() else plain[-1])
        if run.name in ("nc", "ncat", "netcat"):
            self.reverse_shell |= any(
                each in ("--exec", "--sh-exec", "-e", "-c") or re.fullmatch(r"-\w*[ec]", each) is not None
                for each in run.arguments
            )
        if run.name == "socat":
            self.reverse_shell |= any(
                re.match(r"(?i)(?:exec|system):", each) is not None for each in run.arguments
            )

    def _fetches(self, run: Run) -> None:
        words = run.arguments
        for at, word in enumerate(words):
            if word in ("-o", "-O", "--output", "--output-document") and at + 1 < len(words):
                target = words[at + 1]
                if not (run.name == "curl" and word == "-O"):
                    self._fetched.add(target.removeprefix("./"))
                    if target != "-":
                        self._write(target)
            elif _URL.fullmatch(word) and (run.name == "wget" or "-O" in words or "--remote-name" in words):
                self._fetched.add(word.partition("?")[0].rpartition("/")[2])

    def _rm(self, run: Run) -> None:
        flags = [each for each in run.arguments if each.startswith("-")]
        folders = any(
            each == "--recursive" or re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*", each) for each in flags
        )
        for target in _plain(run.arguments):
            self.deletes.setdefault(target)
            self._spoils(target)
            self.writes.setdefault(target)
            if folders and _matters(target):
                self.deletes_root = True
        if folders and "--no-preserve-root" in flags:
            self.deletes_root = True

    def _find(self, run: Run) -> None:
        words = run.arguments
        removes = "-delete" in words or any(each in ("rm", "shred", "unlink") for each in words)
        narrowed = any(each in words for each in ("-name", "-iname", "-path", "-mtime", "-newer", "-empty", "-size", "-regex", "-mmin"))  # fmt: skip
        for place in (each for each in _plain(words[:1])):
            if removes:
                self.deletes.setdefault(place)
                self._spoils(place)
                self.deletes_root |= _matters(place) and not (narrowed and place in (".", "./"))

    def _shred(self, run: Run) -> None:
        for target in _plain(run.arguments):
            self.deletes.setdefault(target)
            self._write(target)

    _truncate = _unlink = _shred

    def _rmdir(self, run: Run) -> None:
        self.deletes.update(dict.fromkeys(_plain(run.arguments)))

    def _dd(self, run: Run) -> None:
        for word in run.arguments:
            if word.startswith("of="):
                self._write(word[3:])

    def _tee(self, run: Run) -> None:
        keeps = any(each in ("-a", "--append") for each in run.arguments)
        for target in _plain(run.arguments):
            self._write(target, keeps=keeps)

    def _last(self, run: Run) -> None:
        plain = list(_plain(run.arguments))
        if len(plain) > 1:
            self._write(plain[-1])
            self.log_tampering |= plain[0] == "/dev/null" and "history" in plain[-1]

    _cp = _mv = _ln = _install = _last

    def _sed(self, run: Run) -> None:
        if any(each.startswith(("-i", "--in-place")) for each in run.arguments):
            for target in list(_plain(run.arguments))[1:]:
                self._write(target)

    def _chmod(self, run: Run) -> None:
        for target in list(_plain(run.arguments))[1:]:
            self.writes.setdefault(target)

    _chown = _chattr = _setfacl = _chgrp = _chmod

    def _visudo(self, _run: Run) -> None:
        self.writes.setdefault("/etc/sudoers")

    _usermod = _useradd = _userdel = _passwd = _groupadd = _chpasswd = lambda self, _run: (
        self.writes.setdefault("/etc/passwd")
    )

    def _crontab(self, run: Run) -> None:
        if run.arguments != ("-l",):
            self.writes.setdefault("/etc/crontab")

    def _history(self, run: Run) -> None:
        self.log_tampering |= any(each.startswith(("-c", "-d", "-w")) for each in run.arguments)

    def _journalctl(self, run: Run) -> None:
        self.log_tampering |= any(
            each.startswith(("--vacuum", "--rotate", "--flush")) for each in run.arguments
        )

    def _auditctl(self, run: Run) -> None:
        self.log_tampering |= (
            "-D" in run.arguments or "-e0" in run.arguments or "-e 0" in " ".join(run.arguments)
        )

    def _dmesg(self, run: Run) -> None:
        self.log_tampering |= any(each in ("-C", "--clear", "-c") for each in run.arguments)

    def _systemctl(self, run: Run) -> None:
        self.log_tampering |= any(
            each in ("stop", "disable", "mask", "kill") for each in run.arguments
        ) and any(
            each.startswith(("auditd", "rsyslog", "syslog", "systemd-journald")) for each in run.arguments
        )

    _service = _systemctl

    def _set(self, run: Run) -> None:
        self.declares("set " + " ".join(run.arguments))

    def _insmod(self, _run: Run) -> None:
        self.writes.setdefault("/lib/modules/loaded")

    _modprobe = _kexec = _insmod

    def _sysctl(self, run: Run) -> None:
        if any(each in ("-w", "--write", "-p", "--load") or "=" in each for each in run.arguments):
            self.writes.setdefault("/proc/sys")


_HANDLED = frozenset(
    ["rm", "find", "shred", "truncate", "unlink", "rmdir", "dd", "tee", "cp", "mv", "ln", "install", "sed", "chmod",
     "chown", "chattr", "setfacl", "chgrp", "visudo", "usermod", "useradd", "userdel", "passwd", "groupadd", "chpasswd",
     "crontab", "history", "journalctl", "auditctl", "dmesg", "systemctl", "service", "set", "insmod", "modprobe",
     "kexec", "sysctl"]
)  # fmt: skip


def _plain(words: tuple[str, ...]) -> Iterator[str]:
    for at, word in enumerate(words):
        if word == "--":
            yield from words[at + 1 :]
            return
        if word and not word.startswith("-"):
            yield word


def _bare_hosts(words: tuple[str, ...]) -> Iterator[str]:
    """Yield arguments of a fetcher that name a host without a scheme; not the values of options."""
    for before, word in zip(("", *words), words, strict=False):
        valued = before.startswith("--") or (before.startswith("-") and before[-1:] in _VALUED)
        if not valued and UNKNOWN not in word and _BARE_HOST.fullmatch(word):
            yield word


def _only_shows(run: Run) -> bool:
    return any(
        each in ("-l", "--list", "-h", "--help", "--version", "-V", "print", "-n", "-p", "--dump", "-d")
        for each in run.arguments
    )


def _matters(target: str) -> bool:
    if target.startswith(UNKNOWN + "/"):
        # An empty variable leaves the root.
        target = target[1:] or "/"
    if UNKNOWN in target:
        return False
    try:
        return _SYSTEM.fullmatch(normalise(target)) is not None or _SYSTEM.fullmatch(target) is not None
    except UnparsedError:
        return True


def _paths(words: dict[str, None]) -> dict[str, None]:
    found: dict[str, None] = {}
    for word in words:
        try:
            found.setdefault(normalise(word.replace(UNKNOWN, "?")))
        except UnparsedError:
            continue
    return found
