"""Step 1 of the loop: from a folder of labelled samples to a served base model."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.gate import ApproveModelOperator, GateOperator
from learnloop_airflow.operators.rounds import CloseRoundOperator, OpenBaseRoundOperator
from learnloop_airflow.operators.snapshot import PreprocessOperator, SnapshotOperator, ValidateOperator
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator
from learnloop_airflow.retries import TOLD_AND_RETRIED

with DAG(
    "base_model_training",
    description="Snapshot, validate, preprocess, train, evaluate, register, deploy as `base`",
    doc_md="""
### Train a base model

Give the folder of a dataset: a `dataset.yaml`, an `annotations.parquet` and its sample files. The folder is checked
sample by sample, snapshotted into a version, preprocessed (the test split is frozen here), and a model is
trained, evaluated, registered and served as `base`.

The folder must be readable by the Airflow worker. A folder with a mistake changes nothing: the `validate` task
lists what is wrong and where.
""",
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "path": Param("", type="string", minLength=1, title="Dataset folder", description="An absolute path"),
        "message": Param(None, type=["null", "string"], title="Message", description="What the version's history says"),
    },
):
    validate = ValidateOperator(task_id="validate", path="{{ params.path }}")
    snapshot = SnapshotOperator(task_id="snapshot", path="{{ params.path }}", message="{{ params.message or '' }}")
    preprocess = PreprocessOperator(task_id="preprocess", version="{{ ti.xcom_pull('snapshot')['version'] }}")
    open_round = OpenBaseRoundOperator(task_id="open_round", pin=preprocess.output)
    train = TrainOperator(task_id="train", pin=open_round.output)
    evaluate = EvaluateOperator(task_id="evaluate", pin=open_round.output, trained=train.output)
    gate = GateOperator(task_id="gate", pin=open_round.output, trained=train.output, evaluated=evaluate.output)
    approve = ApproveModelOperator(task_id="approve", gate=gate.output, evaluated=evaluate.output)
    deploy = DeployOperator(task_id="deploy", gate=approve.output, alias="base")
    close_round = CloseRoundOperator(task_id="close_round").as_teardown(setups=open_round)

    validate >> snapshot >> preprocess
    deploy >> close_round
