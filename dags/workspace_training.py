"""Train in a workspace of one's own, without anybody waiting for it, and bring the result back."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.operators.results import SnapshotResultsOperator
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator
from learnloop_airflow.operators.workspace import (
    CommitWorkspaceOperator,
    DiscardWorkspaceOperator,
    MergeOrBranchOperator,
    ReadLeaseOperator,
    ReleaseReadOperator,
    WorkspaceOperator,
)
from learnloop_airflow.retries import TOLD_AND_RETRIED

with DAG(
    "workspace_training",
    description="Read lease, private workspace, train, personal version; merged, or a branch where a person must decide",
    doc_md="""
### Train in a workspace

Several people can train on one dataset at once, each on a checkout of their own. A run takes a read lease on the version
(nobody waits for it), makes a workspace in your namespace or uses one you have changed already, puts in the labels of a
file if you give one, and commits it as a version personal to you. On that version it trains from the current model and
compares the two on the frozen test split. Model and results stay in your namespace.

In the end your version is merged into the dataset's head if nothing conflicts. If something does, it becomes a
branch that everybody can see, with a merge request that waits for a person: see `dataset_merge`.

The model is not deployed: that is for the rounds of `incremental_training`, which train on the head.
""",
    schedule=None,
    catchup=False,
    max_active_runs=16,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset"),
        "version": Param(None, type=["null", "string"], title="Version", description="Empty: the head"),
        "workspace": Param(
            None, type=["null", "string"], title="Workspace", description="One of yours; empty: a new one"
        ),
        "annotations": Param(
            None,
            type=["null", "string"],
            title="Labels to put in",
            description="A Parquet file with sample_id and label; empty: none",
        ),
        "trainer": Param(
            None,
            type=["null", "object"],
            title="Trainer",
            description='Parameters in place of the dataset\'s, such as {"hidden": [64]}; empty: as now',
        ),
        "message": Param(None, type=["null", "string"], title="Message", description="What the version's history says"),
        "keep": Param(False, type="boolean", title="Keep the workspace"),
    },
):
    lease = ReadLeaseOperator(
        task_id="read_lease", dataset="{{ params.dataset }}", version="{{ params.version or '' }}"
    )
    workspace = WorkspaceOperator(
        task_id="workspace", pin=lease.output, name="{{ params.workspace or '' }}", keep="{{ params.keep }}"
    )
    commit = CommitWorkspaceOperator(
        task_id="commit",
        workspace=workspace.output,
        annotations="{{ params.annotations or '' }}",
        message="{{ params.message or '' }}",
    )
    train = TrainOperator(task_id="train", pin=commit.output, trainer="{{ params.trainer | tojson }}")
    evaluate = EvaluateOperator(task_id="evaluate", pin=commit.output, trained=train.output)
    results = SnapshotResultsOperator(
        task_id="snapshot_results", pin=commit.output, trained=train.output, evaluated=evaluate.output
    )
    merge = MergeOrBranchOperator(task_id="merge_or_branch", pin=commit.output)
    discard = DiscardWorkspaceOperator(
        task_id="discard_workspace", workspace=workspace.output, keep="{{ params.keep }}"
    ).as_teardown(setups=workspace)
    release = ReleaseReadOperator(task_id="release_lease", lease=lease.output).as_teardown(setups=lease)

    results >> merge >> discard >> release
