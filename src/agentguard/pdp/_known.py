"""What this project declares, for linting and explaining: actions, inventory, obligations that can be met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentguard.core import RequestError, normalise_resource_id
from agentguard.enforcement import obligation_problem
from agentguard.facts import FactExtractor
from agentguard.policy import Concern, LintFinding, PolicySet, concerns, lint, shown_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from agentguard.core import Action, Principal, Request, Resource
    from agentguard.pdp._evaluate import World
    from agentguard.registry import ActionRegistry, Inventory


def lint_policies(
    policies: PolicySet, registry: ActionRegistry, inventory: Inventory, *, now: datetime
) -> list[LintFinding]:
    """Return what is wrong, or probably not meant, in `policies` for a project with these declarations."""
    return lint(policies, _Known(registry, inventory), now=now, obligation_problem=obligation_problem)


def concerns_of(world: World, request: Request) -> tuple[Concern, ...]:
    """Return the rules about more than one request that a request concerns; none for an undeclared action."""
    action = world.registry.resolve(request.action)
    if action is None:
        return ()
    try:
        resource = world.inventory.resolve(normalise_resource_id(request.resource))
    except RequestError:
        return ()
    families = world.facts.view(action.action, request.params, resource).families
    return concerns(world.policies, action.action, families)


def facts_of(world: World, request: Request) -> Mapping[str, Any]:
    """Return what the arguments of a request state, fit to be shown: no text of an action that has secrets.

    Raises:
        RequestError: the request names no resource.
    """
    action = world.registry.resolve(request.action)
    if action is None:
        return {}
    resource = world.inventory.resolve(normalise_resource_id(request.resource))
    found = world.facts.extract(action.action, request.params, resource)
    return shown_facts(found, conceal=bool(action.secret_paths))


class _Known:
    """What is declared (`policy.KnownWorld`)."""

    def __init__(self, registry: ActionRegistry, inventory: Inventory) -> None:
        self._registry = registry
        self._inventory = inventory
        self._facts = FactExtractor()
        self.actions: Sequence[Action] = list(registry)
        self.principals: Mapping[str, Principal] = inventory.principals
        self.resources: Sequence[Resource] = [
            inventory.resolve(entry.id) for entry in inventory.resources if "*" not in entry.id
        ]

    def resolve(self, resource_id: str) -> Resource:
        """Return what is known of a resource."""
        return self._inventory.resolve(resource_id)

    def check_params(self, action: Action) -> Callable[[dict[str, Any]], bool]:
        """Return what tells whether parameters pass the schema of `action`."""
        compiled = self._registry.resolve(action.reference)
        return lambda params: compiled is not None and compiled.check(params) is None

    def facts_stated(self, action: Action, resource_id: str) -> frozenset[str]:
        """Return the names of all facts that requests for `action` on that resource can state."""
        return self._facts.stated(action, resource_id)
