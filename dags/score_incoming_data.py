"""Steps 2 and 3 of the loop: score new data with the served model, and choose what people are asked about."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.operators.scoring import (
    ChooseOperator,
    PredictOperator,
    RegisterBatchOperator,
    ReleaseModelOperator,
    ShardOperator,
)
from learnloop_airflow.retries import TOLD_AND_RETRIED

with DAG(
    "score_incoming_data",
    description="Register a batch, predict it in shards with the current model, choose samples to label",
    doc_md="""
### Score new data

Give a dataset and either a folder of new samples, which is registered as an immutable batch, or the name of a batch
that is already registered, to score it again with today's model. The model is pinned when the run starts and leased
until it ends. Predictions stay in Parquet; only the samples that the dataset's query strategy chooses become tasks
on the annotation page. A dataset that has no model yet gets its first tasks: the samples nearest to k-means centres.
""",
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset"),
        "path": Param(
            None, type=["null", "string"], title="Folder of new samples", description="Empty: score a known batch"
        ),
        "batch": Param(
            None, type=["null", "string"], title="Batch", description="A name for the new batch, or that of a known one"
        ),
    },
):
    register = RegisterBatchOperator(
        task_id="register_batch",
        dataset="{{ params.dataset }}",
        path="{{ params.path or '' }}",
        batch="{{ params.batch or '' }}",
    )
    shards = ShardOperator(task_id="shards", pin=register.output)
    predict = PredictOperator.partial(task_id="predict").expand(shard=shards.output)
    choose = ChooseOperator(task_id="choose", pin=register.output)
    release = ReleaseModelOperator(task_id="release_model", pin=register.output).as_teardown()

    predict >> choose >> release
