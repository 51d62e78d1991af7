"""What a Celery worker does while the database is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from databases import new_database
from sqlalchemy import create_engine, make_url, text
from waits import eventually


def test_a_worker_waits_for_a_database_that_is_away_and_drops_nothing(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from learnloop_airflow.executors.celery_worker import CONFIG

    maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with new_database(postgres, "template1") as url, maintenance.connect() as connection:
        name = make_url(url).database
        app = Celery("worker", set_as_current=False)
        app.conf.update({**CONFIG, "result_backend": f"db+{url}"})
        backend = app.backend
        backend.store_result("before", None, "STARTED")
        refused: list[Exception] = []
        monkeypatch.setattr(backend, "on_backend_retryable_error", refused.append)
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        with ThreadPoolExecutor(1) as pool:
            noting = pool.submit(backend.store_result, "meanwhile", None, "STARTED")
            try:
                eventually(lambda: noting.done() or len(refused) > 3)  # oftener than Celery tries by itself
                assert not noting.done()
            finally:
                connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
            noting.result(60)
        assert backend.get_state("meanwhile") == "STARTED"
    maintenance.dispose()
