"""The operators, with S3's credentials from an Airflow connection."""

import json
from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from dataset_folders import write_images
from s3_server import client

from learnloop.database.engine import engine
from learnloop.datasets.gc import collect
from learnloop.datasets.remotes import fetch, open_remote, push
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import move_to
from learnloop.errors import Conflict, Corrupted, NotFound
from learnloop.settings import settings
from learnloop_airflow.operators.remotes import FetchOperator, PushOperator, ReplicateOperator, VerifyOperator

RUN = {"run_id": "r1"}


@pytest.fixture
def platform(db, database_url, store, folder, s3, tmp_path, monkeypatch):
    """The settings of a platform whose remote is S3; a committed version."""
    key, secret = s3.keys
    connection = {"conn_type": "aws", "login": key, "password": secret}
    connection["extra"] = {"endpoint_url": s3.endpoint, "region_name": "us-east-1"}
    monkeypatch.setenv("AIRFLOW_CONN_LEARNLOOP_S3", json.dumps(connection))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    monkeypatch.setenv("LEARNLOOP_STORE", str(store.root))
    monkeypatch.setenv("LEARNLOOP_REMOTE", s3.address)
    settings.cache_clear()
    engine.cache_clear()  # the engine of no URL is that of the settings
    version = snapshot(db, store, folder, owner="ana")
    db.commit()
    yield version
    engine().dispose()
    engine.cache_clear()
    settings.cache_clear()


def test_versions_are_pushed_and_fetched(platform, store, tmp_path, monkeypatch, caplog):
    pushed = PushOperator(task_id="push", aws_conn_id="learnloop_s3").execute(RUN)
    assert pushed["objects"] == len(set(store.read_tree(platform.tree).values())) + 1
    monkeypatch.setenv("LEARNLOOP_STORE", str(tmp_path / "other"))
    settings.cache_clear()
    fetched = FetchOperator(task_id="fetch", versions=[platform.name], aws_conn_id="learnloop_s3").execute(RUN)
    assert fetched == pushed
    assert Store(tmp_path / "other").read_tree(platform.tree) == store.read_tree(platform.tree)
    assert "writer-secret" not in caplog.text
    with pytest.raises(NotFound, match="lamps_v7"):
        PushOperator(task_id="none", versions=["lamps_v7.0"], aws_conn_id="learnloop_s3").execute(RUN)


def test_what_is_damaged_is_repaired_or_the_task_fails(platform, store, tmp_path):
    folder = tmp_path / "remote"
    push(store, open_remote(str(folder)), [platform.tree])
    name = store.read_tree(platform.tree)["images/s005.png"]
    good = store.read(name)
    store.path_of(name).chmod(0o644)
    store.path_of(name).write_bytes(b"damaged")
    with pytest.raises(Corrupted, match=f"could not be repaired:\n  - object {name} is corrupt"):
        VerifyOperator(task_id="fails", aws_conn_id="learnloop_s3").execute(RUN)  # nothing was pushed to S3
    done = VerifyOperator(task_id="repairs", remote=str(folder)).execute(RUN)
    assert done["repaired"] == 1
    assert store.read(name) == good
    assert VerifyOperator(task_id="sample", sample=3).execute(RUN) == {"checked": 4, "repaired": 0}


@pytest.fixture
def three_tiers(platform, db, store, folder, s3):
    """A cold, a warm and a hot version, of which the store has only the last one's objects."""
    versions = [platform]
    for tint in (7, 77):
        write_images(folder / "images", ["s000"], [tint])
        versions.append(snapshot(db, store, folder, owner="ana"))
    db.commit()
    remote = open_remote(s3.address, s3.options)
    for version, tier in zip(versions, ("cold", "warm"), strict=False):
        move_to(db, store, version, tier, remote=remote)
    db.commit()
    assert collect(store, grace=timedelta(0)).objects > 0
    return versions


def test_versions_in_colder_tiers_are_not_missing(three_tiers):
    cold, warm, _ = three_tiers
    assert VerifyOperator(task_id="verify", aws_conn_id="learnloop_s3").execute(RUN)["repaired"] == 0
    assert PushOperator(task_id="push", aws_conn_id="learnloop_s3").execute(RUN)["objects"] > 0
    with pytest.raises(Conflict, match=f"{warm.name} is in the warm tier: recall first"):
        VerifyOperator(task_id="named", versions=[warm.name], aws_conn_id="learnloop_s3").execute(RUN)
    with pytest.raises(Conflict, match=f"{cold.name} is in the cold tier: recall first"):
        FetchOperator(task_id="cold", versions=[cold.name], aws_conn_id="learnloop_s3").execute(RUN)


def test_a_replica_has_all_that_the_remote_has(three_tiers, db, store, s3, tmp_path, monkeypatch):
    cold, warm, hot = three_tiers
    with pytest.raises(AirflowSkipException, match="LEARNLOOP_REPLICA"):
        ReplicateOperator(task_id="none", aws_conn_id="learnloop_s3").execute(RUN)
    replica = tmp_path / "replica"
    replica.mkdir()
    monkeypatch.setenv("LEARNLOOP_REPLICA", str(replica))
    settings.cache_clear()
    operator = ReplicateOperator(task_id="replicate", aws_conn_id="learnloop_s3")
    assert operator.execute(RUN)["bundles"] == 1
    assert operator.execute(RUN) == {"objects": 0, "bytes": 0, "bundles": 0}
    # The first remote is lost.
    for version in (cold, warm):
        move_to(db, store, version, "hot", remote=open_remote(str(replica)))
    assert fetch(Store(tmp_path / "new"), open_remote(str(replica)), [warm.tree, hot.tree]).objects > 0
    for version in three_tiers:
        store.checkout(store.read_tree(version.tree), tmp_path / version.name)
    assert list((store.root / "tmp").iterdir()) == []


def test_a_damaged_archive_is_not_replicated(three_tiers, s3, tmp_path):
    archive = f"archive/{three_tiers[0].name}.{three_tiers[0].id}.tar.zst"
    client(s3).put_object(Bucket=s3.bucket, Key=f"data/{archive}", Body=b"damaged")
    (tmp_path / "replica").mkdir()
    operator = ReplicateOperator(task_id="replicate", replica=str(tmp_path / "replica"), aws_conn_id="learnloop_s3")
    with pytest.raises(Corrupted, match=f"the bundle {archive} came with other bytes"):
        operator.execute(RUN)
    assert not (tmp_path / "replica" / archive).exists()
