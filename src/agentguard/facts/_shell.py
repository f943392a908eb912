"""Facts about command lines, read by tree-sitter's grammar of bash within a budget of CPU time."""

from __future__ import annotations

import base64
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from agentguard.facts._budget import UnparsedError, budget, check_nulls, check_size
from agentguard.facts._effects import Effects
from agentguard.facts._programs import DECODERS, FETCHERS, INTERPRETERS, PIPES, SHELLS, SQL_CLIENTS
from agentguard.facts._targets import tells
from agentguard.facts._unwrap import Run, unwrap
from agentguard.facts._words import UNKNOWN, Words, ansi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_DEPTH = 6
MAX_NESTING = 150
_FORK_BOMB = re.compile(
    r"(?:^|[\n;&|]|\b(?:do|then|else)\s)\s*(?:(?:ba|da|z)?sh\s+)?\"?\$0\"?\s*(?:&(?!&)|\|(?!\|)\s*\"?\$0)|\bloop\s*(?:\{|do)\s*fork\b|\bfork\(\)\s+for\b|(?:^|[\s;&|])(?:function\s+)?([\w:.]{1,64})\s*\(\)\s*[{(]\s*\1\s*\|\s*\1\s*&|\bfork\b\s*(?:\(\s*\))?\s*while\b|\bwhile\b.{0,60}\bfork\s*\(\s*\)|\bwhile\s+(?:true|:|1)\s*;\s*do\s+(?:\$0|\"\$0\")\s*&"
)
_SYSTEM = re.compile(
    r"""(?:system|popen|exec|execSync|run|call|check_call|check_output|shell_exec|Popen|getoutput)\(\s*['"]([^'"\\\n]+)['"]"""
)
_DECODES = re.compile(r"(?:^|-)[a-zA-Z]?d|--decode|--decompress|-r|-D")
_FETCHES = re.compile(
    rf"(?<![\w-])(?:{'|'.join(sorted(each for each in FETCHERS if each.islower() and not each.startswith('http') and each != 'fetch'))})(?![\w-])"
)
_NAMED = re.compile(r"\$\{?(\w+)")
_DECODES_TEXT = re.compile(r"base64|base32|xxd|openssl\s+enc|uudecode")
MAX_MARKS = 1500
MAX_WORDS = 10_000
_MARKS = re.compile(r"[|;&(){}<>`$\"'\\\n]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_parsers = threading.local()


def shell_facts(text: str) -> Mapping[str, Any]:
    """Return the facts of a command line.

    Raises:
        UnparsedError: it cannot be read, or not within the limits.
    """
    check_size(text)
    _language()
    budget.start()
    reader = _Line(Effects())
    try:
        reader.read(text, 0)
    except RecursionError:
        raise UnparsedError("is nested too deeply") from None
    return reader.effects.facts()


def argv_facts(argv: list[Any]) -> Mapping[str, Any]:
    """Return the facts of a program with arguments that no shell reads.

    Raises:
        UnparsedError: it cannot be read, or not within the limits.
    """
    if not argv or not all(type(each) is str for each in argv):
        raise UnparsedError("is no list of texts")
    check_size("".join(argv))
    _language()
    budget.start()
    reader = _Line(Effects())
    try:
        reader.run([each.replace(UNKNOWN, "") for each in argv], [], 0)
    except RecursionError:
        raise UnparsedError("is nested too deeply") from None
    return reader.effects.facts()


@cache
def _language() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Language(tree_sitter_bash.language())


def _parse(source: bytes) -> Any:
    import tree_sitter

    # A parser is no thread's business but its own.
    parser = getattr(_parsers, "bash", None)
    if parser is None:
        parser = _parsers.bash = tree_sitter.Parser(_language())
    tree = parser.parse(source)
    budget.check()
    return tree.root_node


class _Line:
    """One line with all that hides inside it; what is found goes to `effects`."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self._words = Words("", self._output)
        self._depth = 0
        # Variables and functions that hold or print what is fetched or decoded, by name.
        self._fetched: set[str] = set()
        self._decoded: set[str] = set()

    def read(self, text: str, depth: int) -> None:
        """Read a text of commands, at the given depth of texts within texts."""
        if depth > MAX_DEPTH:
            raise UnparsedError("hides commands in too many layers")
        check_nulls(text)
        text = text.replace("\r\n", "\n")
        # The grammar's parser cannot be stopped: what it gets is small enough beforehand.
        if sum(1 for _ in _MARKS.finditer(text)) > MAX_MARKS or text.count(" ") > MAX_WORDS:
            raise UnparsedError("has too many parts")
        if _FORK_BOMB.search(text):
            self.effects.fork_bomb = True
        # INVARIANT: the grammar's scanner gets ASCII alone. It asks the C library about characters in a way that
        # is undefined, and crashes, beyond Latin-1. One letter stands for one character, so places stay the same.
        root = _parse(_BEYOND_ASCII.sub("Z", text).encode("ascii"))
        if root.has_error and not self.effects.fork_bomb:
            raise UnparsedError("is no command line that bash would read")
        outer, self._words = self._words, Words(text, self._output)
        self._words.variables = outer.variables
        before, self._depth = self._depth, depth
        self._walk(root, 0)
        self._words, self._depth = outer, before

    def _walk(self, node: Any, nesting: int) -> list[Run]:
        """Look at a node and all below it; return the programs that run directly in it."""
        budget.spend()
        if nesting > MAX_NESTING:
            raise UnparsedError("is nested too deeply")
        kind = node.type
        if kind == "command":
            return self._command(node, nesting)
        if kind == "pipeline":
            return self._pipeline(node, nesting)
        if kind == "redirected_statement":
            return self._redirected(node, nesting)
        if kind == "variable_assignment":
            self._assignment(node)
        elif kind == "for_statement":
            self._loop(node)
        elif kind == "file_redirect":
            self._redirect(node)
        runs = [run for child in node.named_children for run in self._walk(child, nesting + 1)]
        if kind == "declaration_command":
            self.effects.declares(self._words.text(node))
        if kind == "unset_command":
            self.effects.declares(self._words.text(node))
        if kind == "function_definition":
            self._function(node, runs)
        return runs

    def _assignment(self, node: Any) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        text = "" if value is None else self._words.value(value, quoted=True)
        if node.parent is not None and node.parent.type != "command":
            self._words.assign(self._words.text(name), text)
        self.effects.assigns(self._words.text(name), text)

        if value is not None and UNKNOWN in text:
            source = self._words.text(value)
            if _FETCHES.search(source):
                self._fetched.add(self._words.text(name))
            if _DECODES_TEXT.search(source):
                self._decoded.add(self._words.text(name))

    def _loop(self, node: Any) -> None:
        """Let the variable of a loop be the one thing that it goes over, or the one that matters most."""
        name, values = node.child_by_field_name("variable"), node.children_by_field_name("value")
        words = [word for each in values for word in self._words.expand(each)]
        if name is not None and words:
            worst = next((word for word in words if UNKNOWN not in word and tells(word)), UNKNOWN)
            self._words.assign(self._words.text(name), words[0] if len(words) == 1 else worst)

    def _function(self, node: Any, runs: list[Run]) -> None:
        name = node.child_by_field_name("name")
        own = "" if name is None else self._words.text(name)
        self.effects.functions.add(own)
        if any(run.name in FETCHERS for run in runs):
            self._fetched.add(own)
        if sum(run.name == own for run in runs) > 1:
            self.effects.fork_bomb = True

    def _command(self, node: Any, nesting: int) -> list[Run]:
        for child in node.named_children:
            self._walk_inside(child, nesting + 1)
        argv, fed = [], []
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._assignment(child)
            elif child.type == "herestring_redirect":
                fed = [self._words.value(child.named_children[-1], quoted=True)]
            elif child.type in ("file_redirect", "heredoc_redirect"):
                fed += self._redirect(child)
            else:
                argv += self._words.expand(child)
        inner = [
            self._words.text(child) for child in node.named_children if child.type != "variable_assignment"
        ]
        if argv and UNKNOWN in argv[0]:
            # The command itself is what something prints.
            self._origin(inner[0])
        return self.run(argv, fed, self._depth, inner=" ".join(inner))

    def _origin(self, source: str) -> None:
        """Note that what `source` prints or holds is run: it may be fetched or decoded."""
        budget.check()
        self.effects.downloads_and_runs |= _FETCHES.search(source) is not None or _holds(
            source, self._fetched
        )
        self.effects.encoded_payload |= _DECODES_TEXT.search(source) is not None or _holds(
            source, self._decoded
        )
        self.effects.runs_made_in(source)

    def _walk_inside(self, node: Any, nesting: int) -> None:
        """Find commands in substitutions below an argument."""
        budget.spend()
        if nesting > MAX_NESTING:
            raise UnparsedError("is nested too deeply")
        if node.type in ("command_substitution", "process_substitution"):
            for child in node.named_children:
                self._walk(child, nesting + 1)
            return
        for child in node.named_children:
            self._walk_inside(child, nesting + 1)

    def _pipeline(self, node: Any, nesting: int) -> list[Run]:
        stages = [self._walk(child, nesting + 1) for child in node.named_children]
        runs = [run for stage in stages for run in stage]
        names = {run.name for run in runs}
        for at, stage in enumerate(stages[1:], start=1):
            for run in stage:
                before = [each for earlier in stages[:at] for each in earlier]
                self._asked(run, [self._printed(node.named_children[:at])] if run.name in SQL_CLIENTS else [])
                if run.reads_code or any(UNKNOWN in each for each in run.code):
                    self._fed_by(before, node.named_children[:at])
                if not run.reads_code:
                    self._listed(run, before, node.named_children[:at])
                    continue
                self.effects.pipes_to_shell = True
                printed = self._printed(node.named_children[:at])
                if printed is None:
                    self.effects.dynamic = True
                elif run.name in SHELLS or run.name in ("at", "batch"):
                    self.read(printed, self._depth + 1)
        tied = names & PIPES or any(run.name == "openssl" and "s_client" in run.arguments for run in runs)
        if tied and names & (SHELLS | INTERPRETERS):
            self.effects.reverse_shell = True
        return runs

    def _fed_by(self, before: list[Run], nodes: list[Any]) -> None:
        """Note that what these stages of a pipeline print is run."""
        budget.check()
        self.effects.downloads_and_runs |= any(each.name in FETCHERS | self._fetched for each in before)
        self.effects.encoded_payload |= any(_decodes(each) for each in before)
        source = " ".join(map(self._words.text, nodes))
        self.effects.downloads_and_runs |= _holds(source, self._fetched)
        self.effects.encoded_payload |= _holds(source, self._decoded)
        self.effects.runs_made_in(source)

    def _listed(self, run: Run, before: list[Run], nodes: list[Any]) -> None:
        """Look at a deletion of what is listed: `echo / | xargs rm -rf`, `find / | xargs rm`."""
        if not (run.from_input and run.name == "rm"):
            return
        printed = self._printed(nodes)
        if printed is not None:
            self.run(["rm", *run.arguments, *printed.split()], [], self._depth)
        for each in before:
            if each.name == "find":
                self.run(["find", *each.arguments, "-delete"], [], self._depth)

    def _redirected(self, node: Any, nesting: int) -> list[Run]:
        body, fed = node.child_by_field_name("body"), []
        # The grammar gives a redirection to all of `cd x && y > z`: what stands before it runs before.
        runs = self._walk(body, nesting + 1) if body is not None else []
        for child in node.named_children:
            if child != body:
                self._walk_inside(child, nesting + 1)
                fed += self._redirect(child)
        for run in runs:
            self.effects.redirected(run)
        runs += [run for child in node.named_children for run in self._after_heredoc(child, nesting)]
        for run in runs:
            self._asked(run, fed)
            if run.reads_code:
                self.effects.runs_made_in(self._words.text(node))
                for child in node.named_children:
                    target = child.child_by_field_name("destination")
                    if target is not None and target.type == "process_substitution":
                        self._origin(self._words.text(target))
                for text in fed:
                    self._code(run, text, fed=True)
        return runs

    def _asked(self, run: Run, fed: Sequence[str | None]) -> None:
        """Note what a client of a database is fed."""
        for text in fed if run.name in SQL_CLIENTS else ():
            if text is not None and text != UNKNOWN:
                self.effects.asks(text)

    def _after_heredoc(self, node: Any, nesting: int) -> list[Run]:
        """Look at what stands on the line behind `<<EOF`: the grammar keeps it inside the redirection."""
        if node.type != "heredoc_redirect":
            return []
        rest = [child for child in node.named_children if not child.type.startswith("heredoc_")]
        for child in rest:
            if child.type == "file_redirect":
                self._redirect(child)
        return [
            run for child in rest if "redirect" not in child.type for run in self._walk(child, nesting + 1)
        ]

    def _redirect(self, node: Any) -> list[str]:
        """Note what a redirection writes; return the texts that it feeds."""
        if node.type == "heredoc_redirect":
            return [self._words.text(child) for child in node.named_children if child.type == "heredoc_body"]
        if node.type == "herestring_redirect":
            return [self._words.value(node.named_children[-1], quoted=True)]
        target = node.child_by_field_name("destination")
        if target is None:
            return []
        operator = next((c.type for c in node.children if not c.is_named), "")
        for word in self._words.expand(target):
            self.effects.redirect(word, operator)
        return [UNKNOWN] if operator == "<" else []

    def run(self, argv: list[str], fed: list[str], depth: int, *, inner: str = "") -> list[Run]:
        """Note that a program runs; look into the code that its arguments carry."""
        found = []
        for bare in unwrap(argv):
            budget.spend()
            run = bare.with_source(inner) if inner else bare
            found.append(run)
            self.effects.runs(run)
            for code in run.code:
                self._code(run, code, fed=False)
            for text in fed if run.reads_code else ():
                self._code(run, text, fed=True)
            self._asked(run, fed)
        self._depth = depth
        return found

    def _code(self, run: Run, code: str, *, fed: bool) -> None:
        """Look at code that a program is given as text."""
        source = run.source.replace(code, "")
        self._origin(source)
        if UNKNOWN in code and fed:
            self._origin(code)
        # A constant text that stands in the line itself is printed by no other program.
        if fed and (run.name not in INTERPRETERS or UNKNOWN in code):
            self.effects.pipes_to_shell = True
        if UNKNOWN in code:
            self.effects.dynamic = True
        if run.name in INTERPRETERS:
            self.effects.interpreted(code)
            for line in _SYSTEM.findall(code)[:20]:
                self.read(line, self._depth + 1)
            return
        # What is not known stands for one argument that is not known.
        self.read(code.replace(UNKNOWN, "${_}"), self._depth + 1)

    def _output(self, node: Any) -> str | None:
        """Return what a command substitution prints, if that is constant."""
        return self._printed(node.named_children)

    def _printed(self, nodes: list[Any]) -> str | None:
        stages = [stage for node in nodes for stage in _stages(node)]
        text: str | None = None
        for at, node in enumerate(stages):
            if node.type == "redirected_statement":
                fed = [t for child in node.named_children[1:] for t in self._quiet(child)]
                text = fed[0] if fed else None
                node = node.named_children[0]  # noqa: PLW2901 - the command inside
            if node.type != "command":
                return None
            argv = [
                word
                for c in node.named_children
                if not c.type.endswith("redirect")
                for word in self._words.expand(c)
            ]
            heres = [c for c in node.named_children if c.type == "herestring_redirect"]
            if heres:
                text = self._words.value(heres[0].named_children[-1], quoted=True)
            text = _filtered(argv, text, first=at == 0 and text is None)
            if text is None or UNKNOWN in text:
                return None
        return text

    def _quiet(self, node: Any) -> list[str]:
        return self._redirect(node) if node.type in ("heredoc_redirect", "herestring_redirect") else []


def _holds(source: str, names: set[str]) -> bool:
    """Tell whether a text names one of these variables."""
    return any(name in names for name in _NAMED.findall(source))


def _stages(node: Any) -> Iterator[Any]:
    if node.type == "pipeline":
        for child in node.named_children:
            yield from _stages(child)
    else:
        yield node


def _decodes(run: Run) -> bool:
    if run.name in ("python3", "python"):
        return "base64" in run.arguments and "-d" in run.arguments
    return run.name in DECODERS and (
        run.name in ("uudecode", "gunzip", "zcat", "xzcat", "bzcat", "zstdcat", "rev", "tr")
        or any(_DECODES.match(each) for each in run.arguments)
    )


def _filtered(argv: list[str], text: str | None, *, first: bool) -> str | None:
    """Return what a program prints that is only about text: echo, printf, decoders."""
    if not argv:
        return None
    name, arguments = argv[0].rpartition("/")[2], argv[1:]
    if first and name == "echo":
        plain = " ".join(each for each in arguments if each not in ("-n", "-e", "-ne", "-en", "-E"))
        return ansi(plain) if any(each in ("-e", "-ne", "-en") for each in arguments) else plain
    if first and name == "printf" and arguments:
        shape, *values = arguments
        for value in values:
            shape = re.sub(r"%[sb]", lambda _m, v=value: v, shape, count=1)  # type: ignore[misc]  # a default of a lambda
        return ansi(shape)
    if first and name == "mktemp":
        return "/tmp/tmp.mktemp"  # noqa: S108 - what it prints begins so
    if text is None or UNKNOWN in text:
        return None
    if name == "cat" and arguments in ([], ["-"]):
        return text
    if name == "rev":
        return "\n".join(line[::-1] for line in text.split("\n"))
    return _decoded(name, arguments, "".join(text.split()))


def _decoded(name: str, arguments: list[str], text: str) -> str | None:
    """Return what a decoder makes of a text; None where it is none."""
    decodes = any(_DECODES.match(each) for each in arguments)
    try:
        if (name == "base64" and decodes) or (
            name == "openssl" and "-d" in arguments and {"base64", "-base64"} & set(arguments)
        ):
            return base64.b64decode(text + "===").decode("utf-8", "replace")
        if name == "base32" and decodes:
            return base64.b32decode(text).decode("utf-8", "replace")
        if name == "xxd" and "-r" in arguments:
            return bytes.fromhex(text).decode("utf-8", "replace")
    except ValueError:
        return None
    return None
