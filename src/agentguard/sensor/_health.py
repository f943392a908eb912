"""Asking a running sensor how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentguard.core import KernelError
from agentguard.sensor._frames import connect, receive, send
from agentguard.sensor._stream import AskHealth, Health, Refused, told_decoder

if TYPE_CHECKING:
    from pathlib import Path


def ask_health(path: Path) -> Health:
    """Return how the sensor at `path` is.

    Raises:
        KernelError: it is not there, or does not answer.
    """
    with connect(path) as connection:
        send(connection, AskHealth())
        told = receive(connection, told_decoder)
    if isinstance(told, Refused):
        raise refusal(told)
    if not isinstance(told, Health):
        raise gone()
    return told


def refusal(told: Refused) -> KernelError:
    """Return a refusal of the sensor as the error that it is here."""
    return KernelError(told.message, code=told.code, hint=told.hint or None)


def gone() -> KernelError:
    """Return the error for a sensor that does not answer any more."""
    return KernelError("the sensor is gone", code="sensor_missing", hint="as root: `agentguard sensor`")
