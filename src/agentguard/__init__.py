"""Zero-trust runtime security for AI agents."""
