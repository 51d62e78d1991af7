"""`make docs`: the whole site, without a warning, readable without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site() -> Path:
    home = Path(os.environ.get("LEARNLOOP_HOME", ROOT / ".learnloop")).resolve()
    made = subprocess.run(
        ["make", "docs"],
        cwd=ROOT,
        env={**os.environ, "LEARNLOOP_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-4000:]
    assert "WARNING" not in made.stderr.replace("WARNING: Location", "")
    return home / "site"


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {"index.html", "quick-start.zh.html", "operators.html"} <= {page.name for page in pages}
    assert "LEARNLOOP_DATABASE_URL" in _text(site / "reference" / "settings.html")
    assert "learnloop dataset snapshot" in _text(site / "reference" / "command-line.html")
    assert "POST /datasets/{name}/lock" in _text(site / "reference" / "http-api.html")
    assert "SnapshotOperator" in _text(site / "operators.html")
    loaded = [
        (page.name, found)
        for page in pages
        for found in re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*", page.read_text()
        )
    ]
    assert loaded == []
    fetched = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")
    assert [style.name for style in site.rglob("*.css") if fetched.search(style.read_text())] == []


def test_a_link_that_leads_nowhere_ends_the_build(site: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for package in ("include", "plugins"):
        tmp_path.joinpath(package).symlink_to(ROOT / package)
    page = tmp_path / "docs" / "loop.md"
    page.write_text(page.read_text() + "\n[nowhere](nothing.md) [no heading](models.md#nothing)\n")
    sphinx = site.parent / "docs-venv" / "bin" / "sphinx-build"
    made = subprocess.run(
        [sphinx, "-q", "-W", "--keep-going", tmp_path / "docs", tmp_path / "site"], capture_output=True, text=True
    )
    assert made.returncode != 0
    assert "'nothing.md'" in made.stderr
    assert "'nothing'" in made.stderr


def _text(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())
