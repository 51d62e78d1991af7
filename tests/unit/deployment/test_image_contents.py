"""Images that hold a part of the code hold all that this part imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"learnloop": ROOT / "include", "annotation_app": ROOT}
# What starts in each image.
STARTED = {"annotation": ("annotation_app",), "training": ("learnloop.jobs", "learnloop.training")}


@pytest.mark.parametrize("image", STARTED)
def test_an_image_holds_what_its_code_imports(image: str) -> None:
    held = set(_copied((ROOT / "deploy" / "images" / image / "Dockerfile").read_text()))
    pending = {path for package in STARTED[image] for path in _files(package)}
    assert pending <= held
    seen: set[Path] = set()
    while pending - seen:
        path = (pending - seen).pop()
        seen.add(path)
        needed = set(_imported(path))
        missing = {str(one.relative_to(ROOT)) for one in needed - held}
        assert not missing, f"{path.relative_to(ROOT)} imports what the image {image} does not hold"
        pending |= needed


def _copied(dockerfile: str) -> Iterator[Path]:
    """The Python files that its COPY lines take from the repository."""
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = line.split()
        if words[:1] != ["COPY"] or words[1].startswith("--"):
            continue
        for source in words[1:-1]:
            for path in ROOT.glob(source):
                yield from path.rglob("*.py") if path.is_dir() else (path,)


def _imported(path: Path) -> Iterator[Path]:
    """The files of ours that a file imports, at its top or when a function runs; not those for type checkers only."""
    for node in _walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from _module(node.module)
            for name in node.names:
                yield from _module(f"{node.module}.{name.name}")


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _module(name: str) -> Iterator[Path]:
    """The file of a module of ours and those of the packages it is in; nothing for what is not ours or is no module."""
    first, *rest = name.split(".")
    if first not in PACKAGES:
        return
    base = PACKAGES[first].joinpath(first, *rest)
    if base.is_dir():
        yield base / "__init__.py"
    elif base.with_suffix(".py").is_file():
        yield base.with_suffix(".py")


def _files(package: str) -> Iterator[Path]:
    first, *rest = package.split(".")
    yield from PACKAGES[first].joinpath(first, *rest).rglob("*.py")
