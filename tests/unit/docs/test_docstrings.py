"""What the reference pages show is explained: no class, function, command, option, route or setting without a text."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from learnloop.cli import app as command_line
from learnloop.settings import Settings
from learnloop_airflow.api.app import create_app

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "docs"))
from generate.settings_page import meanings  # noqa: E402


def test_every_class_and_function_of_the_reference_has_a_docstring() -> None:
    shown = [
        module
        for page in ("operators.md", "python.md")
        for module in re.findall(r"autoapimodule:: ([\w.]+)", ROOT.joinpath("docs", page).read_text())
    ]
    assert len(shown) > 25
    assert [name for module in shown for name in _unexplained(module)] == []


def test_every_family_of_operators_is_in_the_reference() -> None:
    folder = ROOT / "plugins" / "learnloop_airflow" / "operators"
    page = ROOT.joinpath("docs", "operators.md").read_text()
    families = {
        file.stem
        for file in folder.glob("*.py")
        if re.search(r"^class \w+\((?:BaseOperator|JobOperator)\)", file.read_text(), re.MULTILINE)
    }
    assert sorted(one for one in families if f"autoapimodule:: learnloop_airflow.operators.{one}\n" not in page) == []


def test_every_command_and_option_has_a_help_text() -> None:
    assert list(_silent(typer.main.get_command(command_line), "learnloop")) == []


def test_every_route_is_described() -> None:
    paths = create_app().openapi()["paths"]
    silent = [
        f"{method} {path}" for path, found in paths.items() for method, one in found.items() if "description" not in one
    ]
    assert silent == []


def test_every_setting_is_explained() -> None:
    assert {field.name for field in fields(Settings)} == {name for name, text in meanings().items() if text}


def _unexplained(module: str) -> Iterator[str]:
    base = ROOT / ("plugins" if module.startswith("learnloop_airflow") else "include")
    file = base.joinpath(*module.split(".")).with_suffix(".py")
    file = file if file.exists() else base.joinpath(*module.split("."), "__init__.py")
    tree = ast.parse(file.read_text())
    if not ast.get_docstring(tree):
        yield module
    operators = module.startswith("learnloop_airflow.")
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if operators and not isinstance(node, ast.ClassDef):
                continue
            if not ast.get_docstring(node):
                yield f"{module}.{node.name}"
            if isinstance(node, ast.ClassDef) and not operators:
                yield from (
                    f"{module}.{node.name}.{inner.name}"
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef)
                    and not inner.name.startswith("_")
                    and not ast.get_docstring(inner)
                )


def _silent(command: Any, name: str) -> Iterator[str]:
    if not command.help:
        yield name
    for option in command.params:
        if any(each.startswith("--") for each in option.opts) and not getattr(option, "help", None):
            yield f"{name} {option.opts[0]}"
    for inner in getattr(command, "commands", {}).values():
        yield from _silent(inner, f"{name} {inner.name}")
