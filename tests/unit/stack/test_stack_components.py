"""What the components of one machine's stack get from whoever starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnloop.settings import load
from learnloop.stack.components import components, environment
from learnloop.stack.places import Places

PORTS = {"api": 1, "serving": 2, "page": 3, "gateway": 4}


def of(home: Path) -> dict[str, str]:
    places = Places(home)
    places.prepare()
    return environment(load({"LEARNLOOP_HOME": str(home)}), places, PORTS, "postgresql://")


def test_what_observes_may_be_set_and_another_airflows_variables_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observing = {
        "AIRFLOW__OPENLINEAGE__TRANSPORT": '{"type": "console"}',
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://prometheus:9090",
    }
    of_another = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://elsewhere/airflow",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__METRICSX__OTEL_ON": "True",
    }
    for name, value in {**observing, **of_another}.items():
        monkeypatch.setenv(name, value)
    made = of(tmp_path)
    assert {name: made.get(name) for name in observing} == observing
    assert made["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql://"
    assert {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_AWS_DEFAULT", "AIRFLOW__METRICSX__OTEL_ON"}.isdisjoint(made)


def test_each_of_airflows_components_has_a_name_of_its_own_in_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    settings = load({"LEARNLOOP_HOME": str(tmp_path)})
    named = {one.name: one.environment.get("OTEL_SERVICE_NAME") for one in components(settings, PORTS)}
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        assert named[name] == f"airflow-{name}"
    assert named["gateway"] is None
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert not any("OTEL_SERVICE_NAME" in one.environment for one in components(settings, PORTS))
