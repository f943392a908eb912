"""What holds in the kernel for one run: ordered from the sidecar or made here, signed, and verified before it is used."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from agentguard.cli._door import door_rules, ready_sidecar
from agentguard.cli._options import environ
from agentguard.config import FILE_NAME
from agentguard.core import AgentGuardError, KernelError

if TYPE_CHECKING:
    from agentguard.assembly import Project
    from agentguard.cli._enforce import JailOptions
    from agentguard.core import Principal
    from agentguard.kernel.jail import IssuedPolicy, KernelPolicy, PolicyOrder, Wanted

_TOKEN_S = 60
_ANSWER_S = 10.0
_MOST_BYTES = 16 << 20
_ROUTE = "/v1/kernel-policy"
# What an answer means that is no policy and no reason against the run: then the launcher makes its own.
_ELSEWHERE = frozenset(("kernel_policy_elsewhere", "kernel_policy_missing", "route_unknown"))


@dataclass(frozen=True, slots=True)
class Held:
    """The policy of a run as it was verified. `signed_by` is `sidecar`, `launcher`, or nobody without a project."""

    policy: KernelPolicy
    notes: tuple[str, ...]
    workspace: str
    signed_by: str


def hold_policy(
    options: JailOptions, project: Project | None, principal: Principal, *, own_rules: bool
) -> Held:
    """Return what holds for a run: signed by the sidecar where one is up and has the same rules, else by this process.

    Raises:
        KernelError: the sidecar does not sign it, or answers what cannot be read.
        IntegrityError: what was signed is not to be enforced (`kernel_policy_refused`).
        ConfigError: an option is none, or the state folder cannot be used.
    """
    from agentguard.kernel.jail import Acceptance, PolicyOrder, compile_policy, this_place

    wanted, notes = _wanted(options, project)
    mode: Any = options.mode
    if project is None:
        compiled = compile_policy(None, wanted, mode=mode)
        return Held(compiled.policy, (*notes, *compiled.notes), wanted.workspace, "")
    from agentguard.assembly import sign_kernel_policy
    from agentguard.identity import StateFolder

    state = StateFolder.open(project.config.project.id, environ())
    acceptance = Acceptance(state, principal.id)
    leads_out = options.is_jailed and wanted.profile.network
    networks = door_rules(project) if leads_out else ()
    order = PolicyOrder(principal.id, mode, wanted, this_place(), networks)
    url = None if own_rules else ready_sidecar(project)
    issued = None if url is None else _ask(url, project, principal, order)
    signed_by = "sidecar" if issued is not None else "launcher"
    if issued is None:
        issued = sign_kernel_policy(project, state, principal, order)
    policy = acceptance.accept(issued.signed)
    _check_is_ordered(policy, order)
    return Held(policy, (*notes, *issued.notes), wanted.workspace, signed_by)


def _check_is_ordered(policy: KernelPolicy, order: PolicyOrder) -> None:
    """Refuse what was signed for another run: one that asks less of the agent, or opens what nobody has asked for."""
    named = {*order.wanted.read_write, *order.wanted.read_only}
    opened = {each.path for each in policy.paths if each.effect == "allow" and each.rule in {"--rw", "--ro"}}
    if policy.mode != order.mode or opened - named:
        raise KernelError(
            "the kernel policy that the sidecar has signed is for another run",
            code="kernel_policy_refused",
            hint="restart the sidecar: it may be of another version",
        )


def _ask(url: str, project: Project, principal: Principal, order: PolicyOrder) -> IssuedPolicy | None:
    """Return what the sidecar has signed; None where it is not the one to ask.

    Without threads: what runs the agent is forked later.

    Raises:
        KernelError: it refuses, or answers nothing that can be read (`kernel_policy_unsigned`).
    """
    from agentguard.assembly import open_tokens
    from agentguard.kernel.jail import IssuedPolicy

    token = open_tokens(project, environ()).issuer.issue(principal.id, ttl_s=_TOKEN_S, act_as=True)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    try:
        with contextlib.closing(connection):
            connection.request("POST", _ROUTE, msgspec.json.encode(order), headers)
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _unsigned(str(error).lower() or "it does not answer") from None
    try:
        if answer.status == http.client.OK:
            return msgspec.json.decode(body, type=IssuedPolicy)
        refusal = msgspec.json.decode(body, type=_Answer).error
    except msgspec.DecodeError:
        raise _unsigned("its answer cannot be read") from None
    if refusal.code in _ELSEWHERE:
        return None
    raise _unsigned(refusal.message)


class _Error(msgspec.Struct):
    code: str
    message: str


class _Answer(msgspec.Struct):
    error: _Error


def _unsigned(why: str) -> KernelError:
    return KernelError(
        f"the sidecar has not signed the kernel policy: {why}",
        code="kernel_policy_unsigned",
        hint="mend the sidecar, or stop it: without one the launcher signs",
    )


def _wanted(options: JailOptions, project: Project | None) -> tuple[Wanted, list[str]]:
    from agentguard.kernel.jail import Wanted, find_profile

    profile = find_profile(options.profile)
    if options.domains and not profile.network:
        # A name that is allowed and cannot be reached would be a surprise.
        raise click.UsageError("--allow-domain needs a network, which this profile has not")
    home = os.path.realpath(os.environ.get("HOME", "") or Path("~").expanduser())
    home = home if home != "/" and Path(home).is_dir() else ""
    here = os.path.realpath(Path.cwd())
    notes = []
    if here == "/" or (home and (home == here or home.startswith(f"{here}/"))):
        notes.append(
            f"`{here}` is too much to be given as a whole: start it in a project folder, or pass --rw"
        )
        here = ""
    hidden, fixed = _own(project)
    wanted = Wanted(
        profile,
        home,
        os.environ.get("PATH", os.defpath),
        workspace=here,
        read_write=tuple(map(str, options.read_write)),
        read_only=tuple(map(str, options.read_only)),
        domains=options.domains,
        hidden=hidden,
        fixed=fixed,
        temporary=os.path.realpath(os.environ["TMPDIR"]) if os.environ.get("TMPDIR") else "",
    )
    return wanted, notes


def _own(project: Project | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return AgentGuard's own: what no agent may look at, and what none may change."""
    from agentguard.identity import state_path

    hidden: list[Path] = []
    with contextlib.suppress(AgentGuardError):
        hidden.append(state_path("any", environ()).parent)
    fixed = [Path(__file__).resolve().parents[1]]
    if sys.prefix != sys.base_prefix:
        # The environment that AgentGuard runs in: who changes that, changes the guard.
        fixed.append(Path(sys.prefix).resolve())
    if project is not None:
        config = project.config
        for folder in (config.audit_folder, config.events_file.parent, config.ledger_file.parent):
            # What is not there cannot be hidden, and would be the agent's to make.
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            hidden.append(folder)
        fixed += [
            config.folder / FILE_NAME, config.policy_folder, config.actions_folder, config.inventory_file,
            config.budgets_file, config.prices_file,
        ]  # fmt: skip
    return tuple(map(str, hidden)), tuple(map(str, fixed))
