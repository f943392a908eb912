"""What is known of the world when rules are checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentguard.core import Action, Principal, Resource


class KnownWorld(Protocol):
    """Declared actions, listed principals and resources."""

    @property
    def actions(self) -> Sequence[Action]:
        """Every declared action."""

    @property
    def principals(self) -> Mapping[str, Principal]:
        """Every listed principal, by id."""

    @property
    def resources(self) -> Sequence[Resource]:
        """Every listed resource that is no pattern."""

    def resolve(self, resource_id: str) -> Resource:
        """Return what is known of a resource."""

    def check_params(self, action: Action) -> Callable[[dict[str, Any]], bool]:
        """Return what tells whether parameters pass the schema of `action`."""

    def facts_stated(self, action: Action, resource_id: str) -> frozenset[str]:
        """Return the names of all facts that requests for `action` on that resource can state."""
