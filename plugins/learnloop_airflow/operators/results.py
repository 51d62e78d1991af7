"""Keep a round's results as an immutable snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import run_owner, store


class SnapshotResultsOperator(BaseOperator):
    """Snapshot what training and evaluation wrote (model, metrics, log) into the store, beside the data.

    :param pin: the round's pin (templated).
    :param trained: what ``TrainOperator`` returned (templated).
    :param evaluated: what ``EvaluateOperator`` returned (templated).
    :return: the DVC hashes of the trees; they are kept with the round, or as a decision about a training without one.
    """

    template_fields: Sequence[str] = ("pin", "trained", "evaluated")

    def __init__(self, *, pin: Any, trained: Any, evaluated: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.trained = trained
        self.evaluated = evaluated

    def execute(self, context: Context) -> dict[str, str]:
        from learnloop.database import Round, session
        from learnloop.datasets.roots import hold
        from learnloop.loop.decisions import record_decision

        objects = store()
        trees = {}
        for name, folder in {
            "model": self.trained["models_dir"],
            "training": self.trained["results_dir"],
            "evaluation": self.evaluated["results_dir"],
        }.items():
            tree, _ = objects.add_folder(Path(folder))
            trees[name] = objects.write_tree(tree)
        with session() as db:
            for tree_hash in trees.values():
                hold(db, objects, tree_hash)
            if self.pin.get("round_id") is not None:
                done = db.get_one(Round, self.pin["round_id"])
                done.metrics = {**done.metrics, "results": trees}
            else:
                comparison = self.evaluated["result"]
                accuracy = comparison["candidate"]["accuracy"]
                record_decision(
                    db,
                    dataset_name=self.pin["dataset"],
                    kind="workspace",
                    run_id=context["run_id"],
                    accepted=False,
                    reason=f"trained on {self.pin['version']}: accuracy {accuracy:.1%}; not deployed",
                    comparison={**comparison, "results": trees},
                    labels=self.trained["result"].get("labels"),
                    owner=run_owner(context),
                )
        return trees
