"""What asks a project's people, and where it is kept, by the settings."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentguard.assembly._events import Events
from agentguard.assembly._notifying import open_notifying
from agentguard.audit import SegmentLog
from agentguard.config import Config, TemporalSettings, TemporalTlsSettings, read_secret
from agentguard.core import ConfigError
from agentguard.identity import StateFolder, audit_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.assembly._project import Project
    from agentguard.backends import PostgresApprovalStore, RedisApprovalStore, TemporalServer, TemporalTls
    from agentguard.core import ApprovalEngine, ApprovalStore
    from agentguard.identity import KeyRing


def open_log(config: Config, keys: KeyRing) -> SegmentLog:
    """Return the project's audit log, to be written to.

    Raises:
        AuditError: it cannot be opened.
    """
    return SegmentLog(
        config.audit_folder,
        durability=config.audit.durability,
        signer=keys.signer(),
        max_segment_bytes=config.audit.max_segment_bytes,
        reserve_bytes=config.audit.reserve_bytes,
    )


def open_approvals(
    config: Config, environ: Mapping[str, str], *, telling: Mapping[str, Any], **parts: Any
) -> ApprovalEngine:
    """Return the engine of the settings; `telling` is what one takes that keeps time and tells by itself.

    Raises:
        ApprovalError: its store cannot be opened, or keeps less than it must.
        ConfigError: the address of its store is not where it should be (`approvals_secret`).
    """
    # A cold `check` needs none of this.
    from agentguard.approvals import EmbeddedEngine, rules_of

    with ExitStack() as opened:
        parts |= {"store": open_approval_store(config, environ), "rules": rules_of(config.approvals)}
        opened.callback(parts["store"].close)
        engine: ApprovalEngine
        if config.approvals.engine == "temporal":
            from agentguard.backends import TemporalEngine

            # Its workers keep time and tell.
            engine = TemporalEngine(server=_temporal(config, environ), **parts)
        else:
            engine = EmbeddedEngine(**telling, **parts)
        opened.pop_all()
        return engine


def open_approval_store(config: Config, environ: Mapping[str, str]) -> ApprovalStore:
    """Return where the project's approvals are kept, to be closed.

    Raises:
        ApprovalError: it cannot be opened, or keeps less than it must.
        ConfigError: its address is not where it should be (`approvals_secret`).
    """
    kind, project = config.approvals.store, config.project.id
    if kind == "sqlite":
        from agentguard.backends import SqliteApprovalStore

        return SqliteApprovalStore(config.approvals_file)
    return _approval_store_class(kind)(_approvals_url(config, environ), project=project)


def read_approvals(config: Config, environ: Mapping[str, str] | None = None) -> ApprovalStore | None:
    """Return the project's approvals, to be closed; None if nobody was ever asked.

    Raises:
        ApprovalError: they cannot be opened.
        ConfigError: their address is not where it should be (`approvals_secret`).
    """
    if config.approvals.store == "sqlite" and not config.approvals_file.exists():
        return None
    return open_approval_store(config, os.environ if environ is None else environ)


def probe_approvals(config: Config, environ: Mapping[str, str]) -> None:
    """Pass where the approvals of the settings could be kept; nothing is made there.

    Raises:
        AgentGuardError: they could not.
    """
    if config.approvals.store != "sqlite":
        _approval_store_class(config.approvals.store).probe(_approvals_url(config, environ))


def are_approvals_worked_on(config: Config, environ: Mapping[str, str]) -> bool:
    """Tell whether a worker on Temporal asks for the project's approvals.

    Raises:
        ApprovalError: Temporal cannot be reached, or does not know the namespace.
        ConfigError: a certificate or key for it is not where it should be.
    """
    from agentguard.backends import is_worked_on

    return is_worked_on(_temporal(config, environ))


def _approval_store_class(kind: str) -> type[PostgresApprovalStore | RedisApprovalStore]:
    # Each needs an extra, asked for by the one that is used.
    if kind == "postgres":
        from agentguard.backends import PostgresApprovalStore

        return PostgresApprovalStore
    from agentguard.backends import RedisApprovalStore

    return RedisApprovalStore


def _approvals_url(config: Config, environ: Mapping[str, str]) -> str:
    reference = config.approvals.url
    assert reference is not None  # the settings were checked
    hint = "put the address there, or correct `approvals.url`"
    return read_secret(
        reference, config.folder, environ, of="the store of approvals", code="approvals_secret", hint=hint
    )


def _temporal(config: Config, environ: Mapping[str, str]) -> TemporalServer:
    from agentguard.backends import TemporalServer

    settings = config.approvals.temporal or TemporalSettings()
    tls = None if settings.tls is None else _tls(settings.tls, config.folder, environ)
    return TemporalServer(
        settings.address, settings.namespace, settings.task_queue, project=config.project.id, tls=tls
    )


def _tls(settings: TemporalTlsSettings, folder: Path, environ: Mapping[str, str]) -> TemporalTls:
    from agentguard.backends import TemporalTls

    def read(name: str | None, setting: str) -> bytes | None:
        if name is None:
            return None
        try:
            return (folder / Path(name).expanduser()).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"`{name}` cannot be read: {(error.strerror or str(error)).lower()}",
                code="approvals_tls",
                hint=f"correct `approvals.temporal.tls.{setting}`",
            ) from None

    key = settings.key
    return TemporalTls(
        read(settings.ca_file, "ca_file"),
        settings.server_name,
        read(settings.cert_file, "cert_file"),
        None
        if key is None
        else read_secret(
            key,
            folder,
            environ,
            of="the key of our certificate for Temporal",
            code="approvals_secret",
            hint="put it there, or correct `approvals.temporal.tls.key`",
        ).encode(),
    )


class ApprovalWork:
    """Works on a project's approvals on Temporal: what a worker needs, opened.

    Notices go to the outbox, from where the sidecar delivers them.

    Raises:
        ConfigError: the project's approvals are not on Temporal (`worker_needless`), or a secret is missing.
        AgentGuardError: something of it cannot be opened.
    """

    def __init__(self, project: Project, environ: Mapping[str, str] | None = None) -> None:
        from agentguard.approvals import rules_of
        from agentguard.backends import TemporalWorker

        config, environ = project.config, os.environ if environ is None else environ
        if config.approvals.engine != "temporal":
            raise ConfigError(
                "the approvals of this project run in the sidecar",
                code="worker_needless",
                hint="set `approvals.engine: temporal`, or start `agentguard up`",
            )
        self.server = _temporal(config, environ)
        with ExitStack() as opened:
            store = open_approval_store(config, environ)
            opened.callback(store.close)
            state = StateFolder.open(config.project.id, environ)
            audit = open_log(config, audit_keys(state))
            opened.callback(audit.close)
            events = Events(config)
            opened.callback(events.close)
            notifying = open_notifying(project, environ, delivers=False)
            if notifying is not None:
                opened.callback(notifying.close)
            self._worker = TemporalWorker(
                store,
                server=self.server,
                audit=audit,
                rules=rules_of(config.approvals),
                bus=events.bus,
                notifier=None if notifying is None else notifying.notifier,
            )
            self._opened = opened.pop_all()

    def run(self, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is called.

        Raises:
            ApprovalError: Temporal cannot be reached, or does not know the namespace.
        """
        self._worker.run(on_ready=on_ready)

    def stop(self) -> None:
        """Let `run` come to its end. Safe to call from a signal handler."""
        self._worker.stop()

    def close(self) -> None:
        """Release what it holds. Idempotent."""
        self._opened.close()
