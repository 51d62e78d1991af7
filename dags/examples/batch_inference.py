"""Example: predict a folder of samples with the model that is served, in shards, into one file."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from learnloop_airflow.common import run_owner
from learnloop_airflow.notifiers.events import TOLD
from learnloop_airflow.operators.scoring import (
    PredictOperator,
    RegisterBatchOperator,
    ReleaseModelOperator,
    ShardOperator,
    predictions_folder,
)

with DAG(
    "batch_inference",
    description="Example: register a folder as a batch, predict it in mapped shards, and put the predictions into one file",
    doc_md="""
### Example: batch inference

The folder becomes a batch, so that what was predicted can be looked up again. The model that is current is pinned and
leased: all shards are predicted by the same version, also when a better one is swapped in meanwhile. Each shard is a mapped
task; `collect` puts their files together into `predictions.parquet` in the results of who triggered the run, and says
where it is.

Nobody is asked about the samples: see `score_incoming_data` for that.
""",
    schedule=None,
    catchup=False,
    tags=["learnloop", "example"],
    **TOLD,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset", description="Whose model predicts"),
        "path": Param(
            None, type=["null", "string"], title="Folder of samples", description="Empty: predict a known batch"
        ),
        "batch": Param(None, type=["null", "string"], title="Batch", description="A new one's name, or a known one"),
    },
):

    @task
    def collect(files: list[str], **context: Any) -> dict[str, Any]:
        """One file of the shards', in order; the shard of gold questions has predictions of the dataset's own samples."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from learnloop.jobs.checksums import fsync_file

        folder = predictions_folder(context["run_id"], run_owner(context))
        tables = [pq.read_table(file) for file in sorted(files) if not file.rpartition("/")[2].startswith("gold")]
        whole = pa.concat_tables(tables)
        target = folder / "predictions.parquet"
        temporary = folder / "predictions.part"
        pq.write_table(whole, temporary)
        fsync_file(temporary)
        temporary.replace(target)
        return {"file": str(target), "samples": whole.num_rows}

    register = RegisterBatchOperator(
        task_id="register_batch",
        dataset="{{ params.dataset }}",
        path="{{ params.path or '' }}",
        batch="{{ params.batch or '' }}",
    )
    shards = ShardOperator(task_id="shards", pin=register.output)
    predict = PredictOperator.partial(task_id="predict").expand(shard=shards.output)
    release = ReleaseModelOperator(task_id="release_model", pin=register.output).as_teardown(setups=register)

    collect(predict.output) >> release
