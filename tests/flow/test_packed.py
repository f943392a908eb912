"""Packed labels are the labels: the same lattice, in integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentguard.core import Integrity, Label, Sensitivity
from agentguard.flow import LabelTable, dominates
from agentguard.flow._packed import (
    MAX_CATEGORIES,
    MAX_READERS,
    MILDEST,
    OTHER,
    with_confidentiality,
    with_integrity,
)

NAMES = st.lists(st.sampled_from(["anna", "bert", "a.example", "b.example"]), max_size=4).map(tuple)
labels = st.builds(
    Label,
    st.sampled_from(list(Integrity)),
    st.sampled_from(list(Sensitivity)),
    st.lists(st.sampled_from(["personal", "health", "code"]), max_size=3).map(tuple),
    st.none() | NAMES,
)


@given(labels)
def test_label_survives_packing(label: Label) -> None:
    table = LabelTable()
    assert table.unpack(table.pack(label)) == label


@given(labels, labels)
def test_packed_labels_join_as_labels_do(one: Label, two: Label) -> None:
    table = LabelTable()
    assert table.unpack(table.pack(one) | table.pack(two)) == one.join(two)


@given(labels, labels, labels)
def test_join_is_a_least_upper_bound(one: Label, two: Label, three: Label) -> None:
    table = LabelTable()
    a, b, c = map(table.pack, (one, two, three))
    assert a | a == a
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert dominates(a | b, a)
    assert dominates(a | b, b)
    assert dominates(c, a | b) == (dominates(c, a) and dominates(c, b))
    assert dominates(a, MILDEST)
    assert dominates(-1, a)


@given(labels, st.sampled_from(list(Integrity)), st.sampled_from(list(Sensitivity)))
def test_regrading_never_makes_a_label_stricter(
    label: Label, integrity: Integrity, confidentiality: Sensitivity
) -> None:
    table = LabelTable()
    packed = table.pack(label)
    raised = table.unpack(with_integrity(packed, integrity))
    assert raised.integrity.rank == max(label.integrity.rank, integrity.rank)
    lowered = table.unpack(with_confidentiality(packed, confidentiality))
    assert lowered.confidentiality.weight == min(label.confidentiality.weight, confidentiality.weight)
    assert dominates(packed, with_confidentiality(with_integrity(packed, integrity), confidentiality))


def test_categories_beyond_the_table_share_one_bit() -> None:
    table = LabelTable()
    for number in range(MAX_CATEGORIES * 2):
        table.pack(Label(categories=(f"c{number}",)))
    assert table.unpack(table.pack(Label(categories=("c0",)))).categories == ("c0",)
    assert table.unpack(table.pack(Label(categories=("c99",)))).categories == (OTHER,)
    assert table.unpack(table.pack(Label(categories=(OTHER,)))).categories == (OTHER,)


def test_readers_beyond_the_table_may_not_read() -> None:
    table = LabelTable()
    for number in range(MAX_READERS * 2):
        table.pack(Label(readers=(f"r{number}",)))
    label = Label(readers=("r0", f"r{MAX_READERS + 1}"))
    assert table.unpack(table.pack(label)).readers == ("r0",)


def test_caches_of_the_table_are_bounded() -> None:
    table = LabelTable(categories=tuple(f"c{number}" for number in range(20)))
    for number in range(10_000):
        names = tuple(f"c{bit}" for bit in range(20) if number >> bit & 1)
        assert table.unpack(table.pack(Label(categories=names))).categories == tuple(sorted(names))
    assert len(table._packed) <= 4096
    assert len(table._labels) <= 4096
