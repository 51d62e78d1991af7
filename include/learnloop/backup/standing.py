"""The databases to restore into: those that are named, or the one-machine stack's own, which is started for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from learnloop.settings import Settings
from learnloop.stack import postgres
from learnloop.stack.places import Places


@contextmanager
def with_databases(settings: Settings) -> Iterator[Settings]:
    """The settings with all three databases named. What was started for that is stopped at the end."""
    if settings.database_url:
        yield settings
        return
    places = Places(settings.home)
    places.prepare()
    running = postgres.running(places.postgres)
    handle = postgres.start(places.postgres)
    try:
        postgres.create_databases(handle)
        yield replace(
            settings,
            database_url=postgres.url(handle, "learnloop"),
            airflow_database_url=settings.airflow_database_url or postgres.url(handle, "airflow"),
            mlflow_url=settings.mlflow_url or postgres.url(handle, "mlflow"),
        )
    finally:
        if not running:
            postgres.stop(places.postgres)
