"""Reads the YAML and JSON files that people write, strictly, and remembers the line of every value.

Enters: a path, or a text with a name. Leaves: a `Document`, whose `convert` gives a typed struct or a
`DocumentError` with file, line, field and what was expected. Called by: every room that has files of its own
(registry, policy, config). It must never guess: what two readers could read in two ways is refused.
"""

from agentguard.documents._document import (
    Document,
    find_documents,
    parse,
    parse_foreign,
    read,
    read_text,
)

__all__ = ["Document", "find_documents", "parse", "parse_foreign", "read", "read_text"]
