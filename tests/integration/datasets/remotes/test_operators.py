"""The operators, with S3's credentials from an Airflow connection."""

import json

import pytest

from learnloop.database.engine import engine
from learnloop.datasets.remotes import open_remote, push
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted, NotFound
from learnloop.settings import settings
from learnloop_airflow.operators.remotes import FetchOperator, PushOperator, VerifyOperator

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
