"""The words of everyday English that sentences and the names of tools are read by: `english.json`.

They name no tool and no trade. A word that is missing here costs a question to a person, and lets nothing through.
"""

from __future__ import annotations

from importlib import resources

import msgspec


class Vocabulary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lists of words, apart by spaces.

    `kinds`: verbs by the kind of change; `objects`: what makes a verb of several kinds one of this kind; `generic`: verbs that say little without their object; `nouns`: verbs that are
    nouns too; `before_a_verb`: what an imperative stands behind; `reading`: beginnings of sentences that are no names;
    `stop`, `plain`: words that pick nothing out; `slots`: words by the shape of what they speak of; `mailing`: what makes
    an address one of mail; `many`: what speaks of more than one; `low`, `high`: ends of a scale; `computing`: what asks
    for arithmetic; `numbers`: one, two …; `deeds`: nouns
    and the verbs that they stand for, `asked_deeds` those of them that alone make a wish; `joints`: what
    ends the object of a verb; `making`: verbs whose object need not be there yet; `light`: verbs that leave the
    meaning to their object, `vague`: objects that say nothing; `asking`: what begins a question in a sentence; `reporting`: phrases, by commas, that ask for
    an answer and for no change; `replies`: what asks to turn to whoever wrote; `persons`: what stands before a
    name; `owners`, `identities`: names of fields that say whose a record is, and who somebody is.
    """

    kinds: dict[str, str]
    objects: dict[str, str]
    generic: str
    nouns: str
    before_a_verb: str
    reading: str
    stop: str
    plain: str
    slots: dict[str, str]
    mailing: str
    many: str
    low: str
    high: str
    computing: str
    numbers: str
    deeds: str
    asked_deeds: str
    joints: str
    asking: str
    making: str
    light: str
    vague: str
    reporting: str
    replies: str
    persons: str
    owners: str
    identities: str


ENGLISH = msgspec.json.decode(
    (resources.files("agentguard.intent") / "english.json").read_bytes(), type=Vocabulary
)


def words(text: str) -> frozenset[str]:
    """Return a list of words as a set."""
    return frozenset(text.split())


STOP = words(ENGLISH.stop)
PLAIN = words(ENGLISH.plain)
GENERIC = words(ENGLISH.generic)
NOUNS = words(ENGLISH.nouns)
BEFORE_A_VERB = words(ENGLISH.before_a_verb)
READING = words(ENGLISH.reading)
MANY = words(ENGLISH.many)
COMPUTING = words(ENGLISH.computing)
REPLIES = words(ENGLISH.replies)
PERSONS = words(ENGLISH.persons)
MAILING = words(ENGLISH.mailing)
OWNERS = words(ENGLISH.owners)
IDENTITIES = words(ENGLISH.identities)
DEEDS = dict(each.split(":") for each in ENGLISH.deeds.split())
ASKED_DEEDS = words(ENGLISH.asked_deeds)
JOINTS = words(ENGLISH.joints)
ASKING = words(ENGLISH.asking)
REPORTING = tuple(phrase.strip() for phrase in ENGLISH.reporting.split(","))
LIGHT = words(ENGLISH.light)
VAGUE = words(ENGLISH.vague)
MAKING = words(ENGLISH.making)
NUMBERS = {word: str(number) for number, word in enumerate(ENGLISH.numbers.split(), start=1)}
ENDS = {-1: words(ENGLISH.low), 1: words(ENGLISH.high)}

KINDS: dict[str, frozenset[str]] = {}
for _kind, _verbs in ENGLISH.kinds.items():
    for _verb in _verbs.split():
        KINDS[_verb] = KINDS.get(_verb, frozenset()) | {_kind}

OBJECT_KINDS = {word: kind for kind, names in ENGLISH.objects.items() for word in names.split()}

SLOTS: dict[str, frozenset[str]] = {}
for _shape, _names in ENGLISH.slots.items():
    for _name in _names.split():
        SLOTS[_name] = SLOTS.get(_name, frozenset()) | {_shape}


def is_telling(token: str) -> bool:
    """Tell whether a word can pick a record out among others; numbers of one or two digits stand everywhere."""
    few = 2 if token.isdigit() else 1
    return len(token) > few and token not in STOP and token not in PLAIN
