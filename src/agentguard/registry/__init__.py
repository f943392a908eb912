"""What can be done at all, and what there is to do it to: the action registry and the inventory.

Enters: YAML or JSON files of a project, and the catalogue shipped with the package. Leaves: an immutable
`ActionRegistry` that checks parameters, an `Inventory` of resources and principals, SHA-256 manifests.
Called by: policy, pdp, assembly, cli. It must never run a precheck, decide anything, or name a parameter's
value in a reason.
"""

from agentguard.registry._actions import ActionRegistry, CompiledAction
from agentguard.registry._catalogue import verify_catalogue
from agentguard.registry._import import import_text, import_tools
from agentguard.registry._import_file import Merged, merge_actions, write_actions
from agentguard.registry._inventory import Inventory, ResourceEntry
from agentguard.registry._load import load_actions, load_inventory
from agentguard.registry._manifest import MANIFEST_NAME, verify_manifest, write_manifest
from agentguard.registry._secrets import mask_secrets
from agentguard.registry._tool import ImportedAction
from agentguard.registry._tool_value import target_kind

__all__ = [
    "MANIFEST_NAME",
    "ActionRegistry",
    "CompiledAction",
    "ImportedAction",
    "Inventory",
    "Merged",
    "ResourceEntry",
    "import_text",
    "import_tools",
    "load_actions",
    "load_inventory",
    "mask_secrets",
    "merge_actions",
    "target_kind",
    "verify_catalogue",
    "verify_manifest",
    "write_actions",
    "write_manifest",
]
