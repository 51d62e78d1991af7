"""Airflow's own metrics leave by OTLP, to where Prometheus 3 takes them, as the documentation says to set it."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

DOCUMENT = Path(__file__).parents[3] / "docs" / "observability.md"
PROGRAM = """
from airflow.observability import stats
from airflow.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
stats.gauge("pool.open_slots", 3, tags={"pool_name": "default_pool"})
from opentelemetry.metrics import get_meter_provider
get_meter_provider().force_flush()
"""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Where OTLP is taken, and what came: paths and names."""
    came: list[tuple[str, str]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    came.extend((self.path, metric.name) for metric in scope.metrics)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    thread.join()


def test_airflow_sends_its_metrics_to_prometheus(receiver: tuple[str, list[tuple[str, str]]], tmp_path: Path) -> None:
    url, came = receiver
    documented = dict(re.findall(r"^    ((?:AIRFLOW__METRICS|OTEL_)\w+)=(\S+)$", DOCUMENT.read_text(), flags=re.M))
    assert documented["AIRFLOW__METRICS__OTEL_ON"] == "True"
    endpoint = documented["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]
    environment = {
        **os.environ,
        **documented,
        "AIRFLOW_HOME": str(tmp_path),
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint.replace("http://prometheus:9090", url),
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert ("/api/v1/otlp/v1/metrics", "airflow.pool.open_slots") in came
