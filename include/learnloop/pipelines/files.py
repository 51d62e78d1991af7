"""The files that show pipelines to Airflow: for each a folder with its YAML, and a loader that is the same for all."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from learnloop.errors import Corrupted
from learnloop.pipelines.stored import Shown

DECLARATION = "pipeline.yaml"
LOADER = "pipeline.py"
LOADER_TEXT = '''"""Shows the pipeline beside it to Airflow as a DAG. Nothing of it is in here: all have the same file."""

from learnloop_airflow.pipelines.loading import dag_of

dag = dag_of(__file__)
'''


class _Dumper(yaml.SafeDumper):
    """ASCII alone, the rest escaped: PyYAML does not read all back that it writes as it is (U+0085)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(root: Path, shown: list[Shown]) -> None:
    """Make ``root`` show just these. What is as it should be is not touched, so that its time says when it changed."""
    root.mkdir(parents=True, exist_ok=True)
    kept = {each.name for each in shown}
    for folder in root.iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    for each in shown:
        folder = root / each.name
        folder.mkdir(exist_ok=True)
        changed = _place(folder / DECLARATION, yaml.dump(asdict(each), Dumper=_Dumper, sort_keys=False))
        # Airflow looks at the loader's time to see that there is something new.
        _place(folder / LOADER, LOADER_TEXT, again=changed)


def read(path: Path) -> Shown:
    """What `write` put there.

    Raises:
        Corrupted: somebody else has written there.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return Shown(**yaml.load(path.read_text(encoding="utf-8"), Loader=loader))  # noqa: S506 - it is a safe one
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        said = re.sub(r"\s+", " ", str(error))
        raise Corrupted(
            f"{path} is not what was written there: {said}; the dag-processor makes it anew when it starts"
        ) from error


def _place(path: Path, text: str, *, again: bool = False) -> bool:
    """Put ``text`` there, whole or not at all, for reading only; False when it is there already."""
    try:
        if not again and path.read_text(encoding="utf-8") == text:
            return False
    except (FileNotFoundError, ValueError):
        pass  # there is nothing, or nothing of ours
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o444)
    temporary.replace(path)
    return True
