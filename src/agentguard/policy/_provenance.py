"""Conditions on where an argument came from.

A rule that forbids holds if any of the arguments it speaks of is as described, a rule that permits only if all
are. What an argument's parts came from is taken together first: a list with one untrusted entry is untrusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agentguard.core import Glob, Integrity, Label, PolicyError, Provenance, Sensitivity
from agentguard.policy._found import origin_found, origin_wanted
from agentguard.policy._pointer import pointer
from agentguard.policy._rule import ProvenanceCondition, SensitivityRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentguard.policy._facts import Facts

ANY_ARGUMENT = "*"
# The category of all that the label store had no room to tell apart.
_OTHER = "other"
_ABSENT: Any = object()
_PLAIN = frozenset((str, int, float, bool, type(None)))

# The joined label and the sources of one argument.
Origin = tuple[Label, tuple[str, ...]]
OriginTest = Callable[[Label, tuple[str, ...]], bool]


class CompiledProvenance(NamedTuple):
    """A condition on where an argument came from, ready to be asked; `found` says where it did come from."""

    text: str
    test: Callable[[Facts], bool]
    found: Callable[[Facts, bool], str]


def compile_provenance(name: str, condition: ProvenanceCondition, *, unknown: bool) -> CompiledProvenance:
    """Return a text, a test, and what says what was found; `unknown` is the answer where that is not known.

    Raises:
        PolicyError: the condition says nothing, or `name` is no parameter and no JSON pointer.
    """
    fits = origin_test(condition, forbids=unknown)
    if fits is None:
        raise PolicyError(f"condition on the provenance of `{name}` says nothing")
    steps = pointer(name)
    # What has no parts and stands in nothing but the request: its provenance is one entry.
    plain = len(steps) == 1
    path = path_of(steps)

    def test_one(facts: Facts) -> bool:
        provenance = facts.provenance
        if provenance is None:
            return unknown
        value = _value(facts.params, steps)
        if value is _ABSENT:
            return unknown
        direct = provenance.get(path)
        if direct is not None and plain and type(value) in _PLAIN and "" not in provenance:
            return fits(direct.label, direct.sources)
        origin = origin_of(provenance, path)
        return unknown if origin is None else fits(*origin)

    def test_any(facts: Facts) -> bool:
        if facts.provenance is None:
            return unknown
        paths = [path_of((key,)) for key in facts.params]
        answers = (origin_of(facts.provenance, each) for each in paths)
        holds = (unknown if origin is None else fits(*origin) for origin in answers)
        return any(holds) if unknown else bool(paths) and all(holds)

    def found(facts: Facts, _conceal: bool) -> str:  # noqa: FBT001 - as a predicate calls it
        paths = [path_of((key,)) for key in facts.params] if name == ANY_ARGUMENT else [path]
        origins = [(each, *(origin_of(facts.provenance or {}, each) or (None, ()))) for each in paths]
        # Of all arguments those that fail a permit are to blame.
        if name == ANY_ARGUMENT and not unknown:
            origins = [each for each in origins if each[1] is None or not fits(each[1], each[2])]
        if name != ANY_ARGUMENT and _value(facts.params, steps) is _ABSENT:
            return f"`{path}` is not given, the rule wants {origin_wanted(condition)}"
        return origin_found(origins, condition)

    text = f"provenance of {name} {_describe(condition)}"
    return CompiledProvenance(text, test_any if name == ANY_ARGUMENT else test_one, found)


def origin_test(condition: ProvenanceCondition, *, forbids: bool) -> OriginTest | None:
    """Return what tells whether one origin is as `condition` says; None where that says nothing.

    Raises:
        PolicyError: its `min` is above its `max`.
    """
    tests = tuple(_tests(condition, forbids=forbids))

    def fits(label: Label, sources: tuple[str, ...]) -> bool:
        # A loop: the generator that `all` wants costs more than the tests.
        for test in tests:  # noqa: SIM110 - see above
            if not test(label, sources):
                return False
        return True

    return fits if tests else None


def path_of(steps: tuple[str, ...]) -> str:
    """Return the JSON pointer of these steps (RFC 6901)."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def origin_of(provenance: Mapping[str, Provenance], path: str) -> Origin | None:
    """Return the label and the sources of the argument at `path`, its parts joined; None if not known."""
    below = f"{path}/"
    found = [each for at, each in provenance.items() if at == path or at.startswith(below)]
    # Of a part of an argument that was traced as a whole, and of a request that was, the whole counts.
    at = path
    while at:
        at = at.rpartition("/")[0]
        if at in provenance:
            found.append(provenance[at])
    if not found:
        return None
    label = found[0].label
    for each in found[1:]:
        label = label.join(each.label)
    return label, tuple(dict.fromkeys(source for each in found for source in each.sources))


def _value(params: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if isinstance(params, dict) and step in params:
            params = params[step]
        elif isinstance(params, list) and step.isdecimal() and int(step) < len(params):
            params = params[int(step)]
        else:
            return _ABSENT
    return params


def _many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _tests(condition: ProvenanceCondition, *, forbids: bool) -> Iterator[OriginTest]:
    if condition.integrity is not None:
        levels = _many(condition.integrity)
        yield lambda label, _: label.integrity in levels
    if condition.confidentiality is not None:
        allowed = levels_of(condition.confidentiality)
        yield lambda label, _: label.confidentiality in allowed
    if condition.category is not None:
        wanted = frozenset(_many(condition.category))
        if forbids:
            wanted |= {_OTHER}
            yield lambda label, _: not wanted.isdisjoint(label.categories)
        else:
            yield lambda label, _: bool(label.categories) and wanted.issuperset(label.categories)
    if condition.source is not None:
        yield _sources(_many(condition.source), forbids=forbids)


def _sources(patterns: tuple[str, ...], *, forbids: bool) -> OriginTest:
    names = frozenset(each for each in patterns if "*" not in each)
    globs = tuple(Glob(each) for each in patterns if "*" in each)

    def test(_: Label, sources: tuple[str, ...]) -> bool:
        # No source: a model may have written it after any of them.
        if not sources:
            return forbids
        for source in sources:
            if (source in names or any(glob.matches(source) for glob in globs)) is forbids:
                return forbids
        return not forbids

    return test


def levels_of(wanted: SensitivityRange | Sensitivity | tuple[Sensitivity, ...]) -> frozenset[Sensitivity]:
    """Return the levels of confidentiality that are wanted.

    Raises:
        PolicyError: there are none.
    """
    if not isinstance(wanted, SensitivityRange):
        return frozenset(_many(wanted))
    low = wanted.min.weight if wanted.min else 1
    high = wanted.max.weight if wanted.max else len(Sensitivity)
    if (wanted.min is None and wanted.max is None) or low > high:
        raise PolicyError("confidentiality needs `min` or `max`, and no `min` above `max`")
    return frozenset(level for level in Sensitivity if low <= level.weight <= high)


def _describe(condition: ProvenanceCondition) -> str:
    parts = []
    for name in ("integrity", "confidentiality", "category", "source"):
        wanted = getattr(condition, name)
        if isinstance(wanted, SensitivityRange):
            low, high = (level.value if level else "" for level in (wanted.min, wanted.max))
            parts.append(f"{name} in {low}..{high}")
        elif wanted is not None:
            values = (
                each.value if isinstance(each, Integrity | Sensitivity) else each for each in _many(wanted)
            )
            parts.append(f"{name} in {', '.join(values)}")
    return " and ".join(parts)
