"""From the arguments of a request to facts, lazily and cached."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec

from agentguard.core import FACTS, NO_FACTS, ArgumentFacts, resource_type_of
from agentguard.facts._budget import SlowError, UnparsedError
from agentguard.facts._flow import is_sensitive, leaves, reads_sensitive
from agentguard.facts._lists import HostList, shipped_lists
from agentguard.facts._mail import mail_facts
from agentguard.facts._merge import merge_facts
from agentguard.facts._net import address_facts, host_facts, port_facts, url_facts
from agentguard.facts._path import path_facts
from agentguard.facts._plan import FAMILIES, PUT_TOGETHER, SCHEMES, Plan, make_plan, stated_by, values_at
from agentguard.facts._sql_text import text_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agentguard.core import Action, Resource

CACHED_TEXTS = 1024
_ONE_EACH = frozenset(("path", "url", "host"))
CACHED_BYTES = 8192
_KNOWN_IDS = 4096
_MAX_VALUES = 200
# A source and texts for each family that is slow at first; the second of SQL is tried on each dialect.
_EXAMPLES = {
    "sql": ("sql", "SELECT 1 -- one", "SELECT ("),
    "shell": ("shell", "ls"),
    "net": ("url", "https://localhost/"),
}
_SHELL_LANGUAGES = frozenset(("bash", "sh", "shell", "zsh"))


class FactSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project says of itself: hosts that it approves of (names, CIDR), its own mail domains."""

    allowed_hosts: tuple[str, ...] = ()
    mail_domains: tuple[str, ...] = ()


class FactExtractor:
    """Works out facts about arguments. Safe to use from many threads.

    Which argument is what is declared in the action's schema (`facts: sql`) and by the scheme of the resource's
    id; nothing is guessed from names. What cannot be read is `<family>.unparsed`, never an error.

    Raises:
        ValueError: an allowed host is neither a name nor a network.
    """

    def __init__(self, settings: FactSettings | None = None) -> None:
        settings = settings or FactSettings()
        self._own_hosts = HostList(settings.allowed_hosts)
        self._domains = frozenset(each.lower().lstrip("@").rstrip(".") for each in settings.mail_domains)
        self._plans: dict[str, Plan] = {}
        self._families: dict[tuple[str, str], tuple[str, ...]] = {}
        self._schemes: dict[str, str] = {}
        self._cached = lru_cache(maxsize=CACHED_TEXTS)(self._parse)

    def view(self, action: Action, params: Mapping[str, Any], resource: Resource) -> ArgumentFacts:
        """Return the facts of a request, worked out when the first is asked for."""
        plan = self._plan(action)
        families = self._families_of(plan, resource.id)
        if plan.gives and "flow" not in families and is_sensitive(resource):
            families = (*families, "flow")
        if not families:
            return NO_FACTS
        return ArgumentFacts(families, partial(self._extract, plan, params, resource))

    def warm(self, actions: Iterable[Action]) -> None:
        """Make now what reading the arguments of these actions takes, and else the first request would wait for.

        Takes about a tenth of a second of CPU time where a parameter holds SQL, and next to none the second time.
        """
        families = {family for each in actions for family in make_plan(each).families}
        for family in sorted(families & _EXAMPLES.keys()):
            source, *texts = _EXAMPLES[family]
            for text in texts:
                self._parse(source, text)

    def extract(self, action: Action, params: Mapping[str, Any], resource: Resource) -> Mapping[str, Any]:
        """Return every fact of a request, by name (`core.FACTS`)."""
        return self.view(action, params, resource).all()

    def stated(self, action: Action, resource_id: str = "") -> frozenset[str]:
        """Return the names of all facts that requests for `action` on that resource can state."""
        found = PUT_TOGETHER.union(*(stated_by(source) for source, _ in self._plan(action).places))
        kind = resource_id.partition(":")[0] if ":" in resource_id else ""
        families = SCHEMES.get(kind, ())
        return found.union(name for name, spec in FACTS.items() if spec.family in families)

    def _plan(self, action: Action) -> Plan:
        plan = self._plans.get(action.reference)
        if plan is None or plan.action is not action:
            plan = self._plans[action.reference] = make_plan(action)
            self._families.clear()
        return plan

    def _scheme_of(self, resource_id: str) -> str:
        """Return the scheme of a resource if it says what the resource is, else nothing."""
        scheme = self._schemes.get(resource_id)
        if scheme is None:
            if len(self._schemes) >= _KNOWN_IDS:
                self._schemes.clear()
            kind = resource_type_of(resource_id) if ":" in resource_id else ""
            scheme = self._schemes[resource_id] = kind if kind in SCHEMES else ""
        return scheme

    def _families_of(self, plan: Plan, resource_id: str) -> tuple[str, ...]:
        scheme = self._scheme_of(resource_id)
        if not scheme:
            return plan.families
        key = (plan.action.reference, scheme)
        families = self._families.get(key)
        if families is None:
            families = tuple(dict.fromkeys((*plan.families, *SCHEMES[scheme])))
            self._families[key] = families
        return families

    def _extract(self, plan: Plan, params: Mapping[str, Any], resource: Resource) -> Mapping[str, Any]:
        own = list(self._of_resource(plan, resource)) if self._scheme_of(resource.id) else []
        ours = _hosts_of(own)
        found = list(self._of_params(plan, params))
        theirs = _hosts_of(found)
        if resource.listed and ours:
            own = [_in_inventory(facts, ours) for facts in own]
            found = [_in_inventory(facts, ours) for facts in found]
        parts = [*own, *found]
        merged = merge_facts(parts) if len(parts) != 1 else {**parts[0]}
        if ours or theirs:
            merged["net.mismatch"] = bool(ours and theirs - ours)
            merged["net.egress"] = plan.egress
        merged["flow.egress"] = leaves(plan, resource, parts, merged)
        merged["flow.sensitive"] = reads_sensitive(plan, resource, merged)
        return merged

    def _of_resource(self, plan: Plan, resource: Resource) -> Iterator[Mapping[str, Any]]:
        scheme, _, rest = resource.id.partition(":")
        if scheme not in SCHEMES:
            return
        if scheme == "file":
            yield self._facts_of(f"path:{plan.access}", rest)
        elif scheme == "mailto":
            yield self._facts_of("mail", rest.partition("?")[0])
        else:
            yield self._facts_of(
                "host" if scheme == "host" else "url", rest if scheme == "host" else resource.id
            )

    def _of_params(self, plan: Plan, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        languages = (value for path in plan.languages for value in values_at(params, path))
        language = next(languages, None) if plan.languages else None
        seen = 0
        for source, path in plan.places:
            for value in values_at(params, path):
                seen += 1
                if seen > _MAX_VALUES:
                    yield {
                        f"{family}.unparsed": True
                        for family in plan.families
                        if family not in ("data", "flow")
                    }
                    return
                kind = _code_kind(language) if source == "code" else source
                if kind == "path":
                    kind = f"path:{plan.access}"
                if kind is not None and kind != "language":
                    # Of one each: a list of paths, URLs or hosts states what its entries state.
                    one_by_one = type(value) is list and kind.partition(":")[0] in _ONE_EACH
                    for each in value if one_by_one else (value,):
                        yield self._facts_of(kind, each)

    def _facts_of(self, source: str, value: Any) -> Mapping[str, Any]:
        if type(value) is list:
            if not all(type(each) is str for each in value):
                return _unparsed(source)
            value = tuple(value)
        elif type(value) not in (str, int):
            return _unparsed(source) if value is not None else {}
        size = len(value) if type(value) is str else sum(map(len, value)) if type(value) is tuple else 0
        return self._cached(source, value) if size <= CACHED_BYTES else self._parse(source, value)

    def _parse(self, source: str, value: Any) -> Mapping[str, Any]:
        """Return the facts of one argument; what cannot be read is said to be so."""
        try:
            try:
                return self._read(source, value)
            except SlowError:
                if type(value) is str and len(value) > CACHED_BYTES:
                    raise
                # Once more: the collector of garbage can eat the time of a short text, but hardly twice.
                return self._read(source, value)
        except (
            UnparsedError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            LookupError,
            ArithmeticError,
        ):
            # The parsers are other people's: whatever they trip over is a text that could not be read.
            more = text_facts(value) if source.startswith("sql") and type(value) is str else {}
            return {**_unparsed(source), **more}

    def _read(self, source: str, value: Any) -> Mapping[str, Any]:
        kind, _, detail = source.partition(":")
        if kind == "sql":
            from agentguard.facts._sql import sql_facts

            return sql_facts(value, detail or None)
        if kind in ("shell", "argv"):
            from agentguard.facts._shell import argv_facts, shell_facts

            facts = dict(argv_facts(list(value)) if kind == "argv" else shell_facts(value))
            return self._with_hosts(facts)
        if kind == "path":
            return path_facts(value, detail)
        if kind == "url":
            return url_facts(value, self._lists())
        if kind == "host":
            return host_facts(value, self._lists())
        if kind == "port":
            return port_facts(value)
        if kind == "address":
            return address_facts(value)
        if kind == "mail":
            return mail_facts(value, self._domains)
        name = {"rows": "data.rows", "bytes": "data.bytes", "attachment-bytes": "mail.attachment_bytes"}[kind]
        return {name: value}

    def _with_hosts(self, facts: dict[str, Any]) -> Mapping[str, Any]:
        """Add what a command line says of the network and asks of databases."""
        urls, hosts, sql = facts.pop("urls"), facts.pop("hosts"), facts.pop("sql")
        named = [self._facts_of("url", each) for each in urls[:_MAX_VALUES]]
        named += [self._facts_of("host", each) for each in hosts[:_MAX_VALUES]]
        # A script of several statements is what these clients are for.
        named += [{**self._facts_of("sql", each), "sql.stacked": False} for each in sql[:_MAX_VALUES]]
        return merge_facts([facts, *named])

    def _lists(self) -> Mapping[str, HostList]:
        return {**shipped_lists(), "project": self._own_hosts}


def _code_kind(language: Any) -> str | None:
    return "shell" if language in _SHELL_LANGUAGES else "sql" if language == "sql" else None


def _unparsed(source: str) -> dict[str, Any]:
    kind = source.partition(":")[0]
    family = FAMILIES[kind][0]
    return {} if family == "data" else {f"{family}.unparsed": True}


def _hosts_of(parts: list[Mapping[str, Any]]) -> set[str]:
    return {host for facts in parts if "net.host" in facts for host in facts["net.host"]}


def _in_inventory(facts: Mapping[str, Any], hosts: set[str]) -> Mapping[str, Any]:
    """The inventory is a list of hosts too: what it names is approved of."""
    if "net.host" not in facts or not set(facts["net.host"]) <= hosts:
        return facts
    lists = tuple(each for each in facts["net.list"] if each != "none")
    return {**facts, "net.allowed": True, "net.list": (*lists, "inventory")}
