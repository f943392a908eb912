"""The only place where configuration becomes objects.

Enters: a project folder and the environment. Leaves: a `Project` (what it declares), an `Engine` (a decision
point that records), the sidecar's `Services`. Called by: the SDK's face, the command line. It holds no logic of
its own: it reads, builds and wires.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from agentguard.approvals import Router
from agentguard.audit import Commitments, SegmentLog, verify
from agentguard.config import FILE_NAME, Config, TemporalSettings, load_config, read_secret
from agentguard.core import (
    Clock,
    ConfigError,
    Context,
    Integrity,
    Label,
    Location,
    Principal,
    Sensitivity,
    Spender,
    SystemClock,
)
from agentguard.documents import find_documents
from agentguard.enforcement import TicketIssuer
from agentguard.facts import FactExtractor, FactSettings
from agentguard.identity import (
    AdminToken,
    People,
    StateFolder,
    TicketKeys,
    TokenIssuer,
    TokenKeys,
    TokenVerifier,
    audit_keys,
    commitment_key,
    link_key,
)
from agentguard.pdp import (
    ActionCosts,
    ApprovalDesk,
    Keeper,
    PolicyDecisionPoint,
    RiskPolicy,
    Thresholds,
    World,
    edit_problem,
    lint_policies,
)
from agentguard.policy import LintFinding, LintKind, PolicySet, PolicyStore, PolicyWatcher, shipped_rules
from agentguard.registry import ActionRegistry, Inventory, load_actions, load_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.audit import Verification
    from agentguard.backends import (
        PostgresApprovalStore,
        RedisApprovalStore,
        SqliteLedger,
        TemporalServer,
    )
    from agentguard.core import ApprovalEngine, ApprovalStore, AuditLog, Event, EventBus, EventStore, Notifier
    from agentguard.enforcement import TicketStore
    from agentguard.events import TruthFollower
    from agentguard.gateway import Gateway
    from agentguard.identity import Account, KeyRing
    from agentguard.notify import Outbox, OutboxNotifier, SlackClicks, VoteLinks
    from agentguard.spend import Budgets, PriceTable

_log = logging.getLogger("agentguard.policy")


@dataclass(frozen=True, slots=True)
class Project:
    """What a project folder declares, read and checked; holds no secret and writes nothing."""

    config: Config
    registry: ActionRegistry
    inventory: Inventory
    policies: PolicyStore
    facts: FactExtractor

    def world(self, policies: PolicySet | None = None) -> World:
        """Return what decisions depend on, with the policy set in force or another one."""
        return World(
            registry=self.registry,
            inventory=self.inventory,
            policies=policies or self.policies.current,
            risk=_risk(self.config),
            facts=self.facts,
        )

    def lint(self, policies: PolicySet | None = None) -> list[LintFinding]:
        """Return what is wrong, or probably not meant, in the policy set in force or another one."""
        now = SystemClock().now()
        return lint_policies(policies or self.policies.current, self.registry, self.inventory, now=now)

    def principal(self, principal_id: str) -> Principal:
        """Return the listed principal, or an agent without roles where the inventory does not know it."""
        return self.inventory.principals.get(principal_id, Principal(id=principal_id))


def load_project(folder: Path | str, environ: Mapping[str, str] | None = None) -> Project:
    """Return what the project in `folder` declares.

    Raises:
        ConfigError: something in the folder cannot be read or used; says what, where and how to mend it.
    """
    config = load_config(Path(folder), os.environ if environ is None else environ)
    registry = load_actions(_documents(config.actions_folder), catalogue=config.registry.catalogue)
    inventory = load_inventory([config.inventory_file])

    def refuse_conflicts(policies: PolicySet) -> None:
        now = SystemClock().now()
        findings = lint_policies(policies, registry, inventory, now=now)
        conflict = next((each for each in findings if each.kind is LintKind.CONFLICT), None)
        if conflict is not None:
            raise ConfigError(
                f"rule `{conflict.rule}` {conflict.message}",
                code="policy_conflict",
                location=conflict.location,
                hint="`policy.strict` refuses conflicts; see `agentguard policy validate`",
            )

    policies = PolicyStore(
        config.policy_folder,
        base=config.folder,
        check=refuse_conflicts if config.policy.strict else None,
        shipped=shipped_rules(without=config.policy.without) if config.policy.shipped else (),
    )
    return Project(config, registry, inventory, policies, _facts(config))


DEFAULT_PROJECT = "default"
_DEFAULT_FILES = {
    "inventory.yaml": "resources: []\nprincipals: []\n",
    FILE_NAME: f"project: {{id: {DEFAULT_PROJECT}, name: default}}\n",
}


def default_project(environ: Mapping[str, str] | None = None) -> Project:
    """Return the project of whoever named none: `project` in the state folder `default`, made if it is not there.

    It has no rules of its own, so only sessions with an intent allow anything. Its audit log is in its `audit`.

    Raises:
        ConfigError: it cannot be made, or something in it cannot be used.
    """
    state = StateFolder.open(DEFAULT_PROJECT, os.environ if environ is None else environ)
    folder = state.path / "project"
    try:
        (folder / "policies").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in _DEFAULT_FILES.items():
            with contextlib.suppress(FileExistsError), (folder / name).open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"the default project cannot be made: {reason}",
            code="state_unavailable",
            location=Location(str(folder)),
        ) from None
    return load_project(folder, environ)


def _facts(config: Config) -> FactExtractor:
    settings = config.facts
    try:
        return FactExtractor(FactSettings(settings.allowed_hosts, settings.mail_domains))
    except ValueError as error:
        where = Location(FILE_NAME, field="facts.allowed_hosts")
        raise ConfigError(str(error), location=where, hint="write `example.com` or `10.0.0.0/8`") from None


@dataclass(frozen=True, slots=True)
class Tokens:
    """What issues, verifies and revokes a project's tokens."""

    project: Project
    keys: TokenKeys
    issuer: TokenIssuer
    verifier: TokenVerifier
    admin: AdminToken

    def revoke(self, *, jti: str | None = None, principal: str | None = None) -> None:
        """Revoke one token, or all that were issued to or through a principal until now."""
        self.keys.revocations.revoke(jti=jti, principal=principal)


def open_tokens(project: Project, environ: Mapping[str, str] | None = None) -> Tokens:
    """Return what deals with the tokens of `project`, its keys made if there are none yet.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    settings = project.config.identity
    state = StateFolder.open(project.config.project.id, os.environ if environ is None else environ)
    keys = TokenKeys(state, hs256=settings.hs256)
    return Tokens(
        project=project,
        keys=keys,
        issuer=TokenIssuer(keys, audience=settings.audience),
        verifier=TokenVerifier(keys, project.inventory.principals.get, audience=settings.audience),
        admin=AdminToken(state),
    )


def open_people(
    project: Project, environ: Mapping[str, str] | None = None, *, by: str = "", audit: AuditLog | None = None
) -> People:
    """Return the people of `project`; each change is recorded, as made by `by`, before it is made.

    It is recorded in `audit`, or in the project's log, opened for it.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    state = StateFolder.open(project.config.project.id, os.environ if environ is None else environ)

    def note(change: str, account: Account) -> None:
        record = {
            "type": "people", "change": change, "person": account.name, "by": by, "roles": account.roles,
            "groups": account.groups, "disabled": account.is_disabled,
        }  # fmt: skip
        if audit is not None:
            audit.append(record)
            return
        log = SegmentLog(project.config.audit_folder, signer=audit_keys(state).signer())
        try:
            log.append(record)
        finally:
            log.close()

    return People(state, note=note)


class Engine:
    """A decision point of a project that records what it decides, and follows its policy files.

    With `keeps_sessions` what it remembers of sessions outlives it, as the sidecar's does. Actions that cost are
    held to the project's budgets; alerts about those go to `bus`. What needs a person is asked on the routes of the
    project; with `keeps_sessions` this process keeps the time of that, tells `notifier` and publishes on `bus`.

    Raises:
        ConfigError: the state folder or the budgets cannot be used.
        AuditError: the audit log cannot be opened.
        SpendError: actions cost something, and the ledger cannot be opened.
    """

    def __init__(
        self,
        project: Project,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        keeps_sessions: bool = False,
        bus: EventBus | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        config = project.config
        self.project = project
        self._spending = _spending_on_actions(config, environ, clock, bus)
        self.state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
        self.audit_keys = audit_keys(self.state)
        self.audit = _open_log(config, self.audit_keys)
        self.ticket_keys = TicketKeys(self.state)
        self._keeper = Keeper(self.state.path) if keeps_sessions else None
        commit = Commitments(commitment_key(self.state)).commit

        def open_approvals() -> ApprovalEngine:
            return _open_approvals(
                config,
                os.environ if environ is None else environ,
                telling={"bus": bus, "notifier": notifier, "keeps_time": keeps_sessions},
                audit=self.audit,
                find_person=People(self.state).person,
                check_edit=lambda approval, patch: edit_problem(self.pdp.world, approval, patch, commit),
            )

        self._desk = ApprovalDesk(open_approvals, Router(config.approvals), commit=commit, notifier=notifier)
        self.pdp = PolicyDecisionPoint(
            project.world(),
            audit=self.audit,
            commit=commit,
            clock=clock,
            history=self._keeper.history if self._keeper else None,
            flow=self._keeper.flow if self._keeper else None,
            tickets=TicketIssuer(self.ticket_keys, ttl_s=config.identity.ticket_ttl_s),
            costs=_costs(self._spending),
            desk=self._desk,
        )
        self._watcher = PolicyWatcher(project.policies, self._adopt)

    @property
    def approvals(self) -> ApprovalEngine:
        """What asks people, opened.

        Raises:
            ApprovalError: it cannot be opened.
        """
        return self._desk.engine

    def warm(self) -> None:
        """Load what reads arguments, where rules ask for facts, so that no first request waits for it."""
        world = self.pdp.world
        if world.policies.asks_facts:
            world.facts.warm(world.registry)

    def distrust(self, alert: Event) -> None:
        """Let the sessions that an alert speaks of count as having seen something untrusted and private."""
        label = Label(Integrity.UNTRUSTED, Sensitivity.RESTRICTED)
        source, text = f"kernel:{alert.payload['action']}", str(alert.payload.get("reason", ""))
        for session in alert.payload.get("sessions", ()):
            self.pdp.flow.observe((alert.principal, session), text, label, source, alert.time.timestamp())

    def _adopt(self, policies: PolicySet) -> None:
        # One assignment: a decision in progress keeps the world that it began with.
        self.pdp.world = msgspec.structs.replace(self.pdp.world, policies=policies)
        findings = self.project.lint(policies)
        if findings:
            _log.warning("findings in the new policy: %d; see `agentguard policy validate`", len(findings))

    def close(self) -> None:
        """Stop following files, deny from now on, flush the log and sign its head. Idempotent."""
        self._watcher.stop()
        # What is left to be put on record goes there before the log is closed.
        self._desk.close()
        self.pdp.close()
        if self._keeper is not None:
            self._keeper.close()
        if self._spending is not None:
            self._spending.close()


def _open_log(config: Config, keys: KeyRing) -> SegmentLog:
    return SegmentLog(
        config.audit_folder,
        durability=config.audit.durability,
        signer=keys.signer(),
        max_segment_bytes=config.audit.max_segment_bytes,
        reserve_bytes=config.audit.reserve_bytes,
    )


def _open_approvals(
    config: Config, environ: Mapping[str, str], *, telling: Mapping[str, Any], **parts: Any
) -> ApprovalEngine:
    # A cold `check` needs none of this.
    from agentguard.approvals import EmbeddedEngine, rules_of

    with ExitStack() as opened:
        parts |= {"store": open_approval_store(config, environ), "rules": rules_of(config.approvals)}
        opened.callback(parts["store"].close)
        engine: ApprovalEngine
        if config.approvals.engine == "temporal":
            from agentguard.backends import TemporalEngine

            # Its workers keep time and tell.
            engine = TemporalEngine(server=_temporal(config), **parts)
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


def are_approvals_worked_on(config: Config) -> bool:
    """Tell whether a worker on Temporal asks for the project's approvals.

    Raises:
        ApprovalError: Temporal cannot be reached, or does not know the namespace.
    """
    from agentguard.backends import is_worked_on

    return is_worked_on(_temporal(config))


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


def _temporal(config: Config) -> TemporalServer:
    from agentguard.backends import TemporalServer

    settings = config.approvals.temporal or TemporalSettings()
    return TemporalServer(
        settings.address, settings.namespace, settings.task_queue, project=config.project.id
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
        self.server = _temporal(config)
        with ExitStack() as opened:
            store = open_approval_store(config, environ)
            opened.callback(store.close)
            state = StateFolder.open(config.project.id, environ)
            audit = _open_log(config, audit_keys(state))
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


class Events:
    """A project's events: what is published on `bus` is written to `store`.

    Raises:
        EventError: the store cannot be opened.
    """

    def __init__(self, config: Config) -> None:
        # A cold `check` needs none of this.
        from agentguard.backends import SqliteEventStore
        from agentguard.events import EventRecorder, InProcessBus, Retention

        self.bus = InProcessBus()
        self.store = SqliteEventStore(config.events_file)
        keep = Retention(config.events.retention_days, config.events.max_events)
        self.recorder = EventRecorder(self.bus, self.store, keep)
        self._truth: TruthFollower | None = None

    def compare(
        self, engine: Engine, *, url: str | None = None, on_alert: Callable[[Event], None] | None = None
    ) -> None:
        """Hold what the kernel saw against what was decided, until this is closed.

        `url` is where agents ask: reaching for it needs no decision. An alert makes the sessions that it speaks of untrusted in `engine`; `on_alert` is told of it as well.
        """
        from agentguard.audit import LogTail
        from agentguard.events import Truth, TruthFollower

        project, config = engine.project, engine.project.config

        def facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
            action, params = project.registry.resolve(str(record["action"])), record["params"]
            if action is None or not isinstance(params, dict):
                return {}
            resource = project.inventory.resolve(str(record["resource"]))
            return project.facts.extract(action.action, params, resource)

        def act(alert: Event) -> None:
            engine.distrust(alert)
            if on_alert is not None:
                on_alert(alert)

        door = urlsplit(url or "")
        # An agent may name this machine in its own way.
        doors = frozenset((host, door.port) for host in (door.hostname, "localhost") if host and door.port)
        self._truth = TruthFollower(
            Truth(facts_of, own=doors),
            records=LogTail(config.audit_folder),
            store=self.store,
            bus=self.bus,
            on_alert=act,
        )

    def close(self) -> int:
        """Write what was published; return how many events could not be written. Idempotent."""
        lost = self.recorder.close()
        if self._truth is not None:
            # Last, so that it has seen all that was written.
            self._truth.close()
        self.store.close()
        return lost


@dataclass(frozen=True, slots=True)
class Notifying:
    """What tells a project's people, and reads what comes back from them."""

    notifier: OutboxNotifier
    outbox: Outbox
    links: VoteLinks
    clicks: SlackClicks | None

    def close(self) -> None:
        """Deliver what can be delivered at once; the rest waits. Idempotent."""
        self.notifier.close()
        self.outbox.close()


def open_notifying(
    project: Project, environ: Mapping[str, str] | None = None, *, delivers: bool = True
) -> Notifying | None:
    """Return what tells the project's people, to be closed; None if it has no channels.

    One process delivers what waits, the sidecar; without `delivers` only `deliver` does.

    Raises:
        ConfigError: a secret is not where it should be.
        NotifyError: the outbox cannot be opened.
    """
    from agentguard.backends import SqliteOutbox
    from agentguard.config import SlackSettings
    from agentguard.notify import (
        OutboxNotifier,
        Routing,
        SlackClicks,
        Templates,
        VoteLinks,
        build_channels,
        channel_secret,
        kinds_of,
    )

    config, environ = project.config, os.environ if environ is None else environ
    settings, folder = config.notify, config.folder
    if not settings.channels:
        return None
    channels = build_channels(settings, folder, environ)
    slack = [
        (name, each)
        for name, each in settings.channels.items()
        if isinstance(each, SlackSettings) and each.signing_secret is not None
    ]
    clicks = None
    if slack:
        name, first = slack[0]
        assert first.signing_secret is not None
        secret = channel_secret(first.signing_secret, folder, environ, of=name)
        clicks = SlackClicks(secret, {user: who for _, each in slack for user, who in each.people.items()})
    state = StateFolder.open(config.project.id, environ)
    outbox = SqliteOutbox(config.notify_folder / "outbox.sqlite")
    links = VoteLinks(link_key(state), outbox, ttl_s=settings.link_ttl_s)
    notifier = OutboxNotifier(
        channels,
        routing=Routing(settings, kinds_of(settings)),
        outbox=outbox,
        templates=Templates(config.notify_folder),
        links=links,
        base_url=(settings.public_url or "").rstrip("/"),
        repeat_after_s=settings.repeat_after_s,
        give_up_after_s=settings.give_up_after_s,
        delivers=delivers,
    )
    return Notifying(notifier, outbox, links, clicks)


def read_events(config: Config) -> EventStore | None:
    """Return the project's event store, to be closed; None if nothing was ever stored.

    Raises:
        EventError: the store cannot be opened.
    """
    from agentguard.backends import SqliteEventStore

    return SqliteEventStore(config.events_file) if config.events_file.exists() else None


def open_tickets(
    project: Project, environ: Mapping[str, str] | None = None
) -> tuple[TicketKeys, StateFolder]:
    """Return the keys of the project's execution tickets, made if there are none yet, and where they are.

    Raises:
        ConfigError: the state folder cannot be used.
    """
    state = StateFolder.open(project.config.project.id, os.environ if environ is None else environ)
    return TicketKeys(state), state


def open_ticket_store(state: StateFolder) -> TicketStore:
    """Return the sidecar's store of used tickets, for executors that have none of their own.

    Raises:
        TicketError: it cannot be used (`ticket_store_unavailable`).
    """
    # SQLite loads slowly, and only the sidecar needs it.
    from agentguard.enforcement import TicketStore

    return TicketStore(state.path / "tickets.sqlite")


class Spending:
    """A project's budgets, held on its ledger; alerts go to `bus`.

    Raises:
        ConfigError: budgets, prices or the state folder cannot be used.
        SpendError: the ledger cannot be opened.
    """

    def __init__(
        self,
        config: Config,
        *,
        environ: Mapping[str, str] | None = None,
        bus: EventBus | None = None,
        clock: Clock | None = None,
    ) -> None:
        # A cold `check` needs none of this.
        from agentguard.backends import (
            SqliteLedger,
        )
        from agentguard.spend import BudgetKeeper, SpendLimits

        settings = config.spend
        clock = clock or SystemClock()
        self._config = config
        self.budgets = read_budgets(config)
        self.prices = read_prices(config, self.budgets)
        state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
        commit = Commitments(commitment_key(state)).commit
        self.ledger = SqliteLedger(config.ledger_file)
        self.ledger.prune(before=clock.now() - timedelta(days=settings.retention_days))
        self.keeper = BudgetKeeper(
            self.budgets,
            self.prices,
            self.ledger,
            limits=SpendLimits(timedelta(seconds=settings.reservation_ttl_s), settings.max_output_tokens),
            clock=clock,
            bus=bus,
            digest=lambda prompt: commit(hashlib.sha256(prompt).hexdigest())["c"],
        )

    def spender(self, agent: str, *, session: str = "", task: str = "", key: str = "") -> Spender:
        """Return on whose account a call of this project's agent goes; `key` is the id of its token."""
        return Spender(
            organisation=self._config.spend.organisation,
            project=self._config.project.id,
            agent=agent,
            session=session,
            task=task,
            key=key,
        )

    def close(self) -> None:
        """Close the ledger. Idempotent."""
        self.ledger.close()


def open_gateway(
    engine: Engine,
    tokens: Tokens,
    events: Events,
    *,
    environ: Mapping[str, str] | None = None,
) -> tuple[Gateway, Spending] | None:
    """Return the project's LLM gateway and its budgets, to be closed; None if it names no upstreams.

    Raises:
        ConfigError: an upstream, its key or the budgets cannot be used.
        SpendError: the ledger cannot be opened.
    """
    # aiohttp loads slowly, and a project without upstreams needs none of this.
    from agentguard.gateway import Gateway, load_upstreams

    config = engine.project.config
    if not config.gateway.upstreams:
        return None
    environ = os.environ if environ is None else environ
    upstreams = load_upstreams(config.gateway, config.folder, environ)
    spending = Spending(config, environ=environ, bus=events.bus)
    gateway = Gateway(
        config.gateway,
        upstreams,
        decider=engine.pdp,
        verify_token=tokens.verifier.verify,
        budgets=spending.keeper,
        spender=spending.spender,
        blocking=config.audit.durability != "os",
        hold_s=config.approvals.hold_s,
    )
    return gateway, spending


def _spending_on_actions(
    config: Config, environ: Mapping[str, str] | None, clock: Clock | None, bus: EventBus | None
) -> Spending | None:
    """Return what holds actions to their budgets; None where no action costs anything, and no file is opened."""
    if not config.budgets_file.exists() or not read_budgets(config).tools:
        return None
    return Spending(config, environ=environ, bus=bus, clock=clock)


def _costs(spending: Spending | None) -> ActionCosts | None:
    if spending is None:
        return None

    def spender(principal: Principal, context: Context) -> Spender:
        return spending.spender(principal.id, session=context.session, task=context.task)

    return ActionCosts(spending.keeper, spender)


def read_budgets(config: Config) -> Budgets:
    """Return what the project's budgets file says; nothing if it has none.

    Raises:
        DocumentError: it cannot be read, or says what cannot be.
    """
    from agentguard.spend import load_budgets

    return load_budgets(config.budgets_file, name=config.spend.budgets)


def read_prices(config: Config, budgets: Budgets) -> PriceTable:
    """Return the project's price list, or the shipped one, under its own prices.

    Raises:
        ConfigError: the list cannot be read.
    """
    from agentguard.spend import load_prices

    return load_prices(config.prices_file if config.prices_file.exists() else None, budgets.prices)


def read_ledger(config: Config) -> SqliteLedger | None:
    """Return the project's ledger, to be closed; None if nothing was ever reserved.

    Raises:
        SpendError: the ledger cannot be opened.
    """
    from agentguard.backends import (
        SqliteLedger,
    )

    return SqliteLedger(config.ledger_file) if config.ledger_file.exists() else None


def verify_audit(
    config: Config,
    environ: Mapping[str, str] | None = None,
    *,
    path: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Return what the project's audit log, or the one at `path`, proves; heads by the project's own keys.

    Raises:
        ConfigError: the state folder cannot be used, or there is no log.
    """
    state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
    keys = audit_keys(state).public_keys()
    return verify(path or config.audit_folder, public_keys=keys, progress=progress)


def _risk(config: Config) -> RiskPolicy:
    risk = config.risk
    return RiskPolicy(
        default=Thresholds(risk.approval_from, risk.deny_from),
        environments={
            name: Thresholds(own.approval_from, own.deny_from) for name, own in risk.environments.items()
        },
    )


def _documents(folder: Path) -> list[Path]:
    return find_documents(folder) if folder.is_dir() else []
