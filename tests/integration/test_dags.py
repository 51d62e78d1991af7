"""The DAG files: they load, quickly, and load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DAGS = sorted(Path("dags").rglob("*.py"))
HEAVY = ("sklearn", "mlflow", "pandas", "numpy", "pyarrow", "skops", "PIL", "kubernetes")

PROBE = """
import sys, time, importlib.util
from airflow.sdk import DAG
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
before = set(sys.modules)
started = time.perf_counter()
spec = importlib.util.spec_from_file_location("probed", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
seconds = time.perf_counter() - started
print("MODULES", *sorted({name.split(".")[0] for name in set(sys.modules) - before}))
print("SECONDS", seconds)
print("DAGS", *[value.dag_id for value in vars(module).values() if isinstance(value, DAG)])
"""


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_file_loads_quickly_and_imports_nothing_heavy(path: Path, tmp_path: Path) -> None:
    probed = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)],
        env={"PATH": "", "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert probed.returncode == 0, probed.stderr[-2000:]
    lines = {
        line.split()[0]: line.split()[1:] for line in probed.stdout.splitlines() if line[:4] in ("MODU", "SECO", "DAGS")
    }
    assert not set(lines["MODULES"]) & set(HEAVY)
    assert float(lines["SECONDS"][0]) < 1.0


def test_every_dag_says_what_it_is_for() -> None:
    for path in DAGS:
        text = path.read_text()
        assert "doc_md=" in text, path
        assert "description=" in text, path
