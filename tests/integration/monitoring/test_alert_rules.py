"""Alert rules, dashboards and runbooks: sound by themselves, and of figures that our code tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from airflow_tables import airflow_tables
from dashboards import DASHBOARDS, GRAFANA, queries
from databases import new_database
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import CONFIGURATION, PROMTOOL, SECRET, WHY_NOT, alerts, rendered
from sqlalchemy.orm import Session

from learnloop.cli import app
from learnloop.database import engine
from learnloop.monitoring.collector import Collector, loop_parts
from learnloop.serving.metrics import Metrics
from learnloop.serving.models import ModelSet
from learnloop_airflow.airflow_figures import airflow_part
from learnloop_airflow.api.counting import Requests

ROOT = Path(__file__).parents[3]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
TESTS = CONFIGURATION / "tests"
RULES = alerts()
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason=WHY_NOT)


def promtool(*arguments: object) -> str:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_configuration_is_sound(tmp_path: Path) -> None:
    targets = {file.stem: ["127.0.0.1:1"] for file in (CONFIGURATION / "targets").glob("*.yml")}
    said = promtool("check", "config", rendered(tmp_path / "configuration", "token", targets, interval="15s"))
    assert said.count("rules found") == 3


@needs_promtool
@pytest.mark.parametrize("file", sorted(TESTS.glob("*.yml")), ids=lambda file: file.stem)
def test_each_alert_fires_when_it_should_and_not_before(file: Path) -> None:
    promtool("test", "rules", file)


def test_each_alert_has_a_unit_test() -> None:
    tested = {test["name"] for file in TESTS.glob("*.yml") for test in yaml.safe_load(file.read_text())["tests"]}
    assert set(RULES) <= tested


@pytest.mark.parametrize("alert", RULES)
def test_each_alert_says_what_it_is_how_bad_and_what_to_do(alert: str) -> None:
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert.lower()}"
    assert rule["annotations"]["description"].endswith(".")
    assert not rule["annotations"]["summary"].endswith(".")


def test_the_runbooks_are_of_the_alerts_and_each_says_what_to_do() -> None:
    parts = re.split(r"^## ", RUNBOOKS, flags=re.M)[1:]
    written = {part.splitlines()[0]: part for part in parts}
    assert set(written) == set(RULES)
    for alert, part in written.items():
        for what in ("**Means.**", "**Look.**", "**Do.**", "**Why.**"):
            assert what in part, f"{alert}: no {what}"


@pytest.fixture
def names(database_url: str, postgres: str) -> Iterator[set[str]]:
    """The names of all figures that our code tells: those of an empty platform are all there, too."""
    with new_database(postgres, "template1") as url:
        airflow = airflow_tables(url)
        parts = [*loop_parts(lambda: Session(engine(database_url))), airflow_part(lambda: Session(airflow))]
        loop = Collector(parts).text()
        airflow.dispose()
    requests = Requests()
    requests.count("GET", "/x", 200, 0.1)
    served = Metrics(ModelSet(lambda *_: Path(), lambda _: None)).text()
    found = set()
    for family in text_string_to_metric_families((loop + requests.text() + served).decode()):
        found |= {family.name, *(sample.name for sample in family.samples)}
        if family.type == "counter":
            found.add(f"{family.name}_total")
        if family.type == "histogram":
            found |= {f"{family.name}_bucket", f"{family.name}_count", f"{family.name}_sum"}
    return found


def used(expression: str) -> set[str]:
    """The names of metrics in a query."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b(?:learnloop|process)_\w+", bare))


def test_every_figure_that_an_alert_or_a_dashboard_asks_for_is_told(names: set[str]) -> None:
    asked = {rule["expr"] for rule in RULES.values()}
    asked |= {query for dashboard in DASHBOARDS.values() for _, query in queries(dashboard)}
    asked |= {
        variable["definition"] for dashboard in DASHBOARDS.values() for variable in dashboard["templating"]["list"]
    }
    unknown = {name for query in asked for name in used(query)} - names
    assert unknown == set()


def test_what_the_runbooks_tell_to_type_exists() -> None:
    root = typer.main.get_command(app)
    typed = re.findall(r"`learnloop ([a-z][a-z -]*)", RUNBOOKS)
    assert len(typed) > 10
    for command in typed:
        found: Any = root
        for word in command.split():
            if word.startswith("-") or not hasattr(found, "commands"):
                break
            assert word in found.commands, command
            found = found.commands[word]


def test_dashboards_are_sound() -> None:
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS) == 4
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    known = {source["uid"] for source in sources}
    for dashboard in DASHBOARDS.values():
        assert {"title", "description", "schemaVersion", "time", "refresh", "tags"} <= set(dashboard)
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            assert panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["targets"]
            for target in panel["targets"]:
                assert target["datasource"]["uid"] in known
                assert target["legendFormat"]
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, f"{panel['title']} lies over another"
            assert max(x for x, _ in cells) < 24
            taken |= cells


def test_the_secret_is_where_the_configuration_says() -> None:
    text = (CONFIGURATION / "prometheus.yml").read_text()
    assert text.count(SECRET) == 2
    assert "credentials:" not in text
