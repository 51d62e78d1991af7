"""Step 7 of the loop: enlarge the model when it has run out of room, or say that nothing need change."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.notifiers.events import TOLD
from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.gate import ApproveModelOperator, GateOperator
from learnloop_airflow.operators.structure import (
    CandidatesOperator,
    ChooseStructureOperator,
    StructureNeededOperator,
    TrialOperator,
)
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator

with DAG(
    "structure_optimization",
    description="If needed: candidate structures tried side by side, the best one trained and deployed as `optimized`",
    doc_md="""
### Is the model's structure still right?

Asked after every round. When the labelled data has grown, or accuracy has stopped growing or fallen, candidate
structures are cross-validated side by side on the training split (never on the test split). The current structure is
replaced only when another is better beyond noise; otherwise the run ends with "no change" and says why.
""",
    schedule=None,
    catchup=False,
    max_active_runs=2,
    tags=["learnloop"],
    **TOLD,
    params={"dataset": Param("", type="string", minLength=1, title="Dataset")},
):
    needed = StructureNeededOperator(task_id="structure_needed", dataset="{{ params.dataset }}")
    candidates = CandidatesOperator(task_id="candidates", pin=needed.output)
    trials = TrialOperator.partial(task_id="trial", pin=needed.output).expand(candidate=candidates.output)
    choose = ChooseStructureOperator(
        task_id="choose", pin=needed.output, candidates=candidates.output, trials=trials.output
    )
    train = TrainOperator(task_id="train", pin=choose.output)
    evaluate = EvaluateOperator(task_id="evaluate", pin=choose.output, trained=train.output)
    gate = GateOperator(
        task_id="gate", pin=choose.output, trained=train.output, evaluated=evaluate.output, kind="structure"
    )
    approve = ApproveModelOperator(task_id="approve", gate=gate.output, evaluated=evaluate.output)
    DeployOperator(task_id="deploy", gate=approve.output, alias="optimized")
