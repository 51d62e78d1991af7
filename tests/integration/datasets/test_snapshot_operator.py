"""The operator as a worker runs it: a process with an Airflow connection and Learnloop's settings."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import s3fs

from learnloop.datasets.store import Store

SCRIPT = """
import json, sys
from types import SimpleNamespace
from learnloop_airflow.operators.snapshot import SnapshotOperator
operator = SnapshotOperator(task_id="snapshot", path=sys.argv[1], aws_conn_id="site_storage", message="arrived")
run = SimpleNamespace(triggering_user_name="ana")
print("RESULT", json.dumps(operator.execute({"dag_run": run, "run_id": "r1"})))
"""


def execute(path, database_url, store, s3, home, secret=None):
    connection = {
        "conn_type": "aws",
        "login": s3.keys[0],
        "password": secret or s3.keys[1],
        "extra": {"endpoint_url": s3.endpoint, "region_name": "us-east-1"},
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW_CONN_SITE_STORAGE": json.dumps(connection),
            "LEARNLOOP_HOME": str(home / "state"),
            "LEARNLOOP_DATABASE_URL": database_url,
            "LEARNLOOP_STORE": str(store.root),
        },
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return SimpleNamespace(result=json.loads(found[0][7:]) if found else None, output=done.stdout + done.stderr)


@pytest.fixture
def url(s3, folder):
    filesystem = s3fs.S3FileSystem(**s3.options, skip_instance_cache=True)
    filesystem.put(f"{folder}/", f"{s3.bucket}/lamps/", recursive=True)
    return f"s3://{s3.bucket}/lamps"


def test_a_path_and_a_url_of_the_same_files_are_one_version(database_url, store, s3, url, folder, tmp_path):
    of_url = execute(url, database_url, store, s3, tmp_path)
    assert of_url.result is not None, of_url.output
    assert (of_url.result["version"], of_url.result["dataset"]) == ("lamps_v1.0", "lamps")
    assert Store(store.root).read_tree(of_url.result["tree"]) == store.add_folder(folder)[0]
    assert s3.keys[1] not in of_url.output
    assert execute(folder, database_url, store, s3, tmp_path).result == of_url.result


def test_a_connection_with_a_wrong_secret_is_refused(database_url, store, s3, url, tmp_path):
    refused = execute(url, database_url, store, s3, tmp_path, secret="another-secret")
    assert refused.result is None
    assert "the storage refuses these credentials" in refused.output
    assert "another-secret" not in refused.output
