"""Lay a declaration over the pipeline that it extends.

A field given replaces the base's. Of ``params``, ``env``, ``secrets``, ``inputs`` and ``resources`` single entries are
replaced; null takes an entry away (but is a value in ``params``). A stage that is null is left out; one that the base has
not is added.
"""

from __future__ import annotations

from typing import Any

from learnloop.pipelines.graph import Graph

_BY_ENTRY = ("params", "env", "secrets", "inputs", "resources")
_EITHER = {"module": "command", "command": "module"}


def lay_over(base: Graph, declared: dict[str, Any]) -> dict[str, Any]:
    """``declared`` with all that ``base`` says and it does not. What is malformed stays, for the check to name."""
    whole = base.declaration()
    stages = declared.get("stages", {})
    if not isinstance(stages, dict):
        return declared
    merged = dict(whole["stages"])
    for name, stage in stages.items():
        if stage is None:
            if merged.pop(name, None) is None:
                merged[name] = None
        elif isinstance(stage, dict) and name in merged:
            merged[name] = _lay_stage(merged[name], stage)
        else:
            merged[name] = stage
    return {**whole, **declared, "stages": merged}


def _lay_stage(base: dict[str, Any], stage: dict[str, Any]) -> dict[str, Any]:
    merged = {field: value for field, value in base.items() if _EITHER.get(field) not in stage or field in stage}
    for field, value in stage.items():
        if field in _BY_ENTRY and isinstance(value, dict) and isinstance(merged.get(field), dict):
            entries = {**merged[field], **value}
            kept = entries if field == "params" else {key: each for key, each in entries.items() if each is not None}
            merged[field] = kept
        elif value is None and field in merged:
            del merged[field]
        else:
            merged[field] = value
    return merged
