"""The sentences that the API and the page's own parts say to an annotator, as they are in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from learnloop import errors

ROOT = Path(__file__).parents[3]
DOMAIN = ROOT / "include" / "learnloop"
# Where what an annotator or a reviewer does at the page may be refused, and the functions whose words are part of it.
RAISING = (
    DOMAIN / "annotation" / "queue.py",
    DOMAIN / "annotation" / "answers.py",
    DOMAIN / "annotation" / "listing.py",
    DOMAIN / "annotation" / "undo.py",
    DOMAIN / "annotation" / "reviews.py",
    DOMAIN / "annotation" / "adjudication.py",
    DOMAIN / "annotation" / "guide.py",
    *(
        DOMAIN / "annotation" / "exchange" / name
        for name in ("importing.py", "incoming.py", "label_studio.py", "tables.py")
    ),
    DOMAIN / "permissions.py",
    ROOT / "annotation_app" / "images.py",
    ROOT / "annotation_app" / "rows.py",
    ROOT / "plugins" / "learnloop_airflow" / "api" / "auth.py",
    ROOT / "plugins" / "learnloop_airflow" / "api" / "etags.py",
    ROOT / "plugins" / "learnloop_airflow" / "api" / "samples.py",
)
SAYING = {
    DOMAIN / "limits.py": {"take"},
    DOMAIN / "annotation" / "undo.py": {"_check_nothing_followed"},
    DOMAIN / "annotation" / "queue.py": {"state_of"},
    DOMAIN / "annotation" / "guide.py": {"_faults"},
    DOMAIN / "annotation" / "exchange" / "incoming.py": {"raise_if_any"},
    DOMAIN / "annotation" / "quality" / "policy.py": {"decide", "_of_one", "_of_many", "_differing"},
    DOMAIN / "annotation" / "quality" / "consensus.py": {"majority", "dawid_skene"},
    DOMAIN / "annotation" / "quality" / "checks.py": {"_suspicion"},
    DOMAIN / "annotation" / "quality" / "speed.py": {"too_fast", "too_slow"},
    DOMAIN / "training" / "policy.py": {"evaluate", "_reason", "_doubt"},
    DOMAIN / "client.py": {"_send", "login"},
    DOMAIN / "datasets" / "versions.py": {"no_dataset"},
    ROOT / "plugins" / "learnloop_airflow" / "api" / "problems.py": {"no_database", "unforeseen"},
    ROOT / "plugins" / "learnloop_airflow" / "api" / "routes" / "tasks.py": {"_visible", "list_tasks"},
}


def sentences() -> dict[str, str]:
    """Each sentence (a plain string, or an f-string with its expressions in braces) and where it is."""
    found = {}
    for path in RAISING:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _is_ours(node.exc):
                for said in _strings(node.exc):
                    found[said] = f"{path.relative_to(ROOT)}:{node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("open_review", "problems.add"):
                for said in _strings(node, words=True):  # what a reviewer reads, and who imports a file
                    found[said] = f"{path.relative_to(ROOT)}:{node.lineno}"
    for path, names in SAYING.items():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name in names:
                for said in _strings(function, words=True):
                    found[said] = f"{path.relative_to(ROOT)}:{function.lineno}"
    return {said: where for said, where in found.items() if re.search(r"[^\W\d_]", re.sub(r"\{[^{}]*\}", "", said))}


def _is_ours(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    return hasattr(errors, name)


def _strings(node: ast.AST, words: bool = False) -> Iterator[str]:
    """The outermost strings in ``node``; with ``words`` only such as have a space: the others are no sentences."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield _template(child)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            if not words or (" " in child.value and not re.search(r"[.\n%]", child.value)):
                yield child.value
        else:
            yield from _strings(child, words)


def _template(node: ast.JoinedStr) -> str:
    return "".join(
        part.value if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}" for part in node.values
    )
