"""Merge a version into its dataset; a person decides what the two sides changed differently."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.operators.merge import (
    ASK,
    STRATEGIES,
    DecideMergeOperator,
    MergeOperator,
    OpenMergeOperator,
)
from learnloop_airflow.retries import TOLD_AND_RETRIED

with DAG(
    "dataset_merge",
    description="Three-way merge of a version into its dataset, by file and by record; a person decides conflicts",
    doc_md="""
### Merge a version

Give the version to merge, such as `digits_v1.2_ana_20260131120000`. What it and the dataset's newest version each changed
since their common ancestor is put together: files by content, annotations by record and field. What only one side
changed, or both alike, needs nobody.

What both changed differently is a conflict. With a strategy it is decided by that; with `ask` the run waits (Required
actions) until a person with the right to merge has chosen a strategy, or has answered each conflict in the conflict view.
Until then nothing of the dataset changes, and when it has moved on meanwhile, answers that still hold are kept.

- `ours`, `theirs`: what the dataset has, or what the version has
- `newest`: of two annotations the later, else the later version
- `most_agreed`: the label that more people gave, else the newest
""",
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "dataset": Param("", type="string", pattern="^[a-z0-9][a-z0-9-]{0,62}$", title="Dataset"),
        "version": Param(
            "", type="string", minLength=1, maxLength=400, title="Version", description="The version to merge, by name"
        ),
        "strategy": Param(
            ASK, type="string", enum=[ASK, *STRATEGIES], title="Conflicts", description="Who or what decides them"
        ),
        "message": Param(
            None,
            type=["null", "string"],
            maxLength=2000,
            title="Message",
            description="What the merged version's history says",
        ),
    },
):
    open_merge = OpenMergeOperator(
        task_id="open_merge",
        dataset="{{ params.dataset }}",
        version="{{ params.version }}",
        strategy="{{ params.strategy }}",
        message="{{ params.message or '' }}",
    )
    decide = DecideMergeOperator(task_id="decide", merge=open_merge.output)
    merge = MergeOperator(task_id="merge", merge=open_merge.output)

    decide >> merge
