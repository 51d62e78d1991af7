"""Airflow's LocalExecutor, with what our tasks import loaded once before it forks."""

from __future__ import annotations

from importlib import import_module

from airflow.executors.local_executor import LocalExecutor

# What operators import when they run. A task is a fork of the scheduler, so what is loaded here costs a task nothing:
# without it MLflow, scikit-learn and Arrow are read anew by each, which is most of a short task's time. Modules only:
# no connection, thread or lock may be made here, for a fork would share it.
PRELOADED = (
    "airflow.providers.standard.operators.trigger_dagrun",
    "learnloop.annotation.selection",
    "learnloop.annotation.strategies",
    "learnloop.database",
    "learnloop.datasets.pool_merge",
    "learnloop.datasets.snapshot",
    "learnloop.jobs.local",
    "learnloop.loop.decisions",
    "learnloop.loop.rounds",
    "learnloop.models.deployment",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.tracking",
    "sklearn.cluster",
)
PRELOADED_FOR_PODS = ("learnloop_airflow.operators.pod", "learnloop_airflow.pods.runner")


class PreloadingLocalExecutor(LocalExecutor):
    """Tasks as local processes that start with Learnloop's modules in memory (shared, copy-on-write)."""

    def start(self) -> None:
        from learnloop.settings import settings
        from learnloop.training.quiet import quieten_mlflow

        quieten_mlflow()
        for name in (*PRELOADED, *(PRELOADED_FOR_PODS if settings().job_runner == "kubernetes" else ())):
            import_module(name)
        quieten_mlflow()  # again: importing MLflow sets its own log level
        super().start()
