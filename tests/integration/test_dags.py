"""The DAG files: they load, quickly, and load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAGS = sorted(Path("dags").rglob("*.py"))
TOGETHER = [[path] for path in DAGS if path.parent.name == "dags"] + [sorted(Path("dags/examples").glob("*.py"))]
"""Which are loaded in one process: a process of its own for each example is not worth its time."""
HEAVY = ("sklearn", "mlflow", "pandas", "numpy", "pyarrow", "skops", "PIL", "kubernetes")

PROBE = """
import sys, time, importlib.util
from airflow.sdk import DAG
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
before = set(sys.modules)
seconds = 0.0
for file in sys.argv[1:]:
    started = time.perf_counter()
    spec = importlib.util.spec_from_file_location("probed", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seconds = max(seconds, time.perf_counter() - started)
print("MODULES", *sorted({name.split(".")[0] for name in set(sys.modules) - before}))
print("SECONDS", seconds)
"""


@pytest.mark.parametrize("paths", TOGETHER, ids=lambda paths: "-".join(path.stem for path in paths))
def test_a_dag_file_loads_quickly_and_imports_nothing_heavy(paths: list[Path], tmp_path: Path) -> None:
    probed = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, paths)],
        env={"PATH": "", "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert probed.returncode == 0, probed.stderr[-2000:]
    lines = {line.split()[0]: line.split()[1:] for line in probed.stdout.splitlines() if line[:4] in ("MODU", "SECO")}
    assert not set(lines["MODULES"]) & set(HEAVY)
    assert float(lines["SECONDS"][0]) < 1.0


def test_every_dag_says_what_it_is_for() -> None:
    for path in DAGS:
        text = path.read_text()
        assert "doc_md=" in text, path
        assert "description=" in text, path
