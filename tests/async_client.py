"""Makes ``learnloop/client_async.py`` from the client's modules: the same methods, each awaited (`make client`).

One source, so that the two cannot differ; a test compares. What is changed: methods that wait become coroutines,
generators become asynchronous ones, and httpx's client is the asynchronous one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "include" / "learnloop"
TARGET = PACKAGE / "client_async.py"
HEAD = '''"""The client of ``learnloop.client`` for asyncio: the same methods, each awaited.

    async with await AsyncLearnloopClient.login("http://127.0.0.1:8080", "annotator", password) as client:
        task = await client.claim("digits")

Made from the client's modules by `make client`: change those.
"""

'''
RENAMED = {
    "LearnloopClient": "AsyncLearnloopClient",
    "Iterator": "AsyncIterator",
    "Iterable": "AsyncIterable",
    "iter_bytes": "aiter_bytes",
    "iter_lines": "aiter_lines",
    "read": "aread",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
}
MIXIN = "Methods"


def modules() -> list[Path]:
    """The parts, and last the client itself."""
    return [*sorted(PACKAGE.glob("client_*.py")), PACKAGE / "client.py"]


def made() -> str:
    """The text of the module, as ruff formats it."""
    trees = [ast.parse(path.read_text()) for path in modules() if path != TARGET]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef) and _sends(node)]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and _reads(node)]
    waiting, generators = _what_waits(classes, functions)
    change = _Change(waiting, generators)
    body = [change.visit(node) for node in (*functions, *classes)]
    text = HEAD + ast.unparse(ast.Module([*_imports(trees, body), *body], []))
    for arguments in (["check", "--fix", "--quiet", "--ignore", "ALL", "--extend-select", "I,F401"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def _sends(node: ast.ClassDef) -> bool:
    return node.name.endswith(MIXIN) or node.name == "LearnloopClient"


def _reads(node: ast.FunctionDef) -> bool:
    """A function that is given what arrives line by line."""
    return any("Iterable" in ast.unparse(each.annotation) for each in node.args.args if each.annotation)


def _what_waits(classes: list[ast.ClassDef], functions: list[ast.FunctionDef]) -> tuple[set[str], set[str]]:
    """The names of methods that wait for something, and of those that give one thing after the other."""
    methods = [node for each in classes for node in ast.walk(each) if isinstance(node, ast.FunctionDef)]
    methods += functions
    generators = {node.name for node in methods if any(isinstance(part, ast.Yield) for part in ast.walk(node))}
    waiting = {"request", "sleep", "close", "read"}
    while True:
        enough = waiting | generators | {"stream"}
        found = {
            node.name
            for node in methods
            if any(isinstance(part, ast.Call) and _called(part) in enough for part in ast.walk(node))
        }
        if found - generators <= waiting:
            return waiting | {"__enter__"}, generators
        waiting |= found - generators


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


class _Change(ast.NodeTransformer):
    def __init__(self, waiting: set[str], generators: set[str]) -> None:
        self.waiting = waiting
        self.generators = generators

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = f"Async{node.name}"
        self.generic_visit(node)
        for base in node.bases:
            if isinstance(base, ast.Name) and base.id.endswith(MIXIN):
                base.id = f"Async{base.id}"
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        stub = (
            isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant) and len(node.body) == 1
        )
        name = node.name
        self.generic_visit(node)
        node.name = RENAMED.get(name, name)
        if name in self.waiting or (name in self.generators and not stub):
            return ast.AsyncFunctionDef(**{field: getattr(node, field) for field in node._fields}, lineno=0)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = _called(node)
        self.generic_visit(node)
        return ast.Await(node) if name in self.waiting else node

    def visit_With(self, node: ast.With) -> ast.AST:
        self.generic_visit(node)
        return ast.AsyncWith(node.items, node.body, lineno=0)

    def visit_For(self, node: ast.For) -> ast.AST:
        asynchronous = isinstance(node.iter, ast.Call) and (
            _called(node.iter) in self.generators | {"iter_bytes", "iter_lines"}
            or (isinstance(node.iter.func, ast.Name) and node.iter.func.id in self.generators)
            or (isinstance(node.iter.func, ast.Name) and node.iter.func.id == "server_sent")
        )
        lines = isinstance(node.iter, ast.Name) and node.iter.id == "lines"
        self.generic_visit(node)
        if asynchronous or lines:
            return ast.AsyncFor(node.target, node.iter, node.body, node.orelse, lineno=0)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        where = ast.unparse(node)
        self.generic_visit(node)
        changed = {
            "time.sleep": "asyncio.sleep",
            "httpx.Client": "httpx.AsyncClient",
            "self._http.close": "self._http.aclose",
        }.get(where)
        if changed:
            return ast.parse(changed, mode="eval").body
        node.attr = RENAMED.get(node.attr, node.attr)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = RENAMED.get(node.id, node.id)
        return node


def _imports(trees: list[ast.Module], body: list[ast.AST]) -> list[ast.stmt]:
    """What the parts import from elsewhere, and from their own modules what is not made anew here."""
    here = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}
    used = {node.id for each in body for node in ast.walk(each) if isinstance(node, ast.Name)}
    found: list[ast.stmt] = [*ast.parse("from __future__ import annotations\nimport asyncio\nimport httpx").body]
    for tree, path in zip(trees, [path for path in modules() if path != TARGET], strict=True):
        module = f"learnloop.{path.stem}"
        own = {
            target.id if isinstance(target, ast.Name) else ""
            for node in tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        } | {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        if names := sorted((own & used) - here):
            found.append(ast.ImportFrom(module, [ast.alias(name) for name in names], 0))
        for node in tree.body:
            if isinstance(node, ast.Import):
                found.append(node)
            elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
                kept = [
                    ast.alias(RENAMED.get(each.name, each.name))
                    for each in node.names
                    if not str(node.module).startswith("learnloop.client") and RENAMED.get(each.name, each.name) in used
                ]
                if kept:
                    found.append(ast.ImportFrom(node.module, kept, 0))
    return found


if __name__ == "__main__":
    TARGET.write_text(made())
