"""Tells people: Slack, mail, PagerDuty, Teams, webhooks; by severity, at least once, each channel by itself.

Enters: `Notice`s (parts of which an agent wrote), settings, secrets. Leaves: messages, dead letters, and votes that came
back as links or clicks, read and checked. Called by: approvals and pdp through the port `Notifier`, assembly, server.
It must never wait for a channel in `notify`, put a secret into a message, a log or an error, or vote by itself.
"""

from agentguard.notify._alerts import AlertNotices
from agentguard.notify._build import build_channels, channel_secret
from agentguard.notify._channel import Channel, DeliveryError
from agentguard.notify._email import Email
from agentguard.notify._links import VoteLink, VoteLinks
from agentguard.notify._message import Button, Message, Templates
from agentguard.notify._notifier import OutboxNotifier
from agentguard.notify._outbox import Delivery, Draft, Outbox, State
from agentguard.notify._pagerduty import PagerDuty
from agentguard.notify._routing import Routing, kinds_of
from agentguard.notify._slack import Click, SlackApp, SlackClicks, SlackWebhook, answer_click
from agentguard.notify._teams import Teams
from agentguard.notify._webhook import Webhook

__all__ = [
    "AlertNotices",
    "Button",
    "Channel",
    "Click",
    "Delivery",
    "DeliveryError",
    "Draft",
    "Email",
    "Message",
    "Outbox",
    "OutboxNotifier",
    "PagerDuty",
    "Routing",
    "SlackApp",
    "SlackClicks",
    "SlackWebhook",
    "State",
    "Teams",
    "Templates",
    "VoteLink",
    "VoteLinks",
    "Webhook",
    "answer_click",
    "build_channels",
    "channel_secret",
    "kinds_of",
]
