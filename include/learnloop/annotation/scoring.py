"""Score a batch with a served model, shard by shard, into Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from learnloop.annotation.exchange.incoming import NO_MODEL
from learnloop.annotation.selection import GoldCandidate, choose_tasks
from learnloop.annotation.shards import matrix
from learnloop.annotation.strategies import find
from learnloop.database import Batch, Dataset, ScoringRun
from learnloop.datasets.batch import sample_files
from learnloop.datasets.schema import loop_config
from learnloop.datasets.store import Store
from learnloop.datasets.tables import ANNOTATIONS_FILE, FEATURES_FILE, read_rows, read_table
from learnloop.datasets.versions import get_dataset

if TYPE_CHECKING:
    from learnloop.serving.client import ModelClient

ROWS_A_REQUEST = 500
WAIT_SECONDS = 60.0
"""How long a model server may take to load a version that was leased for a committee."""
GOLD_FILE = "gold.parquet"
FIRST_POOL = "k_means"
"""The strategy that chooses where there is no model: no other can tell one sample from another."""

SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("path", pa.string()),
        ("object", pa.string()),
        ("label", pa.string()),  # of gold candidates; null in a batch
        ("probabilities", pa.list_(pa.float32())),
        ("features", pa.list_(pa.float32())),
    ]
)
COMMITTEE = pa.field("committee", pa.list_(pa.float32()))  # one model's probabilities after the other's
NUMBERS = {
    "use_dictionary": ["path", "label"]
}  # hardly a number comes twice: a dictionary of them is larger and slower


def predict_shard(session: Session, store: Store, client: ModelClient, shard: dict[str, Any], folder: Path) -> Path:
    """Predict one shard with exactly the pinned model version; the file appears whole or not at all.

    Where the version is `NO_MODEL` nothing is asked: all classes are equally likely.

    Args:
        shard: ``{dataset, tree, model_name, model_version, committee, kind, start, stop}``; kind ``batch`` is rows
            ``start`` to ``stop`` of the batch's features, kind ``gold`` the labelled training samples of the dataset's
            head. ``committee`` are the model versions that vote, perhaps none.
    """
    gold = shard["kind"] == "gold"
    if gold:
        rows, tree = _gold_candidates(session, store, shard["dataset"])
    else:
        tree = shard["tree"]
        features = store.read_tree(tree)[FEATURES_FILE]
        store.verify(features)
        rows = read_rows(store.path_of(features), shard["start"], shard["stop"])
        rows = rows.append_column("label", pa.nulls(len(rows), pa.string()))
    objects = sample_files(store, tree) if len(rows) else {}
    if shard["model_version"] == NO_MODEL:
        classes = len(get_dataset(session, shard["dataset"]).loop["classes"])
        probabilities = np.full((len(rows), classes), 1 / classes, dtype=np.float32)
    else:
        probabilities = _predict(client, shard["model_name"], shard["model_version"], rows)
    voters = [] if gold else shard.get("committee", [])
    ids = rows["sample_id"].to_pylist()
    table = pa.table(
        {
            "sample_id": rows["sample_id"],
            "path": rows["path"],
            "object": pa.array([objects[sample][1] for sample in ids], pa.string()),
            "label": rows["label"],
            "probabilities": pa.array(list(probabilities), pa.list_(pa.float32())),
            "features": rows["features"],
        }
    ).cast(SCHEMA)
    if voters:
        table = table.append_column(COMMITTEE, _votes(client, shard, voters, rows, probabilities))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (GOLD_FILE if gold else f"batch-{shard['start']:09d}.parquet")
    temporary = target.with_suffix(".part")
    pq.write_table(table, temporary, **NUMBERS)
    temporary.rename(target)
    return target


def choose_from_predictions(
    session: Session, store: Store, pin: dict[str, Any], folder: Path, *, run_id: str, owner: str
) -> ScoringRun:
    """Choose what people are asked about from a scoring run's Parquet files; once a run.

    By the dataset's query strategy; where there is no model, by `FIRST_POOL`, and none of them at random: the share is
    for the accuracy of a model.

    Args:
        pin: ``{batch_id, model_name, model_version, committee, ...}`` as the run fixed it at its start.
        folder: what the shards' :func:`predict_shard` wrote to.
    """
    batch = session.get_one(Batch, pin["batch_id"])
    dataset = batch.dataset
    loop = loop_config(dataset.loop)
    classes: list[str] = dataset.loop["classes"]
    first = pin["model_version"] == NO_MODEL
    strategy = FIRST_POOL if first else loop.query.strategy
    return choose_tasks(
        session,
        dataset=dataset,
        batch=batch,
        run_id=run_id,
        model_name=pin["model_name"],
        model_version=pin["model_version"],
        predictions=folder,
        classes=classes,
        strategy=strategy,
        budget=loop.query.budget,
        seed=batch.id * 1_000_003 + pin["model_version"],
        owner=owner,
        random_share=0.0 if first else loop.query.random_share,
        committee=pin.get("committee", []),
        known=_labelled_features(store, dataset) if find(strategy).needs_known else None,
        gold=_gold(folder / GOLD_FILE, loop.quality.gold_questions),
    )


def _gold_candidates(session: Session, store: Store, name: str) -> tuple[pa.Table, str]:
    """Labelled training samples of the head that no annotator of ours labelled: their labels came with the data."""
    head = get_dataset(session, name).head
    tree = {} if head is None else store.read_tree(head.tree)
    if head is None or not {ANNOTATIONS_FILE, FEATURES_FILE} <= set(tree):  # no label, or not preprocessed yet
        return SCHEMA.empty_table().select(["sample_id", "path", "label", "features"]), ""
    annotations = read_table(store.read(tree[ANNOTATIONS_FILE])).to_pandas()
    known = annotations[
        annotations["label"].notna() & (annotations["split"] == "train") & annotations["annotator"].isna()
    ].set_index("sample_id")
    features = read_table(store.read(tree[FEATURES_FILE]))
    keep = pa.array([sample in known.index for sample in features["sample_id"].to_pylist()], pa.bool_())
    rows = features.filter(keep)
    labels = [str(known.at[sample, "label"]) for sample in rows["sample_id"].to_pylist()]
    return rows.append_column("label", pa.array(labels, pa.string())), head.tree


def _labelled_features(store: Store, dataset: Dataset) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """Features ``[l, d]`` of the training samples in the dataset's head that have a label; None when none has."""
    if dataset.head is None:
        return None
    tree = store.read_tree(dataset.head.tree)
    annotations = read_table(store.read(tree[ANNOTATIONS_FILE]))
    trained = annotations.filter(pc.and_(pc.is_valid(annotations["label"]), pc.equal(annotations["split"], "train")))
    features = read_table(store.read(tree[FEATURES_FILE]))
    wanted = features.filter(pc.is_in(features["sample_id"], value_set=trained["sample_id"].combine_chunks()))
    return matrix(wanted["features"], None, f"{dataset.head.name}: features") if len(wanted) else None


def _votes(
    client: ModelClient, shard: dict[str, Any], voters: Sequence[int], rows: pa.Table, current: np.ndarray[Any, Any]
) -> pa.Array:
    """Each row's probabilities by every voter, one after the other; the scoring model has been asked already."""
    votes = []
    for version in voters:
        if version == shard["model_version"]:
            votes.append(current)
            continue
        client.wait_ready(shard["model_name"], version, timeout=WAIT_SECONDS)
        votes.append(_predict(client, shard["model_name"], version, rows))
    return pa.array(list(np.concatenate(votes, axis=1)), COMMITTEE.type)


def _predict(client: ModelClient, name: str, version: int, rows: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Probabilities ``[n, classes]`` of the rows' features, asked for in requests of bounded size."""
    answers = []
    for start in range(0, len(rows), ROWS_A_REQUEST):
        part = rows["features"].slice(start, ROWS_A_REQUEST).to_pylist()
        answers.append(client.infer(name, np.asarray(part, dtype=np.float32), version=version).probabilities)
    return np.concatenate(answers) if answers else np.zeros((0, 0), dtype=np.float32)


def _gold(path: Path, most: int) -> list[GoldCandidate]:
    if not path.exists():
        return []
    return [GoldCandidate(**row) for row in pq.read_table(path).slice(0, most).to_pylist()]
