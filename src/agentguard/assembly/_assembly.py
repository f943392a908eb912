"""The decision point, the events, the budgets and the gateway of a project, built and wired."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agentguard.approvals import Router
from agentguard.assembly._approvals import open_approvals, open_log
from agentguard.audit import Commitments, verify
from agentguard.core import (
    Clock,
    Context,
    Integrity,
    Label,
    Principal,
    Sensitivity,
    Spender,
    SystemClock,
)
from agentguard.enforcement import TicketIssuer
from agentguard.identity import (
    People,
    StateFolder,
    TicketKeys,
    audit_keys,
    commitment_key,
)
from agentguard.pdp import (
    ActionCosts,
    ApprovalDesk,
    Keeper,
    PolicyDecisionPoint,
    edit_problem,
)
from agentguard.policy import PolicySet, PolicyWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentguard.assembly._events import Events
    from agentguard.assembly._project import Project
    from agentguard.assembly._tokens import Tokens
    from agentguard.audit import Verification
    from agentguard.backends import SqliteLedger
    from agentguard.config import Config
    from agentguard.core import ApprovalEngine, Event, EventBus, Notifier
    from agentguard.enforcement import TicketStore
    from agentguard.gateway import Gateway
    from agentguard.sensor import SensorLink
    from agentguard.spend import BudgetFollower, Budgets, PriceTable

_log = logging.getLogger("agentguard.policy")


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
        self._environ, self._clock, self._bus = environ, clock, bus
        self._opening = threading.Lock()
        self.spending = _spending_on_actions(config, environ, clock, bus, follows=keeps_sessions)
        self.state = StateFolder.open(config.project.id, os.environ if environ is None else environ)
        self.audit_keys = audit_keys(self.state)
        self.audit = open_log(config, self.audit_keys)
        self.ticket_keys = TicketKeys(self.state)
        self._keeper = Keeper(self.state.path) if keeps_sessions else None
        commit = Commitments(commitment_key(self.state)).commit

        def open_engine() -> ApprovalEngine:
            return open_approvals(
                config,
                os.environ if environ is None else environ,
                telling={"bus": bus, "notifier": notifier, "keeps_time": keeps_sessions},
                audit=self.audit,
                find_person=People(self.state).person,
                check_edit=lambda approval, patch: edit_problem(self.pdp.world, approval, patch, commit),
            )

        self._desk = ApprovalDesk(open_engine, Router(config.approvals), commit=commit, notifier=notifier)
        self.pdp = PolicyDecisionPoint(
            project.world(),
            audit=self.audit,
            commit=commit,
            clock=clock,
            history=self._keeper.history if self._keeper else None,
            flow=self._keeper.flow if self._keeper else None,
            tickets=TicketIssuer(self.ticket_keys, ttl_s=config.identity.ticket_ttl_s),
            costs=_costs(self.spending),
            desk=self._desk,
            journals=self._keeper.journals if self._keeper else None,
        )
        self._watcher = PolicyWatcher(project.policies, self._adopt)

    @property
    def approvals(self) -> ApprovalEngine:
        """What asks people, opened.

        Raises:
            ApprovalError: it cannot be opened.
        """
        return self._desk.engine

    def hold_models(self) -> Spending | None:
        """Return what holds this process's model calls to the project's budgets, opened; None where it has no budgets.

        Raises:
            ConfigError: budgets or prices cannot be used.
            SpendError: the ledger cannot be opened.
        """
        config = self.project.config
        with self._opening:
            if self.spending is None and config.budgets_file.exists():
                self.spending = Spending(config, environ=self._environ, bus=self._bus, clock=self._clock)
            if self.spending is not None and not self.spending.is_following:
                self.spending.follow()
            return self.spending

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
        if self.spending is not None:
            self.spending.close()


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
        from agentguard.backends import SqliteLedger
        from agentguard.spend import BudgetKeeper, SpendLimits

        settings = config.spend
        clock = clock or SystemClock()
        self._config = config
        self._follower: BudgetFollower | None = None
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

    @property
    def is_following(self) -> bool:
        """Whether changed budgets and prices are taken up."""
        return self._follower is not None

    def follow(self) -> BudgetFollower:
        """Take up changed budgets and prices from now on, as rules are."""
        from agentguard.spend import BudgetFollower

        files = (self._config.budgets_file, self._config.prices_file)
        self._follower = BudgetFollower(files, self._read, self.keeper)
        return self._follower

    def _read(self) -> tuple[Budgets, PriceTable]:
        budgets = read_budgets(self._config)
        return budgets, read_prices(self._config, budgets)

    def close(self) -> None:
        """Stop following files and close the ledger. Idempotent."""
        if self._follower is not None:
            self._follower.stop()
        self.ledger.close()


def open_sensor_link(engine: Engine, events: Events) -> SensorLink:
    """Return what follows the machine's sensor for this project, to be started and closed; none need be there yet."""
    from agentguard.sensor import SensorLink

    project = engine.project
    return SensorLink(
        Path(project.config.sensor.socket),
        project=project.config.project.id,
        decider=engine.pdp,
        audit=engine.audit,
        store=events.store,
        bus=events.bus,
        principal_named=project.principal,
        is_expected=bool(project.config.sensor.watch),
    )


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
    # It loads slowly, and a project without upstreams needs none of this.
    from agentguard.gateway import Gateway, load_upstreams

    config = engine.project.config
    if not config.gateway.upstreams:
        return None
    environ = os.environ if environ is None else environ
    upstreams = load_upstreams(config.gateway, config.folder, environ)
    spending = engine.spending or Spending(config, environ=environ, bus=events.bus)
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
    config: Config,
    environ: Mapping[str, str] | None,
    clock: Clock | None,
    bus: EventBus | None,
    *,
    follows: bool,
) -> Spending | None:
    """Return what holds actions to their budgets; None where none costs anything, or may do so later (`follows`)."""
    if not config.budgets_file.exists() or not (follows or read_budgets(config).tools):
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
    from agentguard.backends import SqliteLedger

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
