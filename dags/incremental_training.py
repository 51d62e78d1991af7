"""Step 6 of the loop: retrain on what people confirmed, and swap the better model in."""

from __future__ import annotations

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from learnloop_airflow.operators.canary import CanaryOperator
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.gate import ApproveModelOperator, GateOperator
from learnloop_airflow.operators.results import SnapshotResultsOperator
from learnloop_airflow.operators.rounds import CloseRoundOperator, MergeConfirmedOperator
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator
from learnloop_airflow.retries import TOLD_AND_RETRIED

with DAG(
    "incremental_training",
    description="Merge the confirmed pool, train from the current model, compare, gate, deploy as `realtime`",
    doc_md="""
### One round of incremental training

A run does one round of one dataset. The training policy starts it when enough labels are confirmed: `dispatch_rounds`
then makes a run called `round-{dataset}-{n}`, and Airflow refuses a second one of that name, so a round trains once.

You can start a round yourself with what is confirmed so far: trigger this DAG with the dataset's name, or
`POST /learnloop/api/v1/datasets/{name}/rounds`. It is refused while another round is under way, or when no confirmed
label is new.

Where the dataset's `loop: canary:` says so, the accepted model first answers a share of the requests to `realtime`, is
watched, and is ended when it fails more or is slower than what it stands beside: the round is rejected then.

What fails for a moment (a database that is started anew, a job that was killed) is tried again twice, and goes on where it
stopped. When a round fails for good, it is closed and its labels go back to the pool: the next confirmed label starts
another round, or you do.
""",
    schedule=None,
    catchup=False,
    max_active_runs=4,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={"dataset": Param("", type="string", minLength=1, title="Dataset", description="Whose round it is")},
):
    merge = MergeConfirmedOperator(
        task_id="merge_confirmed_pool", round_run_id="{{ run_id }}", dataset="{{ params.dataset }}"
    )
    train = TrainOperator(task_id="train", pin=merge.output)
    evaluate = EvaluateOperator(task_id="evaluate", pin=merge.output, trained=train.output)
    gate = GateOperator(task_id="gate", pin=merge.output, trained=train.output, evaluated=evaluate.output)
    approve = ApproveModelOperator(task_id="approve", gate=gate.output, evaluated=evaluate.output)
    canary = CanaryOperator(task_id="canary", gate=approve.output, alias="realtime", as_dataset_says=True)
    # Where the dataset asks for no canary, or nothing is served yet that it could stand beside, that is skipped.
    deploy = DeployOperator(task_id="deploy", gate=approve.output, alias="realtime", trigger_rule="none_failed")
    snapshot_results = SnapshotResultsOperator(
        task_id="snapshot_results",
        pin=merge.output,
        trained=train.output,
        evaluated=evaluate.output,
        trigger_rule="none_failed",
    )
    close_round = CloseRoundOperator(task_id="close_round").as_teardown()
    consider_structure = TriggerDagRunOperator(
        task_id="consider_structure",
        trigger_dag_id="structure_optimization",
        trigger_run_id="structure-{{ ti.xcom_pull('merge_confirmed_pool')['dataset'] }}"
        "-{{ ti.xcom_pull('merge_confirmed_pool')['round'] }}",
        conf={"dataset": "{{ ti.xcom_pull('merge_confirmed_pool')['dataset'] }}", "when": "if_needed"},
        skip_when_already_exists=True,
        trigger_rule="none_failed",
    )

    canary >> deploy >> snapshot_results >> [consider_structure, close_round]
