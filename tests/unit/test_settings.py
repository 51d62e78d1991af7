from __future__ import annotations

import json
from pathlib import Path

import pytest

from learnloop.errors import InvalidInput
from learnloop.settings import environment_of, load


def test_environment_wins_over_the_stack_file_and_that_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"api_url": "http://file", "serving_url": "http://file"}))
    found = load({"LEARNLOOP_HOME": str(tmp_path), "LEARNLOOP_API_URL": "http://environment"})
    assert (found.api_url, found.serving_url, found.job_runner) == ("http://environment", "http://file", "local")
    assert found.store == tmp_path / "store"


def test_settings_survive_the_way_to_another_process(tmp_path: Path) -> None:
    found = load({"LEARNLOOP_HOME": str(tmp_path), "LEARNLOOP_DATABASE_URL": "postgresql+psycopg://somewhere/else"})
    assert load(environment_of(found)) == found


def test_an_unknown_runner_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="LEARNLOOP_JOB_RUNNER is 'docker'"):
        load({"LEARNLOOP_HOME": str(tmp_path), "LEARNLOOP_JOB_RUNNER": "docker"})


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"MLFLOW_TRACKING_URI": "https://mlflow.example.org/"}, "https://mlflow.example.org"),
        ({"MLFLOW_TRACKING_URI": "http://a", "MLFLOW_REGISTRY_URI": "http://b"}, "http://b"),
        ({"MLFLOW_TRACKING_URI": "http://a", "LEARNLOOP_MLFLOW_URL": "http://c"}, "http://c"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///notebook.db"}, ""),
        ({"MLFLOW_TRACKING_URI": "./mlruns"}, ""),
    ],
)
def test_an_mlflow_server_may_be_named_by_mlflows_own_variables(
    tmp_path: Path, environment: dict[str, str], found: str
) -> None:
    assert load({"LEARNLOOP_HOME": str(tmp_path), **environment}).mlflow_url == found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ADMISSION": "slurm"}, "LEARNLOOP_ADMISSION is 'slurm'; it must be one of none, reservation, kueue"),
        ({"ADMISSION": "kueue"}, "which needs LEARNLOOP_JOB_RUNNER=kubernetes"),
        ({"ADMISSION": "kueue", "JOB_RUNNER": "kubernetes"}, "LEARNLOOP_KUEUE_QUEUE names no LocalQueue"),
        ({"ADMISSION_AGEING": "-1"}, "LEARNLOOP_ADMISSION_AGEING is '-1'; it must be a whole number"),
    ],
)
def test_a_wrong_way_of_admission_is_named(tmp_path: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        load({"LEARNLOOP_HOME": str(tmp_path), **{f"LEARNLOOP_{name}": value for name, value in given.items()}})


def test_a_setting_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql+psycopg://ana:s%20cret@db/learnloop\n")
    (tmp_path / "rate").write_text("7")
    found = load(
        {
            "LEARNLOOP_HOME": str(tmp_path),
            "LEARNLOOP_DATABASE_URL_FILE": str(tmp_path / "url"),
            "LEARNLOOP_RATE_READ_FILE": str(tmp_path / "rate"),
        }
    )
    assert (found.database_url, found.rate_read) == ("postgresql+psycopg://ana:s%20cret@db/learnloop", 7)


def test_a_file_that_cannot_be_read_or_says_what_is_said_already_is_named(tmp_path: Path) -> None:
    missing = {"LEARNLOOP_HOME": str(tmp_path), "LEARNLOOP_WEBHOOK_SECRET_FILE": "/nowhere/secret"}
    with pytest.raises(InvalidInput, match="LEARNLOOP_WEBHOOK_SECRET_FILE names /nowhere/secret, which cannot be read"):
        load(missing)
    with pytest.raises(InvalidInput, match="LEARNLOOP_WEBHOOK_SECRET and LEARNLOOP_WEBHOOK_SECRET_FILE are both set"):
        load({**missing, "LEARNLOOP_WEBHOOK_SECRET": "x"})
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="it is no text"):
        load({**missing, "LEARNLOOP_WEBHOOK_SECRET_FILE": str(tmp_path / "bytes")})


def test_a_log_format_that_is_empty_is_the_usual_one() -> None:
    """As Compose gives what was not said."""
    assert load({"LEARNLOOP_LOG_FORMAT": ""}).log_format == "text"
