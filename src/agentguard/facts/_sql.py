"""Facts about SQL, read by sqlglot's parsers within a budget of CPU time."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from agentguard.core import FACTS, FactKind
from agentguard.facts._budget import SlowError, UnparsedError, budget, check_size
from agentguard.facts._merge import merge_facts
from agentguard.facts._sql_text import text_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_NESTING = 60
MAX_QUOTES = 4000
_FALLBACKS = ("postgres", "mysql", "tsql", "sqlite", "oracle", "bigquery")
# What the dialects read differently: quoting, comments, escapes.
_AMBIGUOUS = re.compile(r"[\\#`$]|--|/\*")
_KINDS = {
    "Select": "select", "Union": "select", "Intersect": "select", "Except": "select", "Values": "select", "Table": "",
    "Insert": "insert", "Update": "update", "Delete": "delete", "Merge": "merge", "Create": "create",
    "Alter": "alter", "AlterColumn": "", "Drop": "drop", "TruncateTable": "truncate", "Grant": "grant",
    "Revoke": "revoke", "Set": "set", "Transaction": "transaction", "Commit": "transaction",
    "Rollback": "transaction", "Describe": "explain", "Show": "show", "Copy": "copy", "Pragma": "set", "Use": "set",
    "Analyze": "other", "Kill": "other", "Attach": "copy", "Detach": "other", "LoadData": "copy",
}  # fmt: skip
_COMMANDS = {
    "explain": "explain", "show": "show", "call": "call", "exec": "call", "execute": "call", "grant": "grant", "rename": "alter",
    "revoke": "revoke", "alter": "alter", "truncate": "truncate", "drop": "drop", "copy": "copy", "load": "copy",
    "create": "create", "begin": "transaction", "start": "transaction", "delete": "delete", "update": "update",
}  # fmt: skip
_HIDDEN_KIND = re.compile(
    r"\b(drop|truncate|delete|update|insert|alter|grant|revoke|create)\b", re.IGNORECASE
)
_CHANGES = re.compile(r"(?i)\b(?:delete\s{1,20}from|update\s{1,20}[^\s;]{1,100}\s{1,20}set)\b")
_WHERE = re.compile(r"(?i)\bwhere\b")
_DELAYS = frozenset(("sleep", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "benchmark", "waitfor", "dbms_lock.sleep", "dbms_pipe.receive_message"))  # fmt: skip
_ESCAPES = frozenset(
    ["load_file", "pg_read_file", "pg_read_binary_file", "pg_ls_dir", "lo_import", "lo_export", "xp_cmdshell",
     "xp_dirtree", "sp_oacreate", "openrowset", "opendatasource", "dblink", "dblink_exec", "utl_http.request",
     "utl_file.fopen", "load_extension", "writefile", "readfile", "sys_exec", "sys_eval", "read_text", "read_blob"]
)  # fmt: skip
_CATALOGUES = re.compile(r"(?:information_schema|pg_catalog|mysql|performance_schema|sys)\..*|pg_(?:shadow|authid|user|roles|tables|class|database|stat_activity)|sqlite_(?:master|schema|temp_master)|sysobjects|syscolumns|all_tables|user_tables|dba_users")  # fmt: skip


def sql_facts(text: str, dialect: str | None = None) -> Mapping[str, Any]:
    """Return the facts of a text of SQL statements; `dialect` None: the worst of several readings.

    Raises:
        UnparsedError: no dialect can read it, or not within the limits.
    """
    check_size(text)
    if _nesting(text) > MAX_NESTING:
        raise UnparsedError("is nested too deeply")
    if text.count("'") + text.count('"') > MAX_QUOTES:
        raise UnparsedError("has too many quotes")
    readers = _readers()
    budget.start()
    try:
        found = [_facts_of(tree, text) for tree in _read(readers, text, dialect)]
    except RecursionError:
        raise UnparsedError("is nested too deeply") from None
    facts = merge_facts(found, worst=True)
    facts = merge_facts([facts, text_facts(text)])
    facts["sql.union_injection"] = facts["sql.union_injection"] or (
        facts["sql.union"] and facts["sql.comment_injection"]
    )
    return facts


def _nesting(text: str) -> int:
    deepest = depth = 0
    for match in re.finditer(r"[(\[]|[)\]]|\bcase\b|\bend\b", text, re.IGNORECASE):
        opens = match[0] in "([" or match[0].lower() == "case"
        depth += 1 if opens else -1
        deepest = max(deepest, depth)
    return deepest


def _read(readers: Any, text: str, dialect: str | None) -> Iterator[list[Any]]:
    if dialect is not None:
        yield readers(dialect, text)
        return
    wanted: tuple[str, ...] = ("postgres", "mysql") if _AMBIGUOUS.search(text) else ("",)
    read = False
    for name in (*wanted, *_FALLBACKS):
        if read and name not in wanted:
            break
        try:
            tree = readers(name, text)
        except SlowError:
            raise
        except UnparsedError:
            continue
        read = True
        yield tree
    if not read:
        raise UnparsedError("is no SQL that a known dialect reads")


@cache
def _readers() -> Any:
    """Return what parses a text in a dialect. Made on first use: the library takes a tenth of a second."""
    from sqlglot import ErrorLevel
    from sqlglot.dialects import Dialect
    from sqlglot.errors import SqlglotError
    from sqlglot.tokenizer_core import TokenizerCore

    class BoundedCore(TokenizerCore):
        __slots__ = ()

        def _add(self, *args: Any, **kwargs: Any) -> None:
            budget.spend()
            super()._add(*args, **kwargs)

    @cache
    def tools(name: str) -> tuple[Any, Any]:
        dialect = Dialect.get_or_raise(name or None)
        parser_class: Any = dialect.parser_class

        def advance(self: Any, times: int = 1) -> None:
            budget.spend()
            parser_class._advance(self, times)  # noqa: SLF001 - the one step that all of its loops take

        # The library warns of what it keeps as a mere command; that is a fact here, no news.
        body = {"__slots__": (), "_advance": advance, "_warn_unsupported": lambda _self: None}
        return dialect, type(f"Bounded{parser_class.__name__}", (parser_class,), body)

    def read(name: str, text: str) -> list[Any]:
        dialect, parser_class = tools(name)
        try:
            tokenizer = dialect.tokenizer()
            tokenizer._core.__class__ = BoundedCore  # noqa: SLF001 - as above
            tokens = tokenizer.tokenize(text)
            trees = parser_class(error_level=ErrorLevel.IMMEDIATE, dialect=dialect).parse(tokens, text)
        except SqlglotError:
            budget.check()  # the tokenizer turns what is raised inside it into an error of its own
            raise UnparsedError("is no SQL") from None
        return [tree for tree in trees if tree is not None]

    # Whatever the library makes on first use is made now, and not on the time of a request.
    budget.start(60)
    for name in ("", *_FALLBACKS):
        read(name, "SELECT a FROM t WHERE b = 1 AND c IN ('x') ORDER BY a LIMIT 1")
    return read


def _facts_of(trees: list[Any], text: str) -> dict[str, Any]:
    from sqlglot import exp

    facts: dict[str, Any] = {
        name: False if spec.kind is FactKind.BOOLEAN else ()
        for name, spec in FACTS.items()
        if spec.family == "sql" and spec.kind is not FactKind.NUMBER and name != "sql.unparsed"
    }
    for name in ("sql.has_where", "sql.has_limit"):
        del facts[name]
    facts["sql.statements"] = len(trees)
    facts["sql.stacked"] = len(trees) > 1
    kinds: dict[str, None] = {}
    tables: dict[str, None] = {}
    for tree in trees:
        if isinstance(tree, exp.Condition | exp.Alias) and not isinstance(tree, exp.Query | exp.Command):
            # A mere expression: `SHUTDOWN`, `EXEC('…')`, or a keyword that an odd character splits.
            raise UnparsedError("is no statement")
        kinds.setdefault(_kind(tree) or "other")
        if isinstance(tree, exp.Query):
            _limits(tree, facts)
        for node in tree.walk():
            budget.spend()
            kind = _kind(node)
            # A column that an ALTER drops is no dropped table.
            if kind and not (kind == "drop" and type(tree) is exp.Alter):
                kinds.setdefault(kind)
            _look(node, facts, tables)
        if isinstance(tree, exp.Command) and tree.this.lower() == "explain":
            _explained(tree, kinds, facts)
    facts["sql.kinds"] = tuple(dict.fromkeys((*kinds, *facts.pop("sql.kinds_hidden", ()))))
    facts["sql.tables"] = tuple(tables)
    if not trees and text.strip(" \t\r\n;") and not text_facts(text)["sql.comment"]:
        raise UnparsedError("is no SQL")
    return facts


def _kind(node: Any) -> str:
    name = type(node).__name__
    if name == "Command":
        return _COMMANDS.get(str(node.this).lower(), "other")
    return _KINDS.get(name, "")


def _explained(tree: Any, kinds: dict[str, None], facts: dict[str, Any]) -> None:
    """See through EXPLAIN, which with ANALYZE runs what it explains."""
    rest = re.sub(r"^\s*(?:\([^)]*\)|analy[sz]e\b|verbose\b|query plan\b|\s)+", "", _text(tree), flags=re.IGNORECASE)  # fmt: skip
    inner = _facts_of(_readers()("", rest), rest) if rest else {}
    for kind in inner.get("sql.kinds", ()):
        kinds.setdefault(kind)
    asked = ("sql.has_where", "sql.tautology", "sql.escapes", "sql.union")
    facts |= {name: value for name, value in inner.items() if name in asked}


def _text(command: Any) -> str:
    rest = command.args.get("expression")
    return rest if isinstance(rest, str) else rest.name if rest is not None else ""


def _limits(tree: Any, facts: dict[str, Any]) -> None:
    limit = tree.args.get("limit")
    facts["sql.has_limit"] = limit is not None and facts.get("sql.has_limit", True)
    expression = limit is not None and (limit.args.get("expression") or limit.args.get("count"))
    if expression and expression.is_int:
        facts["sql.limit"] = max(int(str(expression.this)), facts.get("sql.limit", 0))


def _look(node: Any, facts: dict[str, Any], tables: dict[str, None]) -> None:
    from sqlglot import exp

    if isinstance(node, exp.Table):
        name = ".".join(part.name.lower() for part in node.parts if part.name)
        if name:
            tables.setdefault(name)
            facts["sql.system_tables"] |= _CATALOGUES.fullmatch(name) is not None
        _functions(node.this, facts)
    elif isinstance(node, exp.Update | exp.Delete) and not isinstance(node.parent, exp.When):
        where = node.args.get("where")
        bound = where is not None and not holds_for_all(where.this)
        facts["sql.has_where"] = bound and facts.get("sql.has_where", True)
    elif isinstance(node, exp.Merge):
        changes = any(isinstance(each.args.get("then"), exp.Update) or str(each.args.get("then")).upper() == "DELETE"
                      for each in node.find_all(exp.When))  # fmt: skip
        on = node.args.get("on")
        if changes and on is not None and holds_for_all(on):
            facts["sql.has_where"] = False
    elif isinstance(node, exp.Create):
        _create(node, facts)
    elif isinstance(node, exp.Set) and re.match(r"(?i)set\s+password\b", node.sql()):
        facts["sql.kinds_hidden"] = (*facts.get("sql.kinds_hidden", ()), "grant")
    elif isinstance(node, exp.Or):
        facts["sql.tautology"] |= always_true(node.left) or always_true(node.right)
    elif isinstance(node, exp.SetOperation):
        facts["sql.union"] = True
        facts["sql.union_injection"] |= (
            any(map(_planted, (node.left, node.right)))
            or _counted(node.left, node.right)
            or _emptied(node.left)
        )
    elif isinstance(node, exp.Func):
        _functions(node, facts)
    elif isinstance(node, exp.Into | exp.Copy | exp.LoadData | exp.Attach):
        facts["sql.escapes"] |= not isinstance(node, exp.Into) or node.args.get("this") is None
    elif isinstance(node, exp.Command):
        _command(node, facts, tables)


def _functions(node: Any, facts: dict[str, Any]) -> None:
    from sqlglot import exp

    if isinstance(node, exp.Func):
        name = (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()
        parent = node.parent
        if isinstance(parent, exp.Dot):
            name = f"{parent.this.name.lower()}.{name}"
        facts["sql.delays"] |= name in _DELAYS
        facts["sql.escapes"] |= name in _ESCAPES


def _planted(query: Any) -> bool:
    """Tell whether a branch of a UNION brings constants from nowhere, or the database's own catalogue."""
    from sqlglot import exp

    if not isinstance(query, exp.Select):
        return False
    source = query.args.get("from_") or query.args.get("from")
    if source is not None:
        return any(
            _CATALOGUES.fullmatch(".".join(p.name.lower() for p in t.parts))
            for t in source.find_all(exp.Table)
        )
    asked = query.expressions
    return any(_of_the_server(each) for each in asked) or (
        len(asked) > 1 and any(isinstance(each, exp.Null) for each in asked)
    )


def _of_the_server(node: Any) -> bool:
    """Tell whether a column is what only the server knows of itself: its version, its user, its database."""
    from sqlglot import exp

    return (
        any(
            isinstance(each, exp.SessionParameter | exp.Parameter | exp.CurrentUser | exp.SessionUser)
            for each in node.walk()
        )
        or re.search(
            r"(?i)\b(?:version|user|current_user|session_user|system_user|database|current_database|schema)\b\s*(?:\(\s*\))?$",
            node.unalias().sql(),
        )
        is not None
    )


def _counted(left: Any, right: Any) -> bool:
    """Tell whether a UNION counts the columns of a table: `UNION SELECT 1, 2, 3`."""
    from sqlglot import exp

    if not (isinstance(left, exp.Select) and isinstance(right, exp.Select)) or right.find(exp.From):
        return False
    numbers = len(right.expressions) > 1 and all(
        isinstance(each, exp.Literal) and not each.is_string for each in right.expressions
    )
    return numbers and left.find(exp.From) is not None


def _emptied(query: Any) -> bool:
    """Tell whether a condition leaves nothing of a query, as `AND 1=2` before a UNION does."""
    from sqlglot import exp

    where = query.args.get("where") if isinstance(query, exp.Select) else None
    if where is None:
        return False
    parts = where.this.flatten() if isinstance(where.this, exp.And) else (where.this,)
    return any(_always_false(each) for each in parts)


def _create(node: Any, facts: dict[str, Any]) -> None:
    kind = str(node.args.get("kind") or "").upper()
    if kind in ("FUNCTION", "PROCEDURE", "TRIGGER"):
        _hidden(node.sql(), facts)
    elif node.args.get("replace") and kind == "TABLE":
        # What was there is gone.
        facts["sql.kinds_hidden"] = (*facts.get("sql.kinds_hidden", ()), "drop")


def _command(node: Any, facts: dict[str, Any], tables: dict[str, None]) -> None:
    """Look into what the library keeps as text: procedures, dynamic SQL, what a dialect has for itself."""
    head, rest = str(node.this).lower(), _text(node)
    if head in ("explain", "show"):
        return
    budget.check()
    if head == "set" and re.match(r"\s*password\b", rest, re.IGNORECASE):
        facts["sql.kinds_hidden"] = (*facts.get("sql.kinds_hidden", ()), "grant")
    if head == "create" and re.match(r"\s*(?:or\s+replace\s+)?(?:user|role|login)\b", rest, re.IGNORECASE):
        facts["sql.kinds_hidden"] = (*facts.get("sql.kinds_hidden", ()), "grant")
    _hidden(rest, facts)
    lowered = rest.lower()
    facts["sql.escapes"] |= head in ("copy", "load") or any(name in lowered for name in _ESCAPES)
    facts["sql.delays"] |= head == "waitfor" or any(f"{name}(" in lowered for name in _DELAYS)
    tables.update(dict.fromkeys(re.findall(r"(?:from|table|into)\s+([a-z_][a-z0-9_.]*)", lowered)[:20]))


def _hidden(text: str, facts: dict[str, Any]) -> None:
    """Look into a text of statements: what a procedure, a function or dynamic SQL would run."""
    facts["sql.kinds_hidden"] = (
        *facts.get("sql.kinds_hidden", ()),
        *(m.lower() for m in _HIDDEN_KIND.findall(text)),
    )
    for part in text.split(";"):
        change = _CHANGES.search(part)
        if change is not None and _WHERE.search(part, change.end()) is None:
            facts["sql.has_where"] = False


def holds_for_all(node: Any) -> bool:
    """Tell whether a condition picks no rows: it is always true, or looks at no column and is not always false."""
    from sqlglot import exp

    return always_true(node) or (node.find(exp.Column) is None and not _always_false(node))


def always_true(node: Any) -> bool:
    """Tell whether a condition holds whatever the row: `1=1`, `'a'='a'`, `x = x`, `TRUE`, `2 > 1`, `LIKE '%'`."""
    from sqlglot import exp

    budget.spend()
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Literal):
        return not node.is_string and node.name not in ("0", "0.0")
    if isinstance(node, exp.And):
        return always_true(node.left) and always_true(node.right)
    if isinstance(node, exp.Or):
        return always_true(node.left) or always_true(node.right)
    if isinstance(node, exp.Not):
        return _always_false(node.this)
    if isinstance(node, exp.Like | exp.ILike):
        return set(node.expression.name) == {"%"}
    if isinstance(node, exp.In) and isinstance(node.this, exp.Literal):
        return any(each == node.this for each in node.expressions)
    if isinstance(node, exp.EQ | exp.GTE | exp.LTE | exp.NullSafeEQ) and _bare(node.left) == _bare(
        node.right
    ):
        return True
    return _compared(node) is True


def _bare(node: Any) -> Any:
    from sqlglot import exp

    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _always_false(node: Any) -> bool:
    from sqlglot import exp

    node = _bare(node)
    if isinstance(node, exp.Boolean):
        return not node.this
    if isinstance(node, exp.Literal):
        return not node.is_string and node.name == "0"
    return _compared(node) is False


def _compared(node: Any) -> bool | None:
    """Return what comparing two constants gives; None where they are none."""
    from sqlglot import exp

    if not isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
        return None
    left, right = _bare(node.left), _bare(node.right)
    if not (isinstance(left, exp.Literal) and isinstance(right, exp.Literal)):
        return None
    one: Any = left.name
    other: Any = right.name
    if not (left.is_string and right.is_string):
        try:
            one, other = float(one), float(other)
        except ValueError:
            return None
    told: bool = {
        exp.EQ: one == other, exp.NEQ: one != other, exp.GT: one > other,
        exp.GTE: one >= other, exp.LT: one < other, exp.LTE: one <= other,
    }[type(node)]  # fmt: skip
    return told
