"""Between steps 5 and 6: start a training run for every round that is due."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetWatcher

from learnloop_airflow.operators.maintenance import DueRoundsOperator
from learnloop_airflow.retries import RETRIED
from learnloop_airflow.triggers.outbox import OutboxTrigger

with DAG(
    "dispatch_rounds",
    description="Woken by Learnloop's outbox: starts `incremental_training` for every round that is due",
    doc_md="""
### From a confirmed label to a training run

The label that makes the training policy due writes a round and an outbox row in one transaction. This DAG hears of it
and starts `incremental_training` with the round's own run id. It looks at what is due, not at what it was told, so a
lost, doubled or late message does no harm; `platform_maintenance` does the same every few minutes.
""",
    schedule=[Asset("learnloop-outbox", watchers=[AssetWatcher(name="outbox", trigger=OutboxTrigger())])],
    catchup=False,
    max_active_runs=1,
    tags=["learnloop"],
    default_args=RETRIED,
):
    due = DueRoundsOperator(task_id="due_rounds")
    TriggerDagRunOperator.partial(
        task_id="start", trigger_dag_id="incremental_training", skip_when_already_exists=True
    ).expand_kwargs(due.output)
