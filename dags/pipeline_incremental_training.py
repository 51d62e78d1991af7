"""Train a declared pipeline again, on a version of its dataset with new labels in it."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from learnloop_airflow.operators.incremental import DerivePipelineOperator, PipelineRunSensor, ShareOrKeepOperator
from learnloop_airflow.operators.workspace import (
    CommitWorkspaceOperator,
    DiscardWorkspaceOperator,
    ReadLeaseOperator,
    ReleaseReadOperator,
    WorkspaceOperator,
)
from learnloop_airflow.retries import TOLD_AND_RETRIED

PIPELINE_RUN = "incremental"

with DAG(
    "pipeline_incremental_training",
    description="Put labels into a version, derive a pipeline from a base pipeline that reads it, run that",
    doc_md="""
### Train a pipeline incrementally

Give a dataset version, a pipeline that reads the dataset, and a Parquet file with `sample_id` and `label`. The labels are
put into a private checkout of the version, which becomes a new version; a pipeline that `extends` yours and reads the new
version is made, and run. It is called after yours and stays to be looked at: `learnloop pipeline show NAME` names its
base, the version and the file, and the base names it.

Shared: the new version is merged into the dataset's head, or becomes a branch where labels conflict, and everybody may see
the pipeline. Personal: version and pipeline are yours alone.
""",
    schedule=None,
    catchup=False,
    max_active_runs=16,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "dataset_version": Param(
            "", type="string", minLength=1, title="Dataset version", description="Such as digits_v1.2"
        ),
        "base_pipeline": Param("", type="string", minLength=1, title="Base pipeline", description="Its name"),
        "annotations_path": Param(
            "",
            type="string",
            minLength=1,
            title="Labels to put in",
            description="A Parquet file with sample_id and label",
        ),
        "personal": Param(False, type="boolean", title="For me alone"),
    },
):
    lease = ReadLeaseOperator(
        task_id="read_lease",
        dataset="{{ params.dataset_version.split('_v')[0] }}",
        version="{{ params.dataset_version }}",
    )
    workspace = WorkspaceOperator(task_id="workspace", pin=lease.output)
    commit = CommitWorkspaceOperator(
        task_id="commit",
        workspace=workspace.output,
        annotations="{{ params.annotations_path }}",
        message="labels of {{ params.annotations_path }}",
    )
    share = ShareOrKeepOperator(task_id="share_or_keep", pin=commit.output, personal="{{ params.personal }}")
    derive = DerivePipelineOperator(
        task_id="derive",
        base="{{ params.base_pipeline }}",
        pin=commit.output,
        shared=share.output,
        annotations="{{ params.annotations_path }}",
        personal="{{ params.personal }}",
    )
    # The derived DAG appears a moment later: asked again until it is there. Its name is new, so it is no older version.
    start = TriggerDagRunOperator(
        task_id="start",
        trigger_dag_id="{{ ti.xcom_pull('derive')['dag_id'] }}",
        trigger_run_id=PIPELINE_RUN,
        skip_when_already_exists=True,
        retries=30,
        retry_delay=timedelta(seconds=2),
    )
    wait = PipelineRunSensor(
        task_id="wait_for_pipeline",
        pipeline=derive.output,
        pipeline_run_id=PIPELINE_RUN,
        poke_interval=5,
        timeout=30 * 86400,
        trigger_rule="none_failed",
    )
    discard = DiscardWorkspaceOperator(task_id="discard_workspace", workspace=workspace.output).as_teardown(
        setups=workspace
    )
    release = ReleaseReadOperator(task_id="release_lease", lease=lease.output).as_teardown(setups=lease)

    derive >> start >> wait >> discard >> release
