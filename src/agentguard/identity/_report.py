"""What `doctor` says about the place of the secrets."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from agentguard.core import ConfigError
from agentguard.identity._state import check_folder, state_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class StateReport(msgspec.Struct, frozen=True):
    """Facts about the state folder; `problem` says what is wrong with it, `warning` what is risky, with advice.

    `mode` is octal text, empty where there is no folder yet. `same_uid` says whether the agent runs as the user
    who owns the secrets and so could read them.
    """

    path: str
    mode: str
    uid: int
    same_uid: bool
    problem: str | None
    warning: str | None


def report_state(
    project_id: str,
    environ: Mapping[str, str],
    *,
    project_folder: Path | None = None,
    agent_uid: int | None = None,
) -> StateReport:
    """Return the facts about a project's state folder, and make nothing.

    `project_folder` is where the agent works: secrets in there are a problem of their own. `agent_uid` is the
    user that the agent runs as; None means inside this process, so as the same user.

    Raises:
        ConfigError: the id is malformed, or there is no home.
    """
    path = state_path(project_id, environ)
    uid = os.geteuid()
    mode, problem = _inspect(path)
    if project_folder is not None and path.resolve().is_relative_to(project_folder.resolve()):
        problem = (
            f"{path}: lies in the project folder, where the agent works; set XDG_STATE_HOME to another place"
        )
    same_uid = agent_uid is None or agent_uid == uid
    return StateReport(
        path=str(path),
        mode=mode,
        uid=uid,
        same_uid=same_uid,
        problem=problem,
        warning=_warning(uid, agent_uid),
    )


def _inspect(path: Path) -> tuple[str, str | None]:
    mode = ""
    try:
        mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
        check_folder(path.parent, forbidden=0o022)
        check_folder(path, forbidden=0o077)
    except FileNotFoundError:
        return mode, None
    except ConfigError as error:
        return mode, str(error)
    except OSError as error:
        return mode, f"cannot be looked at: {(error.strerror or str(error)).lower()}"
    return mode, None


def _warning(uid: int, agent_uid: int | None) -> str | None:
    if agent_uid == 0:
        return "the agent runs as root and can read every secret; run it as a user of its own"
    if agent_uid is None or agent_uid == uid:
        return (
            f"agent and guard run as the same user (uid {uid}), so the agent can read the guard's keys; "
            "run `agentguard up` as another user and let the agent connect to it"
        )
    return None
