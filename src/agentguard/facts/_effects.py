"""What the programs of a command line do to the machine: deletes, writes, devices, logs, shells."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agentguard.facts._code import look_into
from agentguard.facts._logs import switches_off, tampers
from agentguard.facts._path import is_export, path_class
from agentguard.facts._programs import (
    CLIENTS,
    DECODERS,
    DUMPERS,
    FETCHERS,
    FORMATTERS,
    INTERPRETERS,
    NETCATS,
    PRIVILEGED,
    READS_NO_PATHS,
    SHELLS,
    SQL_CLIENTS,
)
from agentguard.facts._targets import (
    BARE_HOST,
    TELLING,
    WHOLE,
    bare_hosts,
    classes,
    matters,
    one_form,
    only_shows,
    operands,
    option_value,
    paths_of,
    script_of,
)
from agentguard.facts._words import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentguard.facts._unwrap import Run

_MAX_LISTED = 200
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_SOCKET = re.compile(r"/dev/(?:tcp|udp)/([^/]+)/([^/\s]+)")
_RAW_DEVICE = re.compile(
    r"/dev/(?:sd|hd|vd|xvd|nvme|mmcblk|disk|rdisk|dm-|md|loop|mapper/|mem|kmem|port|nbd).*"
)


_SAVED_AS = re.compile(r"(?s)(-[a-zA-Z]*[oO])(.*)|(?:--output|--output-document)(?:=(.*))?")
_LOCAL = re.compile(r"(?i)(?:unix|file|npipe)://")
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
        self.sql: dict[str, None] = {}
        # Files that the line itself makes, and from what: `fetched` or `decoded`.
        self._made: dict[str, str] = {}
        self._folder = ""
        self._dumps = False

    def facts(self) -> dict[str, Any]:
        """Return what was found, as facts; `net.*` and `sql.*` are left to the caller (see `urls`, `hosts`, `sql`)."""
        writes, reads = paths_of(self.writes), paths_of(self.reads)
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
            "shell.read_classes": classes(reads),
            "shell.writes": tuple(writes)[:_MAX_LISTED],
            "shell.write_classes": classes(writes),
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
            "sql": tuple(self.sql),
        }

    def runs(self, run: Run) -> None:
        """Note a program."""
        if UNKNOWN in run.path:
            self.dynamic = True
        elif run.name:
            self.commands.setdefault(run.name)
        self.privileged |= run.name in PRIVILEGED
        self.runs_made(run.path)
        if run.name in SHELLS or run.name in INTERPRETERS or run.name in ("source", "."):
            self.runs_made(script_of(run.arguments))
        if run.name.startswith(FORMATTERS) and not only_shows(run):
            self.formats = True
            self._devices(run.arguments)
        if run.from_input and run.name in ("rm", "shred", "unlink"):
            self.deletes.setdefault("?")
        handler = getattr(self, f"_{run.name.replace('-', '_')}", None) if run.name in _HANDLED else None
        if handler is not None:
            handler(run)
        if run.name in CLIENTS:
            self._network(run)
        if run.name in SQL_CLIENTS:
            self._asks(run)
        if run.name in DUMPERS:
            self._dumps = True
            self.exports |= any(is_export(each.partition("=")[2] or each) for each in run.arguments)
        if run.name not in READS_NO_PATHS:
            for word in run.arguments:
                self._names(word)
                self._names_here(word)
        self._names(run.path)
        self.log_tampering |= tampers(run)

    def runs_made(self, name: str) -> None:
        """Note that a file is run, or what it holds: it may be one that the line fetched or decoded."""
        how = self._made.get(name.removeprefix("./"))
        self.downloads_and_runs |= how == "fetched"
        self.encoded_payload |= how == "decoded"

    def runs_made_in(self, text: str) -> None:
        """Note that what a text of commands prints is run."""
        for name in list(self._made)[:_MAX_LISTED]:
            if len(name) > 1 and name in text:
                self.runs_made(name)

    def _here(self, word: str) -> str | None:
        """Return what a relative path means in the folder that the line went to; None where that is unknown."""
        if not self._folder or not word or word.startswith(("/", "~", "-", UNKNOWN)) or "://" in word:
            return None
        return f"{self._folder}/{word}"

    def _names_here(self, word: str) -> None:
        path = self._here(word)
        if path is not None and set(classes(paths_of({path: None}))) & TELLING:
            self.reads.setdefault(path)

    def _cd(self, run: Run) -> None:
        target = next(operands(run.arguments), "~")
        self._folder = "" if UNKNOWN in target else self._here(target) or target
        if not self._folder.startswith(("/", "~")):
            self._folder = ""

    _pushd = _cd

    def _names(self, word: str) -> None:
        local = _LOCAL.match(word)
        if local:
            word = word[local.end() :]
        if "://" in word or " " in word:
            return
        value = word.partition("=")[2].lstrip("@<")
        attached = word[2:].lstrip("@") if word[:1] == "-" != word[1:2] else ""
        for part in (word.lstrip("@"), value, *word.partition(":")[::2], attached):
            if part.startswith(("/", "~", "./", "../", ".")) or "/." in part or "/etc/" in part:
                self.reads.setdefault(part)
        self.reverse_shell |= _SOCKET.search(word) is not None

    def _asks(self, run: Run) -> None:
        options = SQL_CLIENTS[run.name]
        for before, word in pairwise(("", *run.arguments)):
            option, equals, value = word.partition("=")
            if before in options:
                self.asks(word)
            elif equals and option in options:
                self.asks(value)
            elif word[:2] in options and len(word) > 2 and word[1] != "-":  # noqa: PLR2004 - `-cSELECT`
                self.asks(word[2:])
        if run.name in ("sqlite3", "duckdb"):
            for word in list(operands(run.arguments))[1:]:
                self.asks(word)

    def asks(self, text: str) -> None:
        """Note what a database is asked; a client's own commands, as `.tables`, are none of it."""
        text = text.replace(UNKNOWN, "_").strip()
        if text and not text.startswith(("\\", ".")):
            self.sql.setdefault(text)

    def redirect(self, target: str, operator: str) -> None:
        """Note a redirection."""
        socket = _SOCKET.fullmatch(target)
        if socket:
            self.reverse_shell = True
            self.hosts.setdefault(f"{socket[1]}:{socket[2]}")
        elif operator == "<":
            self.reads.setdefault(target)
            self._names_here(target)
        elif not operator.startswith("<") and not (operator == ">&" and target.isdigit()):
            self._write(target, keeps=operator in (">>", "&>>"))

    def redirected(self, run: Run) -> None:
        """Note that a program's output goes to a file."""
        if run.name in FETCHERS:
            self._makes(self.writes, "fetched")
        elif run.name in DECODERS:
            self._makes(self.writes, "decoded")

    def _makes(self, names: Iterable[str], how: str) -> None:
        self._made.update((each.removeprefix("./"), how) for each in names if each not in ("-", "/dev/null"))

    def declares(self, text: str) -> None:
        """Look at a declaration: `export HISTSIZE=0`, `unset HISTFILE`."""
        self.log_tampering |= switches_off(text)

    def assigns(self, name: str, value: str) -> None:
        """Look at an assignment."""
        self.declares(f"{name}={value}")
        # What these name is run by programs that look harmless.
        self.dynamic |= name in _RUN_BY_OTHERS and value != ""
        self._names(value)

    def interpreted(self, code: str) -> None:
        """Look at code of an interpreter, by its text."""
        seen = look_into(code)
        self.reverse_shell |= seen.reverse_shell
        self.encoded_payload |= seen.encoded_payload
        self.downloads_and_runs |= seen.downloads_and_runs
        self.dynamic |= seen.dynamic
        self.urls.update(dict.fromkeys(_URL.findall(code)[:20]))
        self.reads.update(dict.fromkeys(seen.paths))
        for path, keeps in seen.writes:
            self._write(path, keeps=keeps)
        for path in seen.deletes:
            self.deletes.setdefault(path)
            self._spoils(path)
            self.deletes_root |= matters(path)

    def _write(self, target: str, *, keeps: bool = False) -> None:
        for path in (target, self._here(target)):
            if path is not None:
                self.writes.setdefault(path)
                self._devices((path,))
                if not keeps:
                    self._spoils(path)

    def _spoils(self, target: str) -> None:
        self.log_tampering |= "log" in classes(paths_of({target: None}))

    def _devices(self, words: tuple[str, ...]) -> None:
        for word in words:
            if _RAW_DEVICE.fullmatch(word):
                self.devices.setdefault(word)

    def _network(self, run: Run) -> None:
        plain = [each for each in run.arguments if not each.startswith("-") and UNKNOWN not in each]
        self.urls.update(dict.fromkeys(each for each in plain if _URL.fullmatch(each)))
        if run.name in FETCHERS:
            self.urls.update(dict.fromkeys(f"http://{each}" for each in bare_hosts(run.arguments)))
            self._fetches(run)
        elif (run.name in NETCATS or run.name == "telnet") and len(plain) > 1:
            self.hosts.setdefault(f"{plain[-2]}:{plain[-1]}" if plain[-1].isdigit() else plain[-1])
        if run.name in NETCATS:
            self.reverse_shell |= any(
                each in ("--exec", "--sh-exec", "-e", "-c") or re.fullmatch(r"-\w*[ec]", each) is not None
                for each in run.arguments
            )
        if run.name == "socat":
            self.reverse_shell |= any(
                re.match(r"(?i)(?:exec|system):", each) is not None for each in run.arguments
            )

    def _fetches(self, run: Run) -> None:
        words, curl = run.arguments, run.name == "curl"
        letters = "".join(each[1:] for each in words if each[:1] == "-" != each[1:2])
        named = not curl or "O" in letters or "--remote-name" in words or "--remote-name-all" in words
        for at, word in enumerate(words):
            match = _SAVED_AS.fullmatch(word)
            if match and not (curl and match[1] and match[1].endswith("O")):
                target = match[2] or match[3] or (words[at + 1] if at + 1 < len(words) else "")
                self._makes((target,), "fetched")
                if target not in ("", "-"):
                    self._write(target)
            elif named and (_URL.fullmatch(word) or BARE_HOST.fullmatch(word)):
                name = word.partition("?")[0].rpartition("/")[2]
                folder = next(
                    (then for each, then in pairwise(words) if each in ("-P", "-d", "--output-dir")), "."
                )
                self._makes((name, f"{folder}/{name}"), "fetched")

    def _rm(self, run: Run) -> None:
        flags = [each for each in run.arguments if each.startswith("-")]
        folders = any(
            each == "--recursive" or re.fullmatch(r"-[a-zA-Z]*[rR\ue000][a-zA-Z\ue000]*", each)
            for each in flags
        )
        for target in operands(run.arguments):
            self.deletes.setdefault(target)
            self._write(target)
            if folders and matters(target):
                self.deletes_root = True
        if folders and "--no-preserve-root" in flags:
            self.deletes_root = True

    def _find(self, run: Run) -> None:
        words = run.arguments
        removes = "-delete" in words or any(each in ("rm", "shred", "unlink") for each in words)
        narrowed = any(each in words for each in ("-name", "-iname", "-path", "-mtime", "-newer", "-empty", "-size", "-regex", "-mmin"))  # fmt: skip
        for place in (each for each in operands(words[:1])):
            if "truncate" in words or "sed" in words:
                self._spoils(place)
            if removes:
                self.deletes.setdefault(place)
                self._spoils(place)
                self.deletes_root |= matters(place) and not (narrowed and place in (".", "./"))

    def _shred(self, run: Run) -> None:
        for target in operands(run.arguments):
            self.deletes.setdefault(target)
            self._write(target)

    _truncate = _unlink = _shred

    def _rmdir(self, run: Run) -> None:
        self.deletes.update(dict.fromkeys(operands(run.arguments)))

    def _dd(self, run: Run) -> None:
        for word in run.arguments:
            if word.startswith("of="):
                self._write(word[3:])

    def _tee(self, run: Run) -> None:
        keeps = any(each in ("-a", "--append") for each in run.arguments)
        for target in operands(run.arguments):
            self._write(target, keeps=keeps)

    def _last(self, run: Run) -> None:
        plain = list(operands(run.arguments))
        folder = option_value(run.arguments, "-t", "--target-directory")
        if folder is not None:
            plain = [*(each for each in plain if each != folder), folder]
        if len(plain) > 1:
            # What is a folder gets a file of the same name; a folder may come as a whole.
            self._write(plain[-1])
            for each in plain[:-1]:
                self._write(f"{plain[-1].rstrip('/')}/{each.rstrip('/').rpartition('/')[2]}", keeps=True)
            self.log_tampering |= plain[0] == "/dev/null" and "history" in plain[-1]

    _cp = _ln = _install = _last

    def _mv(self, run: Run) -> None:
        self._last(run)
        for source in list(operands(run.arguments))[:-1]:
            self._write(source)
            self.deletes_root |= WHOLE.fullmatch(one_form(source)) is not None

    def _rsync(self, run: Run) -> None:
        plain = list(operands(run.arguments))
        if len(plain) > 1:
            self._write(plain[-1])
            removes = any(each.startswith("--delete") for each in run.arguments)
            self.deletes_root |= removes and WHOLE.fullmatch(one_form(plain[-1])) is not None

    def _scp(self, run: Run) -> None:
        plain = list(operands(run.arguments))
        if len(plain) > 1 and ":" not in plain[-1]:
            self._write(plain[-1])

    def _sed(self, run: Run) -> None:
        if any(each.startswith(("-i", "--in-place")) for each in run.arguments):
            for target in list(operands(run.arguments))[1:]:
                self._write(target)

    def _perl(self, run: Run) -> None:
        if any(re.fullmatch(r"-[a-zA-Z0]*i(?:\.\w+|[a-zA-Z]*)", each) for each in run.arguments):
            self._edits(run)

    _ruby = _perl

    def _awk(self, run: Run) -> None:
        self.reverse_shell |= any("/inet/tcp/" in each or "/inet/udp/" in each for each in run.arguments)
        if "inplace" in run.arguments:
            self._edits(run)

    _gawk = _awk

    def _edits(self, run: Run) -> None:
        for target in operands(run.arguments):
            if target.startswith(("/", "~")) or self._folder:
                self._write(target)

    def _vim(self, run: Run) -> None:
        if not {"-R", "--version", "--help"} & set(run.arguments):
            self._edits(run)

    _vi = _ex = _ed = _nano = _emacs = _nvim = _sponge = _patch = _vim

    def _tar(self, run: Run) -> None:
        folder = option_value(run.arguments, "-C", "--directory", "-d")
        first = run.arguments[0] if run.arguments else ""
        extracts = run.name == "unzip" or "--extract" in run.arguments or ("x" in first and "=" not in first)
        if folder is not None and extracts:
            self._floods(folder)

    _unzip = _tar

    def _floods(self, folder: str) -> None:
        """Note that all below a folder may change."""
        self.writes.setdefault(folder)
        if one_form(folder) in ("/", "/etc", "/*", "/etc/*"):
            self.writes.setdefault("/etc/passwd")

    def _chmod(self, run: Run) -> None:
        for target in list(operands(run.arguments))[1:]:
            self._write(target, keeps=True)
            if any(re.fullmatch(r"-\w*R\w*|--recursive", each) for each in run.arguments):
                self._floods(target)

    _chown = _setfacl = _chgrp = _chmod

    def _chattr(self, run: Run) -> None:
        for target in operands(run.arguments):
            self._write(target)

    def _visudo(self, _run: Run) -> None:
        self.writes.setdefault("/etc/sudoers")

    def _usermod(self, run: Run) -> None:
        if not {"--help", "-h", "--version"} & set(run.arguments):
            self.writes.setdefault("/etc/passwd")

    _useradd = _userdel = _passwd = _groupadd = _chpasswd = _usermod
    _adduser = _addgroup = _deluser = _groupdel = _groupmod = _gpasswd = _newusers = _vipw = _vigr = _chsh = (
        _usermod
    )

    def _getent(self, run: Run) -> None:
        for each in run.arguments[:1]:
            self.reads.setdefault("/etc/shadow" if "shadow" in each else f"/etc/{each}")

    def _docker(self, run: Run) -> None:
        # What has the whole of the host's disk or of its rights is no container.
        words = run.arguments
        self.privileged |= "--privileged" in words or any(
            each.startswith(("/:", "--pid=host", "--cap-add=ALL", "--volume=/:")) or "source=/," in each
            for each in words
        )

    _podman = _nerdctl = _docker

    def _pwsh(self, run: Run) -> None:
        self.encoded_payload |= any(re.fullmatch(r"(?i)[-/]e(?:c|nc\w*)?", each) for each in run.arguments)

    _powershell = _pwsh

    def _ztcp(self, _run: Run) -> None:
        self.reverse_shell = True

    def _xterm(self, run: Run) -> None:
        display = option_value(run.arguments, "-display", "--display") or ""
        self.reverse_shell |= display.partition(":")[0] not in ("", "localhost", "unix")

    def _zpool(self, run: Run) -> None:
        self.formats |= bool({"destroy", "create", "labelclear"} & set(run.arguments[:1]))

    def _crontab(self, run: Run) -> None:
        if run.arguments != ("-l",):
            self.writes.setdefault("/etc/crontab")

    def _insmod(self, _run: Run) -> None:
        self.writes.setdefault("/lib/modules/loaded")

    _modprobe = _rmmod = _kexec = _insmod

    def _sysctl(self, run: Run) -> None:
        if any(each in ("-w", "--write", "-p", "--load") or "=" in each for each in run.arguments):
            self.writes.setdefault("/proc/sys")


_HANDLED = frozenset(
    ["addgroup", "adduser", "awk", "cd", "chattr", "chgrp", "chmod", "chown", "chpasswd", "chsh", "cp",
     "crontab", "dd", "deluser", "docker", "ed", "emacs", "ex", "find", "gawk", "getent", "gpasswd",
     "groupadd", "groupdel", "groupmod", "insmod", "install", "kexec", "ln", "modprobe", "mv", "nano",
     "nerdctl", "newusers", "nvim", "passwd", "patch", "perl", "podman", "powershell", "pushd", "pwsh", "rm",
     "rmdir", "rmmod", "rsync", "ruby", "scp", "sed", "setfacl", "shred", "sponge", "sysctl", "tar", "tee",
     "truncate", "unlink", "unzip", "useradd", "userdel", "usermod", "vi", "vigr", "vim", "vipw", "visudo",
     "xterm", "zpool", "ztcp"]
)  # fmt: skip
