"""What is inside an argument: SQL, command lines, paths, hosts, mail, read by real parsers into typed facts.

Enters: an action (whose schema declares which argument is what), its parameters, the resource. Leaves: facts by
name (`core.FACTS`), worked out when a rule asks and cached. Called by: the PDP. It must never raise on what an
agent wrote, never run past its limits, and never guess what an argument is from its name.
"""

from agentguard.facts._extract import FactExtractor, FactSettings
from agentguard.facts._path import path_class

__all__ = ["FactExtractor", "FactSettings", "path_class"]
