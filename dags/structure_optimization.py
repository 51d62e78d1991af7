"""Step 7 of the loop: enlarge the model when it has run out of room, or say that nothing need change."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from learnloop_airflow.operators.deploy import DeployOperator
from learnloop_airflow.operators.gate import ApproveModelOperator, GateOperator
from learnloop_airflow.operators.structure import (
    ALWAYS,
    IF_NEEDED,
    ChooseStructureOperator,
    PlanTrialsOperator,
    StructureNeededOperator,
    TrialOperator,
)
from learnloop_airflow.operators.train import EvaluateOperator, TrainOperator
from learnloop_airflow.retries import TOLD_AND_RETRIED

AT_ONCE = 4  # trials of one run: what is asked for later goes by what has ended

with DAG(
    "structure_optimization",
    description="If needed: structures tried side by side, the best one trained and deployed as `optimized`",
    doc_md="""
### Is the model's structure still right?

Asked after every round (`when: if_needed`): when the labelled data has grown, or accuracy has stopped growing or fallen.
Or by hand: trigger this DAG. Each answer is kept with its reason.

Structures are then tried side by side, each a task `trial`: the current one, what lies next to it (wider, deeper, pruned;
grown from the current network or from fresh weights), other families of models, and what Optuna proposes by what
came of those. All are cross-validated on the same folds of the training split, never on the test split. A trial that
fails does not fail the run; clear it, and the run goes on with what it has.

The current structure is replaced only when another on the front of quality, latency and size is better beyond noise, or as
good and much cheaper; the chosen one is then trained, and passes the gate as any model does. Otherwise the run ends
with "no change", and why. The others are kept as model versions with the reason.
""",
    schedule=None,
    catchup=False,
    max_active_runs=2,
    tags=["learnloop"],
    **TOLD_AND_RETRIED,
    params={
        "dataset": Param("", type="string", minLength=1, title="Dataset"),
        "when": Param(
            ALWAYS,
            type="string",
            enum=[ALWAYS, IF_NEEDED],
            title="When",
            description="always: you want it; if_needed: only where the dataset's rules see a reason",
        ),
        "trials": Param(
            None,
            type=["null", "integer"],
            minimum=2,
            maximum=500,
            title="Trials",
            description="At most so many structures; empty: the dataset's own budget",
        ),
        "minutes": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            title="Minutes",
            description="In which trials may begin; empty: the dataset's own budget",
        ),
    },
):
    needed = StructureNeededOperator(
        task_id="structure_needed",
        dataset="{{ params.dataset }}",
        when="{{ params.when }}",
        trials="{{ params.trials or '' }}",
        minutes="{{ params.minutes or '' }}",
    )
    candidates = PlanTrialsOperator(task_id="candidates", pin=needed.output)
    # Nobody is told that a trial failed: the run goes on, and tells how it ends.
    trials = TrialOperator.partial(
        task_id="trial", pin=needed.output, max_active_tis_per_dagrun=AT_ONCE, on_failure_callback=None
    ).expand(number=candidates.output)
    choose = ChooseStructureOperator(task_id="choose", pin=needed.output, trigger_rule="all_done_min_one_success")
    train = TrainOperator(task_id="train", pin=choose.output)
    evaluate = EvaluateOperator(task_id="evaluate", pin=choose.output, trained=train.output)
    gate = GateOperator(
        task_id="gate", pin=choose.output, trained=train.output, evaluated=evaluate.output, kind="structure"
    )
    approve = ApproveModelOperator(task_id="approve", gate=gate.output, evaluated=evaluate.output)
    DeployOperator(task_id="deploy", gate=approve.output, alias="optimized")

    trials >> choose
