"""Operators that score a batch and choose what people are asked about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import model_name_of, readable, run_owner, store

LEASE = timedelta(hours=1)
MOST_SHARDS = 100


class RegisterBatchOperator(BaseOperator):
    """Register newly arrived data, and pin and lease the model that will score it, and its committee if it has one.

    A dataset that has no model yet gets its first questions: the pin's ``model_version`` is then 0, and nothing is leased.

    :param dataset: the dataset the data is for (templated).
    :param path: a folder of new samples, or empty to score a registered batch again (templated).
    :param batch: the batch's name: given to a new one, or naming the one to score again (templated).
    :return: the pin of the scoring run, without its shards.
    """

    template_fields: Sequence[str] = ("dataset", "path", "batch")

    def __init__(self, *, dataset: str, path: str = "", batch: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.path = path
        self.batch = batch

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.annotation.committee import members
        from learnloop.annotation.exchange.incoming import NO_MODEL
        from learnloop.database import session
        from learnloop.datasets.batch import get_batch, register_batch
        from learnloop.datasets.schema import loop_config
        from learnloop.datasets.versions import get_dataset
        from learnloop.models.deployment import lease_model, served_version

        with session() as db:
            dataset = get_dataset(db, self.dataset)
            if self.path:
                batch = register_batch(
                    db,
                    store(),
                    dataset,
                    readable(self.path, run_owner(context)),
                    name=self.batch or None,
                    owner=run_owner(context),
                )
            else:
                batch = get_batch(db, dataset, self.batch)
            name = model_name_of(self.dataset)
            version = served_version(db, name, "current")
            query = loop_config(dataset.loop).query
            committee = [] if version is None else members(db, dataset, query, model_name=name, current=version)
            for leased in committee or ([] if version is None else [version]):
                lease_model(
                    db,
                    model_name=name,
                    version=leased,
                    holder=context["run_id"],
                    duration=LEASE,
                    owner=run_owner(context),
                )
            if version is None:
                self.log.info(
                    "batch %s: %d samples; no model serves %s yet, so the first to label are chosen by what they are",
                    batch.name,
                    batch.samples,
                    name,
                )
            else:
                self.log.info("batch %s: %d samples, scored by %s version %d", batch.name, batch.samples, name, version)
            if committee:
                self.log.info("%s: versions %s vote", query.strategy, ", ".join(map(str, committee)))
            return {
                "dataset": self.dataset,
                "batch_id": batch.id,
                "tree": batch.tree,
                "samples": batch.samples,
                "model_name": name,
                "model_version": NO_MODEL if version is None else version,
                "committee": committee,
            }


class ShardOperator(BaseOperator):
    """Cut a batch into shards of ``size`` samples, one mapped prediction task each.

    Of a large batch the shards are larger, so that there are no more than `MOST_SHARDS`: each task reads the list of the
    whole batch's files, and Airflow maps no more than 1024 (``[core] max_map_length``). The dataset's gold candidates are
    one more shard: their predictions make a gold task look like any other.

    :param pin: what ``RegisterBatchOperator`` returned (templated).
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, size: int = 1000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin
        self.size = size

    def execute(self, context: Context) -> list[dict[str, Any]]:
        count = self.pin["samples"]
        size = max(self.size, math.ceil(count / MOST_SHARDS))
        shards = [
            {**self.pin, "kind": "batch", "start": start, "stop": min(start + size, count)}
            for start in range(0, count, size)
        ]
        return [*shards, {**self.pin, "kind": "gold", "start": 0, "stop": 0}]


class PredictOperator(BaseOperator):
    """Predict one shard through the model server, with the pinned version, into one Parquet file.

    :param shard: one element of what ``ShardOperator`` returned (templated).
    :return: the file written.
    """

    template_fields: Sequence[str] = ("shard",)

    def __init__(self, *, shard: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> str:
        from learnloop.annotation.scoring import predict_shard
        from learnloop.database import session
        from learnloop.serving.client import ModelClient
        from learnloop.settings import settings

        folder = predictions_folder(context["run_id"], run_owner(context))
        with session() as db:
            return str(predict_shard(db, store(), ModelClient(settings().serving_url), self.shard, folder))


class ChooseOperator(BaseOperator):
    """Choose the samples worth asking about, by the dataset's query strategy, and make them annotation tasks.

    :param pin: what ``RegisterBatchOperator`` returned (templated).
    :return: ``{scored, chosen, strategy, random, accuracy_on_random}``; the accuracies are those of the models so far.
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.annotation.exchange.incoming import NO_MODEL
        from learnloop.annotation.scoring import choose_from_predictions
        from learnloop.database import session
        from learnloop.datasets.versions import get_dataset
        from learnloop.loop.drift import keep_distribution

        owner = run_owner(context)
        folder = predictions_folder(context["run_id"], owner)
        with session() as db:
            run = choose_from_predictions(db, store(), self.pin, folder, run_id=context["run_id"], owner=owner)
            if run.model_version != NO_MODEL:
                keep_distribution(run, len(get_dataset(db, self.pin["dataset"]).loop["classes"]))
            by_chance, accuracies = run.summary["random"], run.summary["accuracy_on_random"]
            self.log.info(
                "%d of %d samples chosen by %s, %d of them at random",
                run.chosen,
                run.scored,
                run.strategy,
                by_chance,
            )
            for found in accuracies:
                self.log.info(
                    "version %d was right about %d of %d random samples (95 %% interval %.3f to %.3f)",
                    found["model_version"],
                    found["right"],
                    found["labelled"],
                    found["low"],
                    found["high"],
                )
            return {
                "scored": run.scored,
                "chosen": run.chosen,
                "strategy": run.strategy,
                "random": by_chance,
                "accuracy_on_random": accuracies,
            }


class ReleaseModelOperator(BaseOperator):
    """Give the model lease back; made a teardown. A lease that is missed here lapses by itself.

    :param pin: what ``RegisterBatchOperator`` returned (templated).
    """

    template_fields: Sequence[str] = ("pin",)

    def __init__(self, *, pin: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pin = pin

    def execute(self, context: Context) -> None:
        from learnloop.annotation.exchange.incoming import NO_MODEL
        from learnloop.database import session
        from learnloop.models.deployment import release_model

        if self.pin["model_version"] == NO_MODEL:
            return
        with session() as db:
            for version in self.pin.get("committee") or [self.pin["model_version"]]:
                release_model(db, model_name=self.pin["model_name"], version=version, holder=context["run_id"])


def predictions_folder(run_id: str, owner: str) -> Path:
    """Where a scoring run's Parquet files are: in the results of whoever triggered it."""
    from learnloop.jobs.namespace import namespace_of, user_folder
    from learnloop.settings import settings

    return namespace_of(settings().namespaces, "results", owner) / "predictions" / user_folder(run_id)
