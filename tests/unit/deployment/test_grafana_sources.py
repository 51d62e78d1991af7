"""Grafana has a source for each server of docker-compose.yaml that it can ask, at the address where that is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "deploy" / "grafana"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
SOURCES: dict[str, dict[str, Any]] = {
    source["uid"]: source
    for file in sorted((GRAFANA / "provisioning" / "datasources").glob("*.yml"))
    for source in yaml.safe_load(file.read_text())["datasources"]
}
ASKED = {"prometheus": 9090, "alertmanager": 9093, "loki": 3100, "tempo": 3200}
"""What Grafana asks, and the port that its own configuration or command says."""


def test_each_server_has_a_source_at_its_address() -> None:
    assert {uid: urlsplit(source["url"]).netloc for uid, source in SOURCES.items()} == {
        name: f"{name}:{port}" for name, port in ASKED.items()
    }
    for name, port in ASKED.items():
        of_it = [*SERVICES[name].get("entrypoint", ()), *SERVICES[name].get("command", ())]
        configured = ROOT / "deploy" / name / f"{name}.yml"
        said = " ".join(of_it) + (configured.read_text() if configured.exists() else "")
        assert f"0.0.0.0:{port}" in said or f"http_listen_port: {port}" in said, name
        assert set(SERVICES[name]["networks"]) & set(SERVICES["grafana"]["networks"]), f"grafana does not reach {name}"


def test_each_profile_that_keeps_something_has_a_source() -> None:
    """An agent that only ships (alloy) and a second database (the replica) are asked by nobody."""
    of_profiles = {name for name, service in SERVICES.items() if service.get("profiles")}
    assert of_profiles - {"alloy", "postgres-replica"} <= set(SOURCES)


def test_sources_and_dashboards_name_sources_that_are_there() -> None:
    files = [*(GRAFANA / "provisioning").rglob("*.yml"), *(GRAFANA / "dashboards").glob("*.json")]
    for file in files:
        text = file.read_text()
        named = set(re.findall(r"datasourceUid: (\w+)", text)) | set(
            re.findall(r'"uid": "(prometheus|loki|tempo)"', text)
        )
        assert named <= set(SOURCES), file
    assert "datasourceUid: tempo" in (GRAFANA / "provisioning" / "datasources" / "loki.yml").read_text()


def test_a_trace_is_found_in_a_line_of_a_log() -> None:
    """As our own formatter and Airflow's write it."""
    (field,) = SOURCES["loki"]["jsonData"]["derivedFields"]
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for line in (f'{{"event": "x", "trace_id": "{trace}"}}', f'{{"event":"x","trace_id":"{trace}"}}'):
        found = re.search(field["matcherRegex"], line)
        assert found is not None
        assert found[1] == trace
