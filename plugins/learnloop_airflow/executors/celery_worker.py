"""Celery's configuration: Airflow's own, with what our tasks import loaded before a worker forks (`local` says why)."""

from __future__ import annotations

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from learnloop_airflow.executors.local import PRELOADED

CONFIG = {**DEFAULT_CELERY_CONFIG, "imports": PRELOADED}
