"""The state folder: where a project's secrets live, out of reach of what works in the project folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from agentguard.core import ConfigError, IntegrityError, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9-]{2,63}")
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_MAX_FILE_BYTES = 64 * 1024 * 1024


def state_path(project_id: str, environ: Mapping[str, str]) -> Path:
    """Return where the project's state folder is: `$XDG_STATE_HOME/agentguard/<project-id>`.

    Without a usable `XDG_STATE_HOME` it is `~/.local/state` (XDG Base Directory Specification 0.8, which says
    to ignore a relative one).

    Raises:
        ConfigError: the id is malformed (`project_id_invalid`), or there is no home (`state_unavailable`).
    """
    if _PROJECT_ID.fullmatch(project_id) is None:
        raise ConfigError(
            "project id is malformed",
            code="project_id_invalid",
            hint="it has 3 to 64 of a-z, 0-9 and `-`, and does not begin with `-`",
        )
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "agentguard" / project_id
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise ConfigError(
            "no place for the project's secrets", code="state_unavailable", hint="set HOME or XDG_STATE_HOME"
        )
    return Path(home) / ".local" / "state" / "agentguard" / project_id


class StateFolder:
    """A folder of this user alone (0700), whose files (0600) change only as a whole.

    Safe for many processes: a file is replaced by renaming a complete one, made by linking a complete one,
    and read-change-write goes under `locked`.
    """

    def __init__(self, path: Path, project_id: str) -> None:
        self.path = path
        self.project_id = project_id

    @classmethod
    def open(cls, project_id: str, environ: Mapping[str, str]) -> StateFolder:
        """Return the project's state folder, made if it is not there.

        Raises:
            ConfigError: the id is malformed, the folder cannot be made (`state_unavailable`), or others than
                this user could reach it (`state_exposed`).
        """
        path = state_path(project_id, environ)
        try:
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (path.parent, path):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
            check_folder(path.parent, forbidden=0o022)
            check_folder(path, forbidden=0o077)
        except OSError as error:
            raise _unavailable(path, error) from None
        return cls(path, project_id)

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        return os.path.lexists(self._file(name))

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is none.
            ConfigError: it is no plain file of this user alone (`state_exposed`), or cannot be read.
        """
        path = self._file(name)
        try:
            # O_NOFOLLOW: a planted link must not make us trust another file. O_NONBLOCK: nor a pipe stop us.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unavailable(path, error) from None
        try:
            _check_file(path, os.fstat(handle))
            with open(handle, "rb", closefd=False) as stream:
                return stream.read(_MAX_FILE_BYTES)
        except OSError as error:
            raise _unavailable(path, error) from None
        finally:
            os.close(handle)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole; it is on the disk when this returns.

        Raises:
            ConfigError: it cannot be written (`state_unavailable`); the old content stays.
        """
        path = self._file(name)
        with self._temporary(path, data) as temporary:
            temporary.replace(path)

    def read_or_create(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return a file's content, made first if there is none; of many at once, all get the same.

        Raises:
            ConfigError: as `read` and `write`.
        """
        with contextlib.suppress(FileNotFoundError):
            return self.read(name)
        path = self._file(name)
        with self._temporary(path, make()) as temporary, contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
        return self.read(name)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock called `name` against all threads and processes.

        Raises:
            ConfigError: the lock cannot be taken (`state_unavailable`).
        """
        path = self._file(name + ".lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            raise _unavailable(path, error) from None
        try:
            yield
        finally:
            os.close(handle)

    def signature(self, name: str) -> tuple[int, int, int] | None:
        """Return what differs when the file is another one, or None when there is none; about 1 µs."""
        try:
            status = os.lstat(f"{self.path}/{name}")
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def corrupt(self, name: str, hint: str) -> IntegrityError:
        """Return the error for a file whose content is not what this program wrote."""
        return IntegrityError(
            "is damaged", code="state_corrupt", location=Location(str(self._file(name))), hint=hint
        )

    def _file(self, name: str) -> Path:
        assert _FILE_NAME.fullmatch(name), name
        return self.path / name

    @contextlib.contextmanager
    def _temporary(self, path: Path, data: bytes) -> Iterator[Path]:
        """Make a complete file beside `path`, and make what was done with it last."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            try:
                _write_new(temporary, data)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(self.path)
        except OSError as error:
            raise _unavailable(path, error) from None


def check_folder(path: Path, *, forbidden: int) -> None:
    """Raise ConfigError (`state_exposed`) unless `path` is this user's own folder without `forbidden` bits."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        what = "is a symbolic link" if stat.S_ISLNK(status.st_mode) else "is no folder"
        raise _exposed(path, what, "move it away; a new one is made")
    if status.st_uid != os.geteuid():
        raise _exposed(
            path,
            f"belongs to the user with uid {status.st_uid}, not to uid {os.geteuid()}",
            "run as its owner, or set XDG_STATE_HOME to a folder of your own",
        )
    if status.st_mode & forbidden:
        raise _exposed(
            path,
            f"has mode {stat.S_IMODE(status.st_mode):04o}, so others get at it",
            f"run `chmod 700 {path}`",
        )


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _exposed(path, "is no plain file", "move it away")
    if status.st_uid != os.geteuid():
        raise _exposed(path, f"belongs to the user with uid {status.st_uid}", "move it away")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise _exposed(
            path,
            f"has mode {mode:04o}, so others may have read or changed it",
            f"run `chmod 600 {path}` and, if somebody did, `agentguard token keys rotate`",
        )


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
        os.fchmod(handle, 0o600)  # whatever the umask is
        stream.write(data)
        stream.flush()
        os.fsync(handle)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exposed(path: Path, what: str, hint: str) -> ConfigError:
    return ConfigError(what, code="state_exposed", location=Location(str(path)), hint=hint)


def _unavailable(path: Path, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    return ConfigError(
        f"cannot be used: {reason}",
        code="state_unavailable",
        location=Location(str(path)),
        hint="free the disk, mend its permissions, or set XDG_STATE_HOME",
    )
