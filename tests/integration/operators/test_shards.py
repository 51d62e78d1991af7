"""A batch in shards: each sample once, few enough tasks however large the batch is."""

from __future__ import annotations

import pytest

from learnloop_airflow.operators.scoring import MOST_SHARDS, ShardOperator


@pytest.mark.parametrize(
    ("samples", "shards"), [(1, 1), (1000, 1), (1001, 2), (100_000, 100), (100_001, 100), (2_000_000, 100)]
)
def test_each_sample_is_in_one_shard(samples: int, shards: int) -> None:
    *parts, gold = ShardOperator(task_id="shards", pin={"samples": samples}).execute({})
    assert gold["kind"] == "gold"
    assert len(parts) == shards <= MOST_SHARDS
    assert [part["start"] for part in parts] == [0, *(part["stop"] for part in parts[:-1])]
    assert parts[-1]["stop"] == samples
    assert all(part["start"] < part["stop"] for part in parts)
