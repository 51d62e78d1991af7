"""Example: train one model on one version, and look how good it is."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.notifiers.events import TOLD
from learnloop_airflow.operators.results import SnapshotResultsOperator
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator
from learnloop_airflow.operators.workspace import ReadLeaseOperator, ReleaseReadOperator

with DAG(
    "plain_training",
    description="Example: train on a version, evaluate on its frozen test split, keep the results",
    doc_md="""
### Example: plain training

The smallest training with our operators. The version is pinned and leased first, so that it stays while the run reads it.
Training and evaluation are jobs: processes, or pods. Model, metrics and log are kept as snapshots beside the data. Nothing
is registered or deployed: see `base_model_training` for that.

Copy this file to begin one of your own.
""",
    schedule=None,
    catchup=False,
    tags=["learnloop", "example"],
    **TOLD,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset"),
        "version": Param(None, type=["null", "string"], title="Version", description="Empty: the head"),
        "trainer": Param(
            None,
            type=["null", "object"],
            title="Trainer",
            description='Parameters in place of the dataset\'s, such as {"hidden": [64]}; empty: as they are',
        ),
    },
):
    lease = ReadLeaseOperator(
        task_id="read_lease", dataset="{{ params.dataset }}", version="{{ params.version or '' }}"
    )
    train = TrainOperator(task_id="train", pin=lease.output, trainer="{{ params.trainer | tojson }}")
    evaluate = EvaluateOperator(task_id="evaluate", pin=lease.output, trained=train.output)
    keep = SnapshotResultsOperator(
        task_id="snapshot_results", pin=lease.output, trained=train.output, evaluated=evaluate.output
    )
    release = ReleaseReadOperator(task_id="release_lease", lease=lease.output).as_teardown(setups=lease)

    keep >> release
