"""Finds what the fast paths missed: rounds that were not started, leases that lapsed; looks at people's answers."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from learnloop_airflow.operators.maintenance import (
    CheckQualityOperator,
    DueRoundsOperator,
    ReleaseLapsedOperator,
)

with DAG(
    "platform_maintenance",
    description="Every five minutes: lapsed leases and locks, rounds whose start was missed",
    doc_md="""
### The reconciler

Fast paths release leases and start rounds; this DAG is the guarantee. Events for a paused DAG are dropped by Airflow,
and a killed worker releases nothing: both are made good here. Datasets with new answers are looked at, too: labels that the
model's predictions speak against go to a reviewer.
""",
    schedule=timedelta(minutes=5),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["learnloop"],
):
    ReleaseLapsedOperator(task_id="release_lapsed")
    CheckQualityOperator(task_id="check_quality")
    due = DueRoundsOperator(task_id="due_rounds")
    TriggerDagRunOperator.partial(
        task_id="start", trigger_dag_id="incremental_training", skip_when_already_exists=True
    ).expand_kwargs(due.output)
