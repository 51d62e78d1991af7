"""Metrics of our API: who may read them, what is counted, and what is told when the database is away."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url
from starlette.testclient import TestClient

from learnloop import settings
from learnloop.database import Dataset, engine
from learnloop.errors import InvalidInput
from learnloop_airflow.api.audited import Audited

TOKEN = "a-token-for-prometheus"


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of an answer, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(text: str, name: str, **labels: str) -> float | None:
    return figures(text).get((name, tuple(sorted(labels.items()))))


@pytest.fixture
def scraper(app: Any, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Prometheus: nobody of Airflow's, with the token that a setting names."""
    monkeypatch.setenv("LEARNLOOP_METRICS_TOKEN", TOKEN)
    settings.settings.cache_clear()
    return TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}, raise_server_exceptions=False)


def test_requests_are_counted_by_route_as_it_is_written(scraper: TestClient, db: Any) -> None:
    for name in ("zebras", "lions"):
        assert scraper.get(f"/datasets/{name}").status_code == 403
    assert scraper.get("/nowhere/at-all").status_code == 404
    answer = scraper.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    count = "learnloop_api_requests_total"
    assert figure(answer.text, count, method="GET", route="/datasets/{name}", status="403") == 2
    assert figure(answer.text, count, method="GET", route="(none)", status="404") == 1
    seconds = "learnloop_api_request_duration_seconds_bucket"
    assert figure(answer.text, seconds, method="GET", route="/datasets/{name}", le="+Inf") == 2
    assert figure(answer.text, "learnloop_api_requests_in_progress") == 1
    assert (figure(answer.text, "process_resident_memory_bytes") or 0) > 2**20
    assert "zebras" not in answer.text


def test_a_method_that_somebody_made_up_adds_no_figure_of_its_own(scraper: TestClient) -> None:
    scraper.request("FROB", "/metrics")
    assert "FROB" not in scraper.get("/metrics").text


def test_the_scrapers_token_opens_nothing_else(scraper: TestClient) -> None:
    for path in ("/datasets", "/audit", "/users", "/openapi.json"):
        assert scraper.get(path).status_code in (403, 404), path
    refused = scraper.get("/datasets").json()
    assert "service:metrics may not dataset:read" in refused["detail"]


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("engineer", 200), ("scientist", 403), ("viewer", 403)])
def test_people_read_them_by_their_role(as_user: Any, role: str, status: int) -> None:
    for path in ("/metrics", "/metrics/loop"):
        assert as_user("ada", role).get(path).status_code == status


def test_the_loop_is_told_from_the_database(scraper: TestClient, db: Any) -> None:
    db.add(Dataset(name="pets", task_type="image_classification", loop={"policy": {"labels": 7}}, owner="ada"))
    db.commit()
    text = scraper.get("/metrics/loop").text
    assert figure(text, "learnloop_database_up", database="learnloop") == 1
    assert figure(text, "learnloop_datasets") == 1
    assert figure(text, "learnloop_pool_threshold_labels", dataset="pets") == 7
    assert figure(text, "learnloop_outbox_undelivered") == 0


def test_a_database_that_is_away_is_told_and_the_server_still_tells_of_itself(
    scraper: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_url(settings.settings().database_url).set(host="127.0.0.1", port=9)
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", away.render_as_string(hide_password=False))
    settings.settings.cache_clear()
    engine.cache_clear()
    answer = scraper.get("/metrics/loop")
    assert answer.status_code == 200
    assert figure(answer.text, "learnloop_database_up", database="learnloop") == 0
    assert figure(answer.text, "learnloop_datasets") is None
    assert scraper.get("/metrics").status_code == 200


def test_each_line_that_is_logged_for_a_request_says_its_id_and_its_run(app: Any, db: Any) -> None:
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        bound = structlog.contextvars.get_contextvars()
        seen.append((bound.get("request_id"), bound.get("run_id")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client = TestClient(Audited(inner))
    client.get("/x", headers={"X-Request-ID": "round-7"})
    client.get("/x", headers={"X-Request-ID": "a", "X-Run-ID": "round-pets-1"})
    client.get("/x", headers={"X-Request-ID": "b", "X-Run-ID": "not, a run's"})
    assert seen == [("round-7", None), ("a", "round-pets-1"), ("b", None)]
    assert not {"request_id", "run_id"} & structlog.contextvars.get_contextvars().keys()


def test_a_token_that_others_could_guess_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 20 characters"):
        settings.load({"LEARNLOOP_METRICS_TOKEN": "x"})
