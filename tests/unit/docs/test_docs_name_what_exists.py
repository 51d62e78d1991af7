"""What the pages name is there: files, settings, make's targets, commands with their options, routes, modules."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from learnloop.cli import app as command_line
from learnloop.settings import Settings
from learnloop_airflow.api.app import create_app

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *ROOT.joinpath("docs").rglob("*.md")]
    if "reference" not in page.relative_to(ROOT).parts
)
FOLDERS = ("annotation_app", "dags", "deploy", "docs", "include", "plugins", "tests")
OTHER_VARIABLES = {"LEARNLOOP_PORT", "LEARNLOOP_TOKEN", "LEARNLOOP_FAULT", "LEARNLOOP_"}


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_files_that_a_page_names_are_there(page: Path) -> None:
    """Or git ignores them: they are made when they are needed."""
    tokens = re.findall(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w./*-]*)", page.read_text())
    named = {token.rstrip(".,:/") for token in tokens}
    missing = sorted(name for name in named if not any(ROOT.glob(name)))
    ignored = subprocess.run(["git", "check-ignore", *missing, "none"], cwd=ROOT, capture_output=True, text=True).stdout
    assert sorted(set(missing) - set(ignored.split())) == []


def test_links_to_files_lead_somewhere(page: Path) -> None:
    """Sphinx looks at those between pages; it does not see README, nor links to what is no page."""
    targets = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link}
    targets = {target for target in targets if target and not target.startswith("reference/")}
    assert sorted(target for target in targets if not (page.parent / target).exists()) == []


def test_settings_that_a_page_names_exist(page: Path) -> None:
    known = {f"LEARNLOOP_{field.name.upper()}" for field in fields(Settings)} | OTHER_VARIABLES
    named = set(re.findall(r"(?<!\.)LEARNLOOP_[A-Z_]*", page.read_text()))
    assert sorted(named - known) == []


def test_targets_of_make_that_a_page_names_exist(page: Path) -> None:
    known = set(re.findall(r"^([\w-]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE))
    assert sorted(named - known) == []


def test_commands_of_compose_say_where_its_settings_are(page: Path) -> None:
    """Without them the guards of docker-compose.yaml refuse any command."""
    assert _unguided(page.read_text()) == []


def test_commands_that_a_page_shows_exist_with_their_options(page: Path) -> None:
    assert [said for line in _commands(page.read_text()) if (said := _wrong(line))] == []


def test_routes_that_a_page_names_exist(page: Path, routes: set[str]) -> None:
    found = re.findall(r"\b(GET|POST|PUT|DELETE) (/[\w{}/.-]+)", page.read_text())
    named = {f"{method} {_shape(path.removeprefix('/learnloop/api/v1'))}" for method, path in found}
    elsewhere = ("/auth/", "/api/", "/v2/", "/metrics", "/openapi.json", "/dags", "/version", "/pools", "/execution/")
    ours = {name for name in named if not name.split(" ")[1].startswith(elsewhere)}
    assert sorted(ours - routes) == []


@pytest.fixture(scope="module")
def routes() -> set[str]:
    paths = create_app().openapi()["paths"]
    return {f"{method.upper()} {_shape(path)}" for path, operations in paths.items() for method in operations}


def test_modules_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"`(learnloop(?:_airflow)?(?:\.\w+)+)(?:\([^`]*\))?`", page.read_text()))
    assert sorted(name for name in named if not _is_there(name)) == []


def test_what_is_looked_at_is_found() -> None:
    """The tests above would also pass if they found nothing."""
    text = ROOT.joinpath("README.md").read_text()
    assert len(list(_commands(text))) > 20
    assert _wrong("dataset lock animals --wait") is None
    assert _wrong("dataset lock animals --wiat") == "dataset lock animals --wiat: no option --wiat"
    assert _wrong("dataset lokc animals") == "dataset lokc animals: no command lokc"
    assert not _is_there("learnloop.datasets.nothing")
    assert not _unguided("docker compose --env-file deploy/compose/.env ps")
    assert _unguided("`docker\ncompose ps`, then `docker compose`") == ["docker\ncompose ps", "docker compose"]
    assert "docker compose --env-file" in ROOT.joinpath("docs", "operations.md").read_text()


def _unguided(text: str) -> list[str]:
    """Commands of Compose without its settings' file. It may be anywhere before the verb, and the pages have it first."""
    return re.findall(r"\bdocker\s+compose\b(?!\s+--env-file\s+deploy/compose/\.env\b)[^`\n]*", text)


def _commands(text: str) -> Iterator[str]:
    for line in re.findall(r"^(?:    |\$ )?(?:\$ )?learnloop ([a-z][^\n]*)$", text, re.MULTILINE):
        yield re.split(r"\s+#|\s+\||\s*[;,]$", line)[0]
    for line in re.findall(r"`learnloop ([a-z][^`\n]*)`", text):
        yield line


def _wrong(line: str) -> str | None:
    """What is wrong with a command, None if nothing is. Words in capitals and optional parts stand for values."""
    command: Any = _parser()
    words = shlex.split(line.replace("[", "").replace("]", "").replace("...", ""))
    while words and hasattr(command, "commands"):
        word = words.pop(0)
        if word not in command.commands:
            return f"{line}: no command {word}"
        command = command.commands[word]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{line}: no option {unknown[0]}" if unknown else None


@cache
def _parser() -> Any:
    return typer.main.get_command(command_line)


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("./")


def _is_there(dotted: str) -> bool:
    parts = dotted.split(".")
    base = ROOT / ("plugins" if parts[0] == "learnloop_airflow" else "include")
    for end in range(len(parts), 0, -1):
        for file in (base.joinpath(*parts[:end]).with_suffix(".py"), base.joinpath(*parts[:end], "__init__.py")):
            if file.exists():
                source = file.read_text()
                return all(re.search(rf"\b{re.escape(name)}\b", source) for name in parts[end:])
    return False
