"""Facts about arguments: the names that rules may use, and the sources that a schema may declare.

The vocabulary is here because three rooms share it that may not import each other: the registry checks that a
schema names known sources, the facts room fills in the values, and the rule language refuses names that nobody
fills in.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FactKind(enum.Enum):
    """The type of a fact's value; `texts` and `numbers` are lists without duplicates."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXTS = "texts"
    NUMBERS = "numbers"


class FactMerge(enum.Enum):
    """What becomes of a fact that several arguments of one request state."""

    ANY = "any"
    ALL = "all"
    MAX = "max"
    SUM = "sum"
    UNION = "union"


class FactSpec(msgspec.Struct, frozen=True):
    """One fact: absent where no argument says anything about it. `values` are all there are, if that is fixed."""

    name: str
    kind: FactKind
    description: str
    merge: FactMerge
    values: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """What stands before the dot."""
        return self.name.partition(".")[0]


SQL_DIALECTS = (
    "bigquery",
    "clickhouse",
    "duckdb",
    "mysql",
    "oracle",
    "postgres",
    "snowflake",
    "sqlite",
    "tsql",
)

# The values of the schema keyword `facts`: what it is said of a parameter that its text is.
FACT_SOURCES: Mapping[str, str] = {
    "sql": "SQL statements, the dialect unknown: read as several, the worst reading counts",
    **{f"sql:{name}": f"SQL statements in the dialect of {name}" for name in SQL_DIALECTS},
    "shell": "a command line for a POSIX shell or bash",
    "argv": "a list: program and arguments, run without a shell",
    "code": "source code in the language that the parameter declared as `language` names",
    "language": "the language of the parameter declared as `code`",
    "path": "a path; read where the action is tagged `read-only`, else written",
    "path:read": "a path that is read",
    "path:write": "a path that is written or deleted",
    "url": "an absolute URL",
    "host": "a host name or an IP address, with or without a port",
    "port": "a port number",
    "address": "the IP address that a host name was resolved to",
    "mail": "mail addresses: a text or a list of them",
    "rows": "the greatest number of rows or items that come back",
    "bytes": "a number of bytes that move",
    "attachment-bytes": "the size of a file attached to a message, in bytes",
}

_B, _N, _S, _NS, _T = FactKind.BOOLEAN, FactKind.NUMBER, FactKind.TEXTS, FactKind.NUMBERS, FactKind.TEXT
_DEFAULT_MERGE = {_B: FactMerge.ANY, _N: FactMerge.MAX, _S: FactMerge.UNION, _NS: FactMerge.UNION}

_ALL: tuple[tuple[str, FactKind, str], ...] = (
    ("sql.unparsed", _B, "a statement cannot be read, or not within the limits"),
    ("sql.statements", _N, "number of statements"),
    ("sql.stacked", _B, "there is more than one statement"),
    ("sql.kinds", _S, "kinds of statement at any depth: select, insert, update, delete, merge, create, alter, drop, truncate, grant, revoke, set, transaction, explain, show, copy, call, other"),
    ("sql.tables", _S, "tables that are named, in lower case, with their schema where it is written"),
    ("sql.has_where", _B, "each UPDATE and DELETE has a WHERE that is not always true"),
    ("sql.has_limit", _B, "the outermost query has a LIMIT, TOP or FETCH FIRST"),
    ("sql.limit", _N, "the greatest LIMIT that is written as a number"),
    ("sql.comment", _B, "there is a comment"),
    ("sql.comment_injection", _B, "a comment hides the rest of a statement, splits a keyword or is executed by MySQL"),
    ("sql.union", _B, "there is a UNION"),
    ("sql.union_injection", _B, "a UNION adds constants in place of a table, or the database's own catalogue"),
    ("sql.tautology", _B, "a condition is widened by OR with something always true"),
    ("sql.delays", _B, "a function makes the database wait, as blind injection does"),
    ("sql.escapes", _B, "a statement reads or writes files, runs programs or reaches other servers"),
    ("sql.system_tables", _B, "the database's own catalogue is read"),
    ("shell.unparsed", _B, "a command line cannot be read, or not within the limits"),
    ("shell.commands", _S, "names of all programs that would run, wherever they hide"),
    ("shell.dynamic", _B, "a program, or code that is run, is only known when the line runs"),
    ("shell.pipes_to_shell", _B, "what another program prints is run by a shell or an interpreter"),
    ("shell.downloads_and_runs", _B, "what is fetched from the network is run"),
    ("shell.deletes", _S, "what is deleted, as written after expansion"),
    ("shell.deletes_root", _B, "a deletion of folders goes for the system, a home, the working folder or something unknown"),
    ("shell.reads", _S, "paths that are named, other than those written"),
    ("shell.read_classes", _S, "classes of the paths that are named (see path.class)"),
    ("shell.writes", _S, "files that are written, by redirection or by a program"),
    ("shell.write_classes", _S, "classes of the files that are written (see path.class)"),
    ("shell.devices", _S, "devices that are written or formatted"),
    ("shell.formats", _B, "a file system is made, a disk partitioned or wiped"),
    ("shell.fork_bomb", _B, "a function or a script starts itself over and over"),
    ("shell.reverse_shell", _B, "a shell is tied to a network connection"),
    ("shell.encoded_payload", _B, "encoded text is decoded and run"),
    ("shell.log_tampering", _B, "logs or the command history are emptied, deleted or switched off"),
    ("shell.exports", _B, "a database or an archive is written to a temporary folder"),
    ("shell.privileged", _B, "sudo, doas, su or pkexec is used"),
    ("path.unparsed", _B, "a path cannot be normalised"),
    ("path.value", _S, "paths after normalisation"),
    ("path.class", _S, "account_file, password_hash, ssh_key, cloud_credential, secret_file, docker_socket, kernel, kernel_setting, process_memory, device, log, config, startup, sensitive_directory, temporary or ordinary"),
    ("path.access", _S, "read, write"),
    ("path.unusual", _B, "invisible characters, a hidden place below a temporary folder, or absurd length or depth"),
    ("path.export", _B, "a data file or an archive in a temporary folder"),
    ("net.unparsed", _B, "an address cannot be read"),
    ("net.host", _S, "hosts, in lower case; addresses in their canonical form"),
    ("net.port", _NS, "ports, with the default of the scheme"),
    ("net.scheme", _S, "schemes of URLs"),
    ("net.is_ip", _B, "a host is an IP address, in whatever spelling"),
    ("net.is_private", _B, "an address is private (RFC 1918, RFC 4193, RFC 6598)"),
    ("net.is_link_local", _B, "an address is link-local"),
    ("net.is_loopback", _B, "a host is this machine"),
    ("net.is_metadata", _B, "a host is a cloud's metadata service"),
    ("net.is_odd_spelling", _B, "an IP address is spelt as hardly anyone would: decimal, octal, hexadecimal, mapped"),
    ("net.suspicious_port", _B, "a port that is known for remote control or plain-text administration"),
    ("net.unusual_scheme", _B, "a scheme other than http, https, ws, wss and ssh"),
    ("net.protocol_violation", _B, "scheme and port contradict each other, or a URL carries a user or control characters"),
    ("net.mismatch", _B, "an argument names another host than the resource does"),
    ("net.allowed", _B, "every host is on a list, or this machine, or the resource is in the inventory"),
    ("net.list", _S, "the lists that hosts are on: llm, internal, third_party, project, inventory, none"),
    ("net.egress", _B, "the action sends data out: its sink is external and it is not tagged read-only"),
    ("mail.unparsed", _B, "a recipient is no mail address"),
    ("mail.recipients", _S, "addresses, in lower case"),
    ("mail.domains", _S, "domains of the recipients"),
    ("mail.external", _B, "a domain is none of the project's own; absent where the project names none"),
    ("mail.count", _N, "number of recipients"),
    ("mail.attachment_bytes", _N, "size of all attachments"),
    ("data.rows", _N, "the greatest number of rows or items that was asked for"),
    ("data.bytes", _N, "the greatest number of bytes that was asked for or is moved"),
    ("flow.egress", _B, "data leaves: the sink is external or a program sends, and who gets it is not known to be inside"),
    ("flow.sensitive", _B, "what is read is known to be sensitive: by the class of a file, the resource's sensitivity or the label of what the action gives back"),
)  # fmt: skip

_MERGE = {
    "sql.has_where": FactMerge.ALL,
    "sql.has_limit": FactMerge.ALL,
    "sql.statements": FactMerge.MAX,
    "net.allowed": FactMerge.ALL,
    "mail.count": FactMerge.SUM,
    "mail.attachment_bytes": FactMerge.SUM,
    "mail.external": FactMerge.ANY,
}

_PATH_CLASSES = (
    "account_file", "password_hash", "ssh_key", "cloud_credential", "secret_file", "docker_socket", "kernel",
    "kernel_setting",
    "process_memory", "device", "log", "config", "startup", "sensitive_directory", "temporary", "ordinary",
)  # fmt: skip
_VALUES: Mapping[str, tuple[str, ...]] = {
    "sql.kinds": (
        "select", "insert", "update", "delete", "merge", "create", "alter", "drop", "truncate", "grant",
        "revoke", "set", "transaction", "explain", "show", "copy", "call", "other",
    ),
    "shell.read_classes": _PATH_CLASSES,
    "shell.write_classes": _PATH_CLASSES,
    "path.class": _PATH_CLASSES,
    "path.access": ("read", "write"),
    "net.list": ("llm", "internal", "third_party", "project", "inventory", "none"),
}  # fmt: skip

FACTS: Mapping[str, FactSpec] = {
    name: FactSpec(name, kind, description, _MERGE.get(name, _DEFAULT_MERGE[kind]), _VALUES.get(name, ()))
    for name, kind, description in _ALL
}


class ArgumentFacts:
    """The facts of one request, worked out when the first of them is asked for.

    `families` are those of which something may be known: a fact of another family is surely absent. `found` is what
    was worked out, None before.
    """

    __slots__ = ("_load", "families", "found")

    def __init__(self, families: tuple[str, ...], load: Callable[[], Mapping[str, Any]]) -> None:
        self.families = families
        self._load = load
        self.found: Mapping[str, Any] | None = None

    def all(self) -> Mapping[str, Any]:
        """Return every fact that is known."""
        found = self.found
        if found is None:
            found = self.found = self._load()
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return a fact, or `default` where nothing states it."""
        return self.all().get(name, default)


NO_FACTS = ArgumentFacts((), dict)
