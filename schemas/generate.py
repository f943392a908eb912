# ruff: noqa: INP001 - a script, run by hand and in no package
"""Writes the generated descriptions again: `python schemas/generate.py`."""

import json
from pathlib import Path

import msgspec

from agentguard.server import openapi

text = json.dumps(msgspec.to_builtins(openapi()), indent=2, ensure_ascii=False)
(Path(__file__).parent / "openapi.json").write_text(text + "\n", encoding="utf-8")
