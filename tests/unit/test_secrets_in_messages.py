"""What is logged or told to people has no password in it: settings, refusals, errors of parts that do not answer."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from learnloop.datasets.remotes import open_remote
from learnloop.errors import InvalidInput, LearnloopError
from learnloop.models import registry
from learnloop.settings import load

ROOT = Path(__file__).parents[2]
SECRET = "Zq7-not-to-be-seen-anywhere"
DATABASE = f"postgresql+psycopg://learnloop:{SECRET}@127.0.0.1:1/learnloop"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "LEARNLOOP_HOME": str(tmp_path),
        "LEARNLOOP_DATABASE_URL": DATABASE,
        "LEARNLOOP_MLFLOW_URL": DATABASE,
        "LEARNLOOP_WEBHOOK_SECRET": SECRET,
    }


def test_settings_do_not_show_what_a_deployment_keeps_secret(environment: dict[str, str]) -> None:
    given = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())["secret"]
    names = {one["envName"] for one in given if one["envName"].startswith("LEARNLOOP_")}
    assert {"LEARNLOOP_AIRFLOW_DATABASE_URL", "LEARNLOOP_METRICS_TOKEN", *environment} - {"LEARNLOOP_HOME"} <= names
    found = load({**environment, **dict.fromkeys(names, SECRET), "LEARNLOOP_DATABASE_URL": DATABASE})
    assert {found.metrics_token, found.airflow_database_url, found.webhook_secret} == {SECRET}
    assert found.database_url == DATABASE
    assert SECRET not in f"{found!r} {found!s}"


def test_a_database_that_refuses_is_told_of_without_its_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    engine = create_engine(DATABASE)
    with pytest.raises(OperationalError) as refused, engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    said = "".join(map(str, [refused.value, refused.value.__cause__, refused.value.orig, engine, caplog.text]))
    assert "127.0.0.1" in said
    assert SECRET not in said


def test_an_address_with_a_password_is_refused_without_saying_it() -> None:
    with pytest.raises(InvalidInput, match="has credentials in it") as refused:
        open_remote(f"s3://ana:{SECRET}@bucket/prefix")
    assert SECRET not in str(refused.value)


def test_an_mlflow_server_with_a_password_in_its_address_is_refused_without_saying_it() -> None:
    with pytest.raises(InvalidInput, match="must not have a password in it") as refused:
        registry.names(url=f"https://ana:{SECRET}@mlflow.example.org")
    assert SECRET not in str(refused.value)


def test_a_remote_shows_its_address_and_not_its_keys(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG, "learnloop")
    remote = open_remote(
        "s3://datasets/learnloop", {"key": "ana", "secret": SECRET, "endpoint_url": "http://127.0.0.1:1"}
    )
    with pytest.raises(LearnloopError) as failed:
        remote.get("0" * 32, tmp_path / "there")
    assert SECRET not in f"{remote!r} {remote.address} {failed.value} {failed.value.__cause__!r} {caplog.text}"
