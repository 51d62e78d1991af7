"""What runs docker-compose.yaml natively says which programs it lacks, and the docs name their packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import native_programs
from native_programs import PACKAGES, missing

from learnloop.stack.places import ROOT


def _install(folder: Path, *programs: str) -> str:
    for program in programs:
        (folder / program).touch(mode=0o755)
    return str(folder)


def test_what_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    places = _install(tmp_path, *(set(PACKAGES) - {"redis-cli", "prometheus-alertmanager"}))
    assert missing(whole=True, places=places) == (
        "not installed: redis-cli, prometheus-alertmanager (apt-get install redis-tools prometheus-alertmanager)"
    )
    assert missing(whole=False, places=places) == "not installed: redis-cli (apt-get install redis-tools)"
    assert missing(whole=True, places=_install(tmp_path, *PACKAGES)) == ""


def test_the_target_asks_before_it_sets_anything_up(tmp_path: Path) -> None:
    why = missing(whole=True)
    asked = subprocess.run([sys.executable, str(native_programs.__file__)], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == ((1, f"compose-native: {why}\n") if why else (0, ""))
    shown = subprocess.run(
        ["make", "--dry-run", f"LEARNLOOP_HOME={tmp_path}", "compose-native"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert shown.index("native_programs.py") < shown.index("bootstrap.py --test") < shown.index("pytest")


def test_the_docs_name_the_packages() -> None:
    assert f"apt-get install {' '.join(PACKAGES.values())}\n" in (ROOT / "docs" / "operations.md").read_text()
