"""Every hour: a backup, when the last one is old enough; read back, and old ones removed."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from learnloop_airflow.operators.maintenance import BackUpOperator
from learnloop_airflow.retries import RETRIED

with DAG(
    "backup_maintenance",
    description="Takes a backup when the last one is a day old, reads it back, removes old ones",
    doc_md="""
### Backups

Skips until the last whole backup is older than `LEARNLOOP_BACKUP_HOURS`, and where `LEARNLOOP_BACKUP_REMOTE` names no place.
Every byte of a new one is read back before older ones go; `docs/backup.md` says how to restore.

It is a DAG of its own, and no task of `platform_maintenance`: a backup may take hours, in which lapsed leases must be
returned and missed rounds be found.
""",
    schedule=timedelta(hours=1),
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["learnloop"],
    default_args=RETRIED,
):
    BackUpOperator(task_id="back_up")
