"""Prometheus's token, at Airflow's real API server."""

from __future__ import annotations

import httpx
from airflow_server import AirflowServer

TOKEN = "what-prometheus-shows"  # conftest.py's


def test_the_scraper_reads_metrics_of_the_server_of_the_loop_and_of_airflow(airflow: AirflowServer) -> None:
    with airflow.bearing(TOKEN) as scraper:
        assert "learnloop_api_requests_in_progress 1.0" in scraper.get("/metrics").text
        loop = scraper.get("/metrics/loop").text
    for told in (
        'database_up{database="learnloop"} 1.0',
        'database_up{database="airflow"} 1.0',
        "airflow_import_errors 0.0",
    ):
        assert f"learnloop_{told}" in loop


def test_it_opens_nothing_else_of_ours_and_nothing_of_airflows(airflow: AirflowServer) -> None:
    with airflow.bearing(TOKEN) as scraper:
        assert scraper.get("/datasets").status_code == 403
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{airflow.url}/api/v2/dags", headers=bearer, timeout=30).status_code in (401, 403)


def test_another_token_is_not_the_scrapers(airflow: AirflowServer) -> None:
    for wrong in (TOKEN[:-1], TOKEN + "x", "\xe9"):
        answer = httpx.get(
            f"{airflow.url}/learnloop/api/v1/metrics", headers={"Authorization": f"Bearer {wrong}".encode("latin-1")}
        )
        assert answer.status_code == 401, wrong


def test_people_read_metrics_by_their_role(airflow: AirflowServer) -> None:
    for name, status in (("ada", 200), ("eng", 200), ("sue", 403), ("vic", 403)):
        with airflow.as_user(name) as client:
            assert client.get("/metrics").status_code == status, name
