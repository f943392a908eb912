"""What tells a project's people, from its settings."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentguard.assembly._events import Events
from agentguard.identity import StateFolder, link_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentguard.assembly._project import Project
    from agentguard.core import EventBus, Notifier
    from agentguard.notify import Outbox, OutboxNotifier, SlackClicks, VoteLinks


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


class Telling:
    """Tells of alerts of this process: events in the project's store, notices in its outbox, which the sidecar delivers.

    Raises:
        EventError: the event store cannot be opened.
        NotifyError: the outbox cannot be opened.
    """

    def __init__(self, project: Project) -> None:
        from agentguard.notify import AlertNotices

        with ExitStack() as opened:
            events = Events(project.config)
            opened.callback(events.close)
            self.bus: EventBus = events.bus
            self.notifier: Notifier | None = None
            if project.config.notify.channels:
                self.notifier = _takes_notices(project, opened)
                opened.callback(AlertNotices(self.bus, self.notifier).close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Write what was told. Idempotent."""
        self._opened.close()


def _takes_notices(project: Project, opened: ExitStack) -> OutboxNotifier:
    """Return what takes notices for others to deliver: it needs no secret of a channel, as no agent should have one."""
    from agentguard.backends import SqliteOutbox
    from agentguard.notify import OutboxNotifier, Routing, Templates, kinds_of

    config = project.config
    outbox = SqliteOutbox(config.notify_folder / "outbox.sqlite")
    opened.callback(outbox.close)
    return OutboxNotifier(
        (),
        routing=Routing(config.notify, kinds_of(config.notify)),
        outbox=outbox,
        templates=Templates(config.notify_folder),
        repeat_after_s=config.notify.repeat_after_s,
        delivers=False,
    )


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
