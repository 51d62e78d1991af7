"""Finds what the fast paths missed: rounds, lapsed leases, events not sent, pods and mounts left over; looks at answers."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG

from learnloop_airflow.operators.live_requests import ReadLiveRequestsOperator
from learnloop_airflow.operators.maintenance import (
    AlignRegistryOperator,
    CheckQualityOperator,
    DeliverEventsOperator,
    DueRoundsOperator,
    FollowDeploymentsOperator,
    LiveBatchesOperator,
    ReleaseLapsedOperator,
    ReleaseReservationsOperator,
    RemoveOrphanedMountsOperator,
    RemoveOrphanedPodsOperator,
)
from learnloop_airflow.retries import RETRIED

with DAG(
    "platform_maintenance",
    description="Every five minutes: lapsed leases and locks, rounds whose start was missed, events not yet sent",
    doc_md="""
### The reconciler

Fast paths release leases and start rounds; this DAG is the guarantee. Events for a paused DAG are dropped by Airflow,
and a killed worker releases nothing: both are made good here. A mail server that was away is asked again. Pods whose task is
over are removed, with what they had reserved; so are mounts whose run is. Where pods serve models, they are made to be what
the deployments say.
Samples of live requests that a model was not sure of become a batch, where the dataset asks for that, and are scored.
Datasets with new answers are looked at, too: labels that the model's predictions speak against go to a reviewer.
""",
    schedule=timedelta(minutes=5),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["learnloop"],
    default_args=RETRIED,
):
    ReleaseLapsedOperator(task_id="release_lapsed")
    CheckQualityOperator(task_id="check_quality")
    DeliverEventsOperator(task_id="deliver_events")
    RemoveOrphanedPodsOperator(task_id="remove_orphaned_pods")
    ReleaseReservationsOperator(task_id="release_reservations")
    RemoveOrphanedMountsOperator(task_id="remove_orphaned_mounts")
    AlignRegistryOperator(task_id="align_registry")
    FollowDeploymentsOperator(task_id="follow_deployments")
    read = ReadLiveRequestsOperator(task_id="read_live_requests")
    # Also when the cluster is away: servers that read the database leave samples, too.
    live = LiveBatchesOperator(task_id="live_batches", trigger_rule="all_done")
    read >> live
    TriggerDagRunOperator.partial(
        task_id="score", trigger_dag_id="score_incoming_data", skip_when_already_exists=True
    ).expand_kwargs(live.output)
    due = DueRoundsOperator(task_id="due_rounds", ask_policies=True)
    TriggerDagRunOperator.partial(
        task_id="start", trigger_dag_id="incremental_training", skip_when_already_exists=True
    ).expand_kwargs(due.output)
