"""Airflow's LocalExecutor, with what our tasks import loaded before it forks, and no answer to a waiting task lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor
from airflow.utils.state import TaskInstanceState

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload
    from airflow.executors.workloads.types import WorkloadKey, WorkloadState

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
    "learnloop.loop.structure",
    "learnloop.models.deployment",
    "learnloop.pipelines.incremental",
    "learnloop.pipelines.jobs",
    "learnloop.pipelines.runs",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.tracking",
    "optuna",
    "scipy.stats",
    "sklearn.cluster",
)
PRELOADED_FOR_PODS = ("learnloop_airflow.operators.pod", "learnloop_airflow.pods.runner")


class PreloadingLocalExecutor(LocalExecutor):
    """Tasks as local processes that start with Learnloop's modules in memory (shared, copy-on-write).

    A task that waits (deferred, or for a person's answer) ends its process, and goes on in another under the same key.
    When it goes on before the scheduler has heard of the first one's end, Airflow 3.3 takes that end for the second's
    and fails the task (airflow#72716): a merge that a person has just decided. So an end is reported only when it is
    the last of its key.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handed_out: Counter[WorkloadKey] = Counter()

    def start(self) -> None:
        from learnloop.settings import settings
        from learnloop.training.quiet import quieten_mlflow

        quieten_mlflow()
        for name in (*PRELOADED, *(PRELOADED_FOR_PODS if settings().job_runner == "kubernetes" else ())):
            import_module(name)
        quieten_mlflow()  # again: importing MLflow sets its own log level
        super().start()

    def change_state(
        self, key: WorkloadKey, state: WorkloadState, info: Any = None, remove_running: bool = True
    ) -> None:
        if state in (TaskInstanceState.SUCCESS, TaskInstanceState.FAILED) and key in self._handed_out:
            self._handed_out[key] -= 1
            if not self._handed_out[key]:
                del self._handed_out[key]
            else:
                self.log.info("%s waited, and has gone on since", key)
                return
        super().change_state(key, state, info, remove_running)

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        # Before they are handed out: one may end at once.
        self._handed_out.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)
