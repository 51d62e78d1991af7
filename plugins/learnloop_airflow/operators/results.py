"""Keep a round's results as an immutable snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import store


class SnapshotResultsOperator(BaseOperator):
    """Snapshot what training and evaluation wrote (model, metrics, log) into the store, beside the data.

    :param pin: the round's pin (templated).
    :param trained: what ``TrainOperator`` returned (templated).
    :param evaluated: what ``EvaluateOperator`` returned (templated).
    :return: the DVC hashes of the trees; they are kept with the round.
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
            done = db.get_one(Round, self.pin["round_id"])
            done.metrics = {**done.metrics, "results": trees}
        return trees
