"""The settings: each with its variable, its default, and what its docstring says."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

from learnloop import settings

HOME = "/home/ana/.learnloop"
_INTRODUCTION = """# Settings

A setting comes from the environment, else from `stack.json` in the state directory (written by `make up`), else from its
default. Paths below are those of the state directory `$LEARNLOOP_HOME`. Neighbouring rows share a sentence: read downwards.
`LEARNLOOP_PORT` fixes the gateway's port of `make up`, and `LEARNLOOP_TOKEN` is the token that the command line uses; they
are read by those alone.

| variable | default | means |
|---|---|---|
"""


def page() -> str:
    """Markdown."""
    defaults = settings.load({"LEARNLOOP_HOME": HOME})
    said = meanings()
    rows = []
    for field in fields(settings.Settings):
        default = str(getattr(defaults, field.name)).replace(HOME, "$LEARNLOOP_HOME")
        default = default.replace(str(Path.home()), "$HOME") if field.name == "allowed_roots" else default
        shown = ".learnloop" if field.name == "home" else default
        rows.append(
            f"| `LEARNLOOP_{field.name.upper()}` | {f'`{shown}`' if shown else 'none'} | {said[field.name]} |\n"
        )
    return _INTRODUCTION + "".join(rows)


def meanings() -> dict[str, str]:
    """What stands below each field of `Settings`."""
    made: Any = ast.parse(inspect.getsource(settings.Settings)).body[0]
    found: dict[str, str] = {}
    for field, said in zip(made.body, made.body[1:], strict=False):
        match field, said:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = text.replace("``", "`").replace("|", "\\|")
    return found
