"""Operators of a round: open it and merge the confirmed pool; find due rounds; close it however it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import model_name_of, run_owner, store
from learnloop_airflow.lineage import TellsLineage, dataset_version
from learnloop_airflow.operators.snapshot import pin


class OpenBaseRoundOperator(BaseOperator):
    """Open round 0 of a dataset for its base model.

    :param pin: the version to train on, as ``SnapshotOperator`` returns it (templated).
    :return: the pin with ``round``, ``parent_model_version`` (the current model, if any) and ``trainer``.
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.versions import get_version
        from learnloop.loop.rounds import open_base_round

        with session() as db:
            version = get_version(db, self.pin["version"])
            opened = open_base_round(db, version, run_id=context["run_id"], owner=run_owner(context))
            return {**self.pin, "round": opened.number, "round_id": opened.id, **loop_facts(version.dataset)}


class MergeConfirmedOperator(TellsLineage, BaseOperator):
    """Start the round that this run is for, and merge what it consumed of the confirmed pool into the head.

    The first labels of a dataset that began without any are preprocessed too: this fixes their test split.

    A run that is no round's (a person triggered it) opens one, with what is confirmed so far.

    :param round_run_id: the run's id; ``round-{dataset}-{n}`` when the training policy started it (templated).
    :param dataset: the dataset, for a run that a person triggered (templated).
    :return: the merged version's pin, with ``round``, ``parent_model_version`` and ``trainer``.
    """

    template_fields: Sequence[str] = ("round_run_id", "dataset")

    def __init__(self, *, round_run_id: str, dataset: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.round_run_id = round_run_id
        self.dataset = dataset

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.pool_merge import merge_confirmed
        from learnloop.datasets.preprocess import preprocess
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.rounds import consumed, start_by_hand, start_round

        with session() as db:
            if self.round_run_id.startswith("round-"):
                started = start_round(db, self.round_run_id)
            else:
                started = start_by_hand(
                    db, get_dataset(db, self.dataset), run_id=self.round_run_id, by=run_owner(context)
                )
            dataset = started.dataset
            base = started.base_version or dataset.head
            confirmed = consumed(db, started)
            version = merge_confirmed(
                db,
                store(),
                dataset,
                confirmed,
                base=base,
                owner=run_owner(context),
                message=f"round {started.number}: {len(confirmed)} confirmed labels",
                run_id=self.round_run_id,
            )
            if "recipe" not in version.provenance:
                version = preprocess(db, store(), version, owner=run_owner(context), run_id=self.round_run_id)
            started.base_version, started.version = base, version
            self.log.info("%s + %d labels -> %s", base.name, len(confirmed), version.name)
            facts = loop_facts(dataset)
            started.parent_model_version = facts["parent_model_version"]
            started.model_name = model_name_of(dataset.name)
            self.read, self.made = [dataset_version(pin(base))], [dataset_version(pin(version))]
            return {**pin(version), "round": started.number, "round_id": started.id, **facts}


class CloseRoundOperator(BaseOperator):
    """Close the round: accepted or rejected as the gate decided, failed when the run did not get that far.

    Made a teardown, it runs however the run ends; what it misses, `platform_maintenance` closes.
    """

    def execute(self, context: Context) -> str:
        from learnloop.database import session
        from learnloop.loop.rounds import close_round

        with session() as db:
            state = close_round(db, context["run_id"])
        self.log.info("the round is %s", state)
        return state


def loop_facts(dataset: Any) -> dict[str, Any]:
    """The model to start from and the trainer's parameters, as they are now; later tasks read only this."""
    from learnloop.database import session
    from learnloop.models.deployment import served_version

    with session() as db:
        current = served_version(db, model_name_of(dataset.name), "current")
    return {"parent_model_version": current, "trainer": dataset.loop.get("trainer", {})}
