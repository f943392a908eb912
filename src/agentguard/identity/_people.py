"""People's accounts: names, passwords as argon2id hashes, roles and groups."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from agentguard.core import PERSON_ROLES, IdentityError, Person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from agentguard.identity._state import StateFolder

    class Hasher(Protocol):
        """Makes and checks hashes of passwords, as `argon2.PasswordHasher` does."""

        def hash(self, password: str) -> str:
            """Return a hash with its own salt and parameters."""

        def verify(self, hash: str, password: str) -> bool:  # noqa: A002 - argon2's name
            """Return True, or raise argon2's error."""

        def check_needs_rehash(self, hash: str) -> bool:  # noqa: A002 - argon2's name
            """Tell whether a hash was made with other parameters than ours."""


_NAME = "people.json"
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}", re.ASCII)
_GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
MIN_PASSWORD, MAX_PASSWORD = 12, 256
_MIN_DISTINCT = 5
MAX_ACCOUNTS = 1_000


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person's account; `changed` counts what ends open logins: a new password, disabled."""

    name: str
    password: str
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    is_disabled: bool = False
    changed: float = 0.0

    @property
    def person(self) -> Person:
        """Who it is, without what proves it."""
        return Person(self.name, frozenset(self.roles), frozenset(self.groups))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    accounts: tuple[Account, ...]


class People:
    """The project's people, shared by all processes through the state folder. Safe to use from many threads.

    Passwords are kept as argon2id hashes (RFC 9106, its second recommended parameters); names are lower-case and in the
    same space as the ids of principals. `note` is told of a change before it is made, and stops it by raising.
    """

    def __init__(
        self,
        state: StateFolder,
        *,
        note: Callable[[str, Account], None] = lambda _change, _account: None,
        hasher: Hasher | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state, self._note, self._now = state, note, now
        self._own_hasher = hasher
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._accounts: dict[str, Account] = {}
        self._decoy = ""

    def list(self) -> list[Account]:
        """Return all accounts by name.

        Raises:
            IdentityError: they cannot be read (`people_unavailable`).
        """
        return sorted(self._read().values(), key=lambda each: each.name)

    def find(self, name: str) -> Account | None:
        """Return an account that is not disabled, or None.

        Raises:
            IdentityError: they cannot be read (`people_unavailable`).
        """
        account = self._read().get(name)
        return None if account is None or account.is_disabled else account

    def person(self, name: str) -> Person | None:
        """Return the person with an account that is not disabled; None too where accounts cannot be read."""
        try:
            account = self.find(name)
        except IdentityError:
            return None
        return None if account is None else account.person

    def login(self, name: str, password: str) -> Account:
        """Return the account that name and password prove; takes as long for a name that nobody has.

        Raises:
            IdentityError: they prove none (`login_failed`), or accounts cannot be read.
        """
        from argon2.exceptions import Argon2Error, InvalidHashError

        account = self.find(name)
        try:
            found = account.password if account is not None else self._decoy_hash()
            is_right = self._hasher.verify(found, password[: MAX_PASSWORD + 1])
        except (Argon2Error, InvalidHashError):
            is_right = False
        if account is None or not is_right:
            raise IdentityError("this name and this password belong to nobody", code="login_failed")
        if self._hasher.check_needs_rehash(account.password):
            fresh = self._hasher.hash(password)
            account = self._change(name, lambda each: msgspec.structs.replace(each, password=fresh))
        return account

    def add(
        self, name: str, password: str, *, roles: Iterable[str] = (), groups: Iterable[str] = ()
    ) -> Account:
        """Make an account.

        Raises:
            IdentityError: the name is taken, or something is malformed (`person_invalid`, `password_weak`).
        """
        if not _ACCOUNT.fullmatch(name):
            raise _invalid(f"`{name[:64]}` is no name", "use a-z, 0-9, `.`, `_`, `@` and `-`, at most 64")
        check_password(name, password)
        hashed = self._hasher.hash(password)
        account = Account(name, hashed, _roles(roles), _groups(groups), changed=self._now())
        with self._state.locked(_NAME):
            accounts = self._read()
            if name in accounts:
                raise _invalid(f"`{name}` is there already", "`agentguard people role` changes what they may")
            if len(accounts) >= MAX_ACCOUNTS:
                raise _invalid(f"there are {MAX_ACCOUNTS} accounts already", "disabled ones count too")
            self._note("added", account)
            self._write({**accounts, name: account})
        return account

    def set_roles(self, name: str, roles: Iterable[str]) -> Account:
        """Give a person just these roles.

        Raises:
            IdentityError: there is no such person or role.
        """
        checked = _roles(roles)
        return self._change(name, lambda each: msgspec.structs.replace(each, roles=checked), "roles")

    def set_groups(self, name: str, groups: Iterable[str]) -> Account:
        """Put a person into just these groups.

        Raises:
            IdentityError: there is no such person, or a group's name is malformed.
        """
        checked = _groups(groups)
        return self._change(name, lambda each: msgspec.structs.replace(each, groups=checked), "groups")

    def set_password(self, name: str, password: str) -> Account:
        """Give a person a new password, and end their logins.

        Raises:
            IdentityError: there is no such person, or the password is too weak.
        """
        check_password(name, password)
        hashed, now = self._hasher.hash(password), self._now()
        return self._change(
            name, lambda each: msgspec.structs.replace(each, password=hashed, changed=now), "password"
        )

    def set_disabled(self, name: str, *, disabled: bool) -> Account:
        """Disable an account, which ends its logins, or enable it again.

        Raises:
            IdentityError: there is no such person.
        """
        now, word = self._now(), "disabled" if disabled else "enabled"
        return self._change(
            name, lambda each: msgspec.structs.replace(each, is_disabled=disabled, changed=now), word
        )

    def _change(self, name: str, make: Callable[[Account], Account], word: str = "") -> Account:
        with self._state.locked(_NAME):
            accounts = self._read()
            if name not in accounts:
                raise IdentityError(
                    f"nobody is called `{name[:64]}`",
                    code="person_unknown",
                    hint="see `agentguard people list`",
                )
            changed = make(accounts[name])
            if word:
                self._note(word, changed)
            self._write({**accounts, name: changed})
        return changed

    def _read(self) -> dict[str, Account]:
        with self._lock:
            seen = self._state.signature(_NAME)
            if seen is None:
                # Nobody was added yet. Who could take the file away could also add accounts.
                self._accounts = {}
            elif seen != self._seen:
                try:
                    decoded = msgspec.json.decode(self._state.read(_NAME), type=_File)
                except FileNotFoundError:
                    decoded = _File(version=1, accounts=())
                except msgspec.MsgspecError:
                    raise IdentityError(
                        "the list of people is damaged",
                        code="people_unavailable",
                        hint="restore `people.json` in the state folder",
                    ) from None
                self._accounts = {each.name: each for each in decoded.accounts}
            self._seen = seen
            return self._accounts

    def _write(self, accounts: dict[str, Account]) -> None:
        self._state.write(_NAME, msgspec.json.encode(_File(version=1, accounts=tuple(accounts.values()))))

    @property
    def _hasher(self) -> Hasher:
        if self._own_hasher is None:
            # Loaded when the first password is looked at; agents have none.
            from argon2 import PasswordHasher

            self._own_hasher = PasswordHasher()
        return self._own_hasher

    def _decoy_hash(self) -> str:
        if not self._decoy:
            self._decoy = self._hasher.hash("nobody's password")
        return self._decoy


def check_password(name: str, password: str) -> None:
    """Refuse a password that is too easy to guess (after NIST SP 800-63B, section 5.1.1).

    Raises:
        IdentityError: it is (`password_weak`).
    """
    if len(password) < MIN_PASSWORD:
        raise _weak(f"a password has at least {MIN_PASSWORD} characters")
    if len(password) > MAX_PASSWORD:
        raise _weak(f"a password has at most {MAX_PASSWORD} characters")
    if len(set(password)) < _MIN_DISTINCT:
        raise _weak(f"a password has at least {_MIN_DISTINCT} different characters")
    if name in password.lower() and len(password) < len(name) + MIN_PASSWORD:
        raise _weak("a password is more than the name with something added")


def _roles(roles: Iterable[str]) -> tuple[str, ...]:
    chosen = set(roles)
    if unknown := sorted(chosen.difference(PERSON_ROLES)):
        raise _invalid(f"there is no role `{unknown[0][:64]}`", f"roles are {', '.join(PERSON_ROLES)}")
    return tuple(each for each in PERSON_ROLES if each in chosen)


def _groups(groups: Iterable[str]) -> tuple[str, ...]:
    chosen = sorted(set(groups))
    for each in chosen:
        if not _GROUP.fullmatch(each):
            raise _invalid(
                f"`{each[:64]}` is no name of a group", "use a-z, 0-9, `.`, `_` and `-`, at most 64"
            )
    return tuple(chosen)


def _invalid(message: str, hint: str) -> IdentityError:
    return IdentityError(message, code="person_invalid", hint=hint)


def _weak(message: str) -> IdentityError:
    return IdentityError(
        message, code="password_weak", hint="a few words that do not belong together make a good one"
    )
