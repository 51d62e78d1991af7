"""Once a day: where versions are kept, and what nobody needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, TriggerRule

from learnloop_airflow.operators.remotes import ReplicateOperator
from learnloop_airflow.operators.storage import (
    ApplyTierPolicyOperator,
    CollectGarbageOperator,
    PrefetchOperator,
    RemoveModelsOperator,
)
from learnloop_airflow.retries import RETRIED

with DAG(
    "storage_maintenance",
    description="Daily: versions that nobody reads go to colder tiers, garbage is collected",
    doc_md="""
### Storage

1. `prefetch` recalls what the next runs will read, by the history of use.
2. `tiers` moves versions that nobody reads: after 30 days to the remote (warm), after 180 to one archived bundle
   (cold). Heads, versions of open rounds and leased ones stay. Reading a version that was moved recalls it.
3. `garbage` deletes what no version, batch, round, workspace or lease needs and what was left alone for two days.
   It is safe beside running jobs and snapshots.
4. `models` deletes models that a structure search did not choose, 90 days after (`LEARNLOOP_MODEL_DAYS`). What is or was
   served, leased, a parent, or has the tag `keep`, stays.
5. `replicate` keeps a second remote as the first, where `LEARNLOOP_REPLICA` names one.
""",
    schedule=timedelta(days=1),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["learnloop"],
    default_args=RETRIED,
):
    prefetch = PrefetchOperator(task_id="prefetch")
    tiers = ApplyTierPolicyOperator(task_id="tiers", trigger_rule=TriggerRule.ALL_DONE)
    garbage = CollectGarbageOperator(task_id="garbage", trigger_rule=TriggerRule.ALL_DONE)
    models = RemoveModelsOperator(task_id="models", trigger_rule=TriggerRule.ALL_DONE)
    replicate = ReplicateOperator(task_id="replicate", trigger_rule=TriggerRule.ALL_DONE)
    # Each does its part whatever became of the one before: a remote that is down must not fill the store.
    prefetch >> tiers >> garbage >> models >> replicate
