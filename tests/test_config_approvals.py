from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentguard.config import load_config
from agentguard.core import ConfigError, Risk

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "project: {id: shop-1}\n"


def load(folder: Path, section: str) -> None:
    (folder / "agentguard.yaml").write_text(f"{PROJECT}approvals:\n{section}")
    load_config(folder, {})


def test_routes_and_stand_ins_are_read(tmp_path: Path) -> None:
    text = """
  critical_s: 60
  routes:
    first: {risk: [high], people: [anna], quorum: {approve: 1}, escalate: [{after_s: 5, groups: [leads]}]}
    calm: {risk: [low, medium], at_zero: allow, amount: /n, amount_from: 5}
  stand_ins:
    anna: [{by: ben, since: 2026-12-24, until: 2026-12-31}]
"""
    (tmp_path / "agentguard.yaml").write_text(f"{PROJECT}approvals:{text}")
    settings = load_config(tmp_path, {"AGENTGUARD_APPROVALS_HIGH_S": "90"}).approvals
    assert [settings.limit_s(risk) for risk in Risk] == [86_400, 14_400, 90, 60]
    assert list(settings.routes) == ["first", "calm"]
    (away,) = settings.stand_ins["anna"]
    assert str(away.since) == "2026-12-24"


def test_engine_and_store_are_read(tmp_path: Path) -> None:
    text = """
  engine: temporal
  store: redis
  url: file:/run/secrets/redis
  temporal: {address: "temporal.internal:7233"}
"""
    (tmp_path / "agentguard.yaml").write_text(f"{PROJECT}approvals:{text}")
    settings = load_config(tmp_path, {}).approvals
    assert settings.temporal is not None
    assert settings.temporal.namespace == "agentguard"
    assert settings.url == "file:/run/secrets/redis"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("  temporal: {tls: {key: env:KEY}}\n", "`cert_file` and `key` go together"),
        ("  routes: {r: {at_zero: allow}}\n", "`at_zero: allow` is for low and medium risk alone"),
        ("  routes: {r: {at_zero: allow, risk: [low, high]}}\n", "low and medium risk alone"),
        ("  routes: {r: {amount: /n}}\n", "asks nothing"),
        ("  routes: {r: {amount: n, amount_from: 1}}\n", "amount"),
        ("  routes: {r: {people: [a], quorum: {approve: 2}}}\n", "fewer people may vote"),
        ("  routes: {r: {quorum: {approve: 0}}}\n", ">= 1"),
        ("  routes: {r: {escalate: [{after_s: 5}]}}\n", "nobody is asked"),
        (
            "  routes: {r: {escalate: [{after_s: 5, people: [a]}, {after_s: 5, people: [b]}]}}\n",
            "does not grow",
        ),
        ("  routes: {r: {people: [a], color: red}}\n", "unknown key `color`"),
        ("  stand_ins: {a: [{by: a}]}\n", "stands in for themselves"),
        ("  stand_ins: {a: [{by: b, since: 2026-12-31, until: 2026-12-24}]}\n", "`until` is before `since`"),
        ("  critical_s: 0\n", "critical_s"),
        ("  store: redis\n", "`store: redis` needs `url`"),
        ("  store: mysql\n", "mysql"),
        ("  store: postgres\n  url: postgresql://me:secret@host/db\n", "url"),
        ("  url: env:X\n", "SQLite has no address"),
        ("  temporal: {address: 'here:7233'}\n", "does nothing with `engine: embedded`"),
        ("  engine: temporal\n  temporal: {address: here}\n", "address"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, section)
    assert message in str(caught.value)


def test_more_people_later_make_a_quorum(tmp_path: Path) -> None:
    load(
        tmp_path,
        "  routes: {r: {people: [a], quorum: {approve: 2}, escalate: [{after_s: 5, people: [b]}]}}\n",
    )
