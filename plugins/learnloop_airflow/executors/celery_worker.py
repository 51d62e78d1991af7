"""Celery's configuration: Airflow's own, with what our tasks import loaded before a worker forks (`local` says why).

And a worker that cannot note in the database that it has a task waits until it can. Else it drops the task, which Airflow
believes to be queued for ten minutes more: all that was handed out while PostgreSQL began anew.
"""

from __future__ import annotations

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from learnloop_airflow.executors.local import PRELOADED

CONFIG = {**DEFAULT_CELERY_CONFIG, "imports": PRELOADED, "result_backend_always_retry": True}
