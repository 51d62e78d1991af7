"""A shard is predicted by a real model server: with the pinned version, and with each of a committee."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learnloop.annotation.scoring import predict_shard
from learnloop.annotation.shards import Shards
from learnloop.annotation.strategies import find
from learnloop.database import session
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.models.deployment import lease_model
from learnloop.serving.client import ModelClient


@pytest.fixture
def batch(tmp_path: Path, rows: np.ndarray) -> tuple[Store, str]:
    """A store with a batch of the ten digits, and its tree."""
    store = Store(tmp_path / "store")
    paths = [f"{n}.png" for n in range(len(rows))]
    tree = {path: store.add_bytes(path.encode()) for path in paths}
    features = pa.table(
        {
            "sample_id": [str(n) for n in range(len(rows))],
            "path": paths,
            "features": pa.array(list(rows), pa.list_(pa.float32())),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(features, sink)
    tree["features.parquet"] = store.add_bytes(sink.getvalue().to_pybytes())
    return store, store.write_tree(Tree(tree))


def test_each_of_a_committee_predicts_each_sample(
    batch, serve, deploy_digits, dataset_id, database_url, expected, tmp_path
) -> None:
    store, tree = batch
    deploy_digits(2)
    server = serve()
    shard = {"dataset": "digits", "tree": tree, "model_name": "digits", "model_version": 2, "kind": "batch"}
    with session(database_url) as db, ModelClient(server.url) as client:
        lease = {"model_name": "digits", "holder": "r", "duration": timedelta(minutes=5), "owner": "ann"}
        lease_model(db, version=1, **lease)
        db.commit()
        for start, stop in ((0, 6), (6, 10)):
            part = {**shard, "start": start, "stop": stop, "committee": [2, 1]}
            predict_shard(db, store, client, part, tmp_path / "voted")
            predict_shard(db, store, client, {**part, "committee": []}, tmp_path / "alone")
    assert "committee" not in pq.read_table(next((tmp_path / "alone").iterdir())).column_names
    names = [str(digit) for digit in range(10)]
    voted = Shards(tmp_path / "voted", names, find("vote_entropy"), np.random.default_rng(0))
    both = np.stack([expected[2], expected[1]], axis=1).astype(np.float32)
    wanted = find("vote_entropy").scores(expected[2].astype(np.float32), both, np.random.default_rng(0))
    assert voted.scores == pytest.approx(wanted)
    assert len(set(np.round(voted.scores, 3))) > 1  # the two models differ about some of them
    alone = Shards(tmp_path / "alone", names, find("vote_entropy"), np.random.default_rng(0))
    assert alone.scores == pytest.approx(1e-6 * find("margin_sampling").scores(expected[2], None, None), abs=1e-9)
