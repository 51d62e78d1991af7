"""Airflow's own metrics leave by OTLP, to where Prometheus 3 takes them, as the documentation says to set it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from otlp_receiver import receiving

DOCUMENT = Path(__file__).parents[3] / "docs" / "observability.md"
PROGRAM = """
from airflow.observability import stats
from airflow.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
stats.gauge("pool.open_slots", 3, tags={"pool_name": "default_pool"})
from opentelemetry.metrics import get_meter_provider
get_meter_provider().force_flush()
"""


def test_airflow_sends_its_metrics_to_prometheus(tmp_path: Path) -> None:
    documented = dict(re.findall(r"^    ((?:AIRFLOW__METRICS|OTEL_)\w+)=(\S+)$", DOCUMENT.read_text(), flags=re.M))
    assert documented["AIRFLOW__METRICS__OTEL_ON"] == "True"
    endpoint = documented["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
    with receiving() as receiver:
        environment = {
            **os.environ,
            **documented,
            "AIRFLOW_HOME": str(tmp_path),
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint.replace("http://prometheus:9090", receiver.url),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=100
        )
    assert done.returncode == 0, done.stderr
    assert ("/api/v1/otlp/v1/metrics", "airflow.pool.open_slots") in receiver.metrics
