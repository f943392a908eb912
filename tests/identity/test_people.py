"""People's accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from argon2 import PasswordHasher

from agentguard.core import IdentityError, Person
from agentguard.identity import Account, People, StateFolder

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "correct horse battery"
# The real function with small parameters: its cost is not what is tested here.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder.open("people-test", {"XDG_STATE_HOME": str(tmp_path)})


@pytest.fixture
def people(state: StateFolder) -> People:
    return People(state, hasher=CHEAP)


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(IdentityError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_added_person_logs_in_and_has_roles_and_groups(people: People) -> None:
    people.add("dana", GOOD, roles=["approver", "viewer"], groups=["ops"])
    assert people.login("dana", GOOD).person == Person(
        "dana", frozenset({"viewer", "approver"}), frozenset({"ops"})
    )
    assert [each.name for each in people.list()] == ["dana"]


def test_password_is_kept_as_argon2id_of_the_recommended_parameters(state: StateFolder) -> None:
    People(state).add("dana", GOOD)
    text = state.read("people.json").decode()
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in text
    assert GOOD not in text


@pytest.mark.parametrize(
    ("name", "password"),
    [("dana", GOOD + "."), ("nobody", GOOD), ("Dana", GOOD), ("dana", ""), ("dana", GOOD * 100)],
)
def test_wrong_name_or_password_is_one_and_the_same_refusal(people: People, name: str, password: str) -> None:
    people.add("dana", GOOD)
    with pytest.raises(IdentityError, match="belong to nobody") as caught:
        people.login(name, password)
    assert caught.value.code == "login_failed"


@pytest.mark.parametrize(
    ("name", "password", "roles", "groups", "code"),
    [
        ("Dana", GOOD, [], [], "person_invalid"),
        ("", GOOD, [], [], "person_invalid"),
        ("a" * 65, GOOD, [], [], "person_invalid"),
        ("dana\n", GOOD, [], [], "person_invalid"),
        ("dana", "short", [], [], "password_weak"),
        ("dana", "aaaabbbbccccdddd", [], [], "password_weak"),
        ("dana", "dana12345678", [], [], "password_weak"),
        ("dana", "x" * 257, [], [], "password_weak"),
        ("dana", GOOD, ["root"], [], "person_invalid"),
        ("dana", GOOD, [], ["Ops"], "person_invalid"),
    ],
)
def test_malformed_account_is_refused(
    people: People, name: str, password: str, roles: list[str], *, groups: list[str], code: str
) -> None:
    assert code_of(people.add, name, password, roles=roles, groups=groups) == code
    assert people.list() == []


def test_name_is_taken_once(people: People) -> None:
    people.add("dana", GOOD)
    assert code_of(people.add, "dana", GOOD) == "person_invalid"


def test_changes_are_seen_by_other_processes(state: StateFolder, people: People) -> None:
    other = People(state, hasher=CHEAP)
    people.add("dana", GOOD)
    assert other.login("dana", GOOD).roles == ()
    people.set_roles("dana", ["admin"])
    people.set_groups("dana", ["b", "a", "a"])
    found = other.find("dana")
    assert found is not None
    assert (found.roles, found.groups) == (("admin",), ("a", "b"))


def test_disabled_person_cannot_log_in_until_enabled(people: People) -> None:
    before = people.add("dana", GOOD)
    after = people.set_disabled("dana", disabled=True)
    assert after.changed > before.changed
    assert people.find("dana") is None
    assert code_of(people.login, "dana", GOOD) == "login_failed"
    people.set_disabled("dana", disabled=False)
    assert people.login("dana", GOOD).name == "dana"


def test_new_password_takes_the_place_of_the_old(people: People) -> None:
    before = people.add("dana", GOOD)
    after = people.set_password("dana", "another fine phrase")
    assert after.changed > before.changed
    assert code_of(people.login, "dana", GOOD) == "login_failed"
    assert people.login("dana", "another fine phrase").name == "dana"
    assert code_of(people.set_password, "dana", "short") == "password_weak"


def test_who_is_not_there_cannot_be_changed(people: People) -> None:
    assert code_of(people.set_roles, "dana", []) == "person_unknown"


def test_old_parameters_are_replaced_at_the_next_login(state: StateFolder, people: People) -> None:
    people.add("dana", GOOD)
    stronger = People(state, hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    stronger.login("dana", GOOD)
    assert "m=16,t=2,p=1" in state.read("people.json").decode()


def test_change_that_is_not_on_record_is_not_made(state: StateFolder) -> None:
    noted: list[str] = []

    def note(change: str, account: Account) -> None:
        if change == "roles":
            raise IdentityError("no record")
        noted.append(f"{change} {account.name}")

    people = People(state, note=note, hasher=CHEAP)
    people.add("dana", GOOD)
    with pytest.raises(IdentityError, match="no record"):
        people.set_roles("dana", ["admin"])
    people.set_disabled("dana", disabled=True)
    assert noted == ["added dana", "disabled dana"]
    assert people.list()[0].roles == ()


def test_damaged_list_lets_nobody_in(state: StateFolder, people: People) -> None:
    people.add("dana", GOOD)
    state.write("people.json", b"{}")
    assert code_of(people.login, "dana", GOOD) == "people_unavailable"
    assert code_of(people.add, "eli", GOOD) == "people_unavailable"
