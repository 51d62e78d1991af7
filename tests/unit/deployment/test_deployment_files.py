"""What deploy/ has for Kubernetes agrees with the rest: settings, names across files, airflow.cfg, images.

The chart's own schema is not here (it is half a megabyte of another project's); ``CHART`` has its names of what we use, read
from the chart's own files.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from learnloop.serving.cluster.template import load_template
from learnloop.settings import Settings
from learnloop_airflow.pods.template import load_template as load_pod_template

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
VALUES = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
OBJECTS = [
    found
    for folder in ("kustomize/base", "kustomize/production", "kustomize/monitoring", "kubernetes")
    for path in sorted((DEPLOY / folder).glob("*.yaml"))
    for found in yaml.safe_load_all(path.read_text())
    if found and "kind" in found
]
ACCOUNT = {"serviceAccount": {"create": {}, "name": {}}}
BUDGET = {"podDisruptionBudget": {"enabled": {}, "config": {"maxUnavailable": {}}}}
RUNS = {"replicas": {}, "resources": None, "terminationGracePeriodSeconds": {}, **ACCOUNT}
# As the chart's values.yaml has them for Airflow 3.0.5 and 3.1.3; `createUserJob.enabled` came later (apache/airflow#56057).
# {}: a value; None: whatever Airflow or Kubernetes takes there.
CHART: dict[str, Any] = {
    **{key: {} for key in ("defaultAirflowRepository", "defaultAirflowTag", "airflowVersion", "executor")},
    **{key: {} for key in ("allowPodLaunching", "uid", "gid")},
    **{key: {} for key in ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName", "extraEnvFrom")},
    **dict.fromkeys(("config", "env", "secret", "volumes", "volumeMounts")),
    "securityContexts": {"pod": None, "containers": None},
    "data": {"metadataSecretName": {}, "resultBackendSecretName": {}, "brokerUrlSecretName": {}},
    **{name: {"enabled": {}} for name in ("postgresql", "redis", "createUserJob", "statsd", "flower")},
    **{key: {**RUNS, **BUDGET} for key in ("apiServer", "scheduler")},
    **{key: {**RUNS, "persistence": {"enabled": {}}} for key in ("workers", "triggerer")},
    "dagProcessor": {**RUNS, "enabled": {}},
    "migrateDatabaseJob": {"enabled": {}, "args": None, **ACCOUNT},
}


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind and "name" in one["metadata"]}


def walk(found: Any) -> list[dict[str, Any]]:
    if isinstance(found, dict):
        return [found, *(inner for value in found.values() for inner in walk(value))]
    return [inner for value in found for inner in walk(value)] if isinstance(found, list) else []


def unknown(values: dict[str, Any], names: dict[str, Any], place: str = "") -> list[str]:
    """The places of values that have no such name."""
    found = []
    for name, value in values.items():
        if name not in names:
            found.append(f"{place}{name}")
        elif names[name] is not None and isinstance(value, dict):
            found += unknown(value, names[name], f"{place}{name}.")
    return found


def test_values_use_the_charts_names() -> None:
    assert unknown(VALUES, CHART) == []
    assert unknown({"workers": {"persistence": {"enable": False}}}, CHART) == ["workers.persistence.enable"]


def test_nobody_gets_in_with_the_password_that_the_chart_makes() -> None:
    """It makes a user `admin` whose password is `admin`, unless it is told not to in words that it knows."""
    assert VALUES["createUserJob"] == {"enabled": False}
    assert re.search(r'--version ">=1\.19\.0 <2"', (DEPLOY / "helm" / "values.yaml").read_text())


def test_values_say_what_airflow_cfg_says() -> None:
    """But for what one machine needs otherwise."""
    ours = configparser.ConfigParser(interpolation=None)
    ours.read(ROOT / "airflow.cfg")
    of_one_machine = {
        ("core", "executor"),
        ("core", "parallelism"),
        ("core", "max_active_tasks_per_dag"),
        ("scheduler", "task_instance_heartbeat_timeout"),
        ("scheduler", "task_instance_heartbeat_timeout_detection_interval"),
        ("scheduler", "enable_health_check"),
        ("dag_processor", "parsing_processes"),
        ("triggerer", "capacity"),
        ("logging", "logging_level"),
        ("logging", "colored_console_log"),
        ("database", "load_default_connections"),
    }
    for section in ours.sections():
        for name, value in ours[section].items():
            if (section, name) in of_one_machine:
                continue
            said = VALUES["config"].get(section, {}).get(name)
            if name == "dag_bundle_config_list":
                assert json.loads(said) == json.loads(value)
            else:
                assert said == value, f"[{section}] {name}"


def test_every_setting_is_one_of_ours() -> None:
    known = {f"LEARNLOOP_{name.upper()}" for name in Settings.__dataclass_fields__}
    settings = set(named("ConfigMap")["learnloop-settings"]["data"])
    variables = {one["name"] for found in OBJECTS for one in walk(found) if {"name", "value"} <= set(one)}
    variables |= {one["name"] for found in OBJECTS for one in walk(found) if "valueFrom" in one}
    variables |= {one["envName"] for one in VALUES["secret"]} | {one["name"] for one in VALUES["env"]}
    used = {name for name in settings | variables if name.startswith("LEARNLOOP_")}
    assert used >= {"LEARNLOOP_DATABASE_URL", "LEARNLOOP_SERVING_TEMPLATE"}
    assert used <= known


def test_what_is_named_is_there() -> None:
    claims = {one["claimName"] for found in [*OBJECTS, VALUES] for one in walk(found) if "claimName" in one}
    assert claims == set(named("PersistentVolumeClaim"))
    accounts = {one["serviceAccountName"] for found in OBJECTS for one in walk(found) if "serviceAccountName" in one}
    accounts |= {one["serviceAccount"]["name"] for one in walk(VALUES) if "serviceAccount" in one}
    accounts |= {one["name"] for found in OBJECTS for one in found.get("subjects", [])}
    assert accounts == set(named("ServiceAccount"))
    secrets = {one["secretKeyRef"]["name"] for found in OBJECTS for one in walk(found) if "secretKeyRef" in one}
    secrets |= {one["secretName"] for one in VALUES["secret"]} | set(VALUES["data"].values())
    projected = [one for one in walk(VALUES["volumes"]) if "items" in one]
    secrets |= {one["name"] for one in projected}
    paths = {item["path"] for one in projected for item in one["items"]}
    secrets |= {VALUES[name] for name in ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName")}
    header = (DEPLOY / "helm" / "values.yaml").read_text().partition("defaultAirflowRepository")[0]
    assert all(f"#   {name} " in header for name in secrets), secrets
    settings = named("ConfigMap")["learnloop-settings"]["data"]
    mounts = {one["mountPath"] for one in VALUES["volumeMounts"]}
    assert {settings[f"LEARNLOOP_{name}"] for name in ("STORE", "NAMESPACES", "MODELS")} <= mounts
    given = {settings["LEARNLOOP_BACKUP_KEY_FILE"], *settings["LEARNLOOP_BACKUP_SECRETS"].split(":")}
    assert given == {f"/etc/learnloop-backup/{path}" for path in paths}
    assert "/etc/learnloop-backup" in mounts
    services = {*named("Service"), "airflow-api-server"}  # of the chart, for a release called airflow
    urls = re.findall(r"http://([a-z-]+):", json.dumps([settings, VALUES["config"]]))
    backends = {one["service"]["name"] for found in OBJECTS for one in walk(found) if "service" in one}
    assert {*urls, *backends} <= services
    templates = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["configMapGenerator"][0]
    for name in ("POD_TEMPLATE", "STORAGE_CLASSES", "SERVING_TEMPLATE"):
        assert settings[f"LEARNLOOP_{name}"] in [f"/etc/learnloop/{file}" for file in templates["files"]]


def test_the_templates_we_ship_can_be_used() -> None:
    assert load_template(str(DEPLOY / "kubernetes" / "serving-template.yaml")).max_replicas == 6
    assert load_pod_template(str(DEPLOY / "kubernetes" / "pod-template.yaml"))["kind"] == "Pod"


def test_our_pods_are_locked_down() -> None:
    deployments = named("Deployment")
    assert {"learnloop-annotation", "learnloop-model-server"} <= set(deployments)
    for name in ("learnloop-annotation", "learnloop-model-server"):
        pod = deployments[name]["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"] is True
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", ["training", "serving", "annotation", "airflow"])
def test_an_image_is_pinned_and_not_roots(name: str) -> None:
    text = (DEPLOY / "images" / name / "Dockerfile").read_text()
    users = re.findall(r"^USER (\d+)", text, re.MULTILINE)
    assert users
    assert users[-1] != "0"
    assert "--require-hashes" in text
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base)  # of patch and Debian
    assert {came.split()[0] for came in re.findall(r"^FROM (.+)$", text, re.MULTILINE)} == {"${BASE}"}
    versions = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    locked = (DEPLOY / "images" / name / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", locked, re.MULTILINE))
    assert {one: version for one, version in pinned.items() if versions.get(one, version) != version} == {}


def test_a_job_finds_our_code_in_airflows_image_without_a_variable_of_its_workers() -> None:
    """A job inherits none, so PYTHONPATH would not do."""
    folder = DEPLOY / "images" / "airflow"
    text = (folder / "Dockerfile").read_text()
    copied = dict(re.findall(r"^COPY (\S+) (\S+)$", text, re.MULTILINE))
    place = copied["deploy/images/airflow/learnloop.pth"]
    assert re.fullmatch(r"/opt/venv/lib/python3\.\d+/site-packages/learnloop\.pth", place)
    base = re.search(r"^ARG BASE=python:(\d+\.\d+)", text, re.MULTILINE)
    assert base
    assert f"/python{base[1]}/" in place
    found = (folder / "learnloop.pth").read_text().splitlines()
    assert {copied["include"], copied["plugins"]} == set(found)
    assert "PYTHONPATH" not in text.partition("FROM ${BASE}\n")[2]


def test_the_image_of_an_example_is_made_of_the_training_image_that_compose_and_pods_name() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (DEPLOY / "images" / "torch" / "Dockerfile").read_text(), re.MULTILINE)
    assert f"-t {base} " in (DEPLOY / "images" / "training" / "Dockerfile").read_text()


def test_the_annotation_image_has_what_the_page_imports() -> None:
    """Of ours it copies a few files; what the page imports of ours is among them."""
    text = (DEPLOY / "images" / "annotation" / "Dockerfile").read_text()
    for path in (ROOT / "annotation_app").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("learnloop."):
                module = node.module.split(".")[1]
                assert f"include/learnloop/{module}.py" in text or module.startswith("client"), (path, node.module)


def test_each_of_airflows_services_of_compose_has_a_name_of_its_own_in_traces() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    named = {
        name: one["environment"].get("OTEL_SERVICE_NAME")
        for name, one in services.items()
        if one.get("command", [""])[0] == "airflow"
    }
    assert {name.rstrip("-12") for name in named} == {
        f"airflow-{part}" for part in ("api", "scheduler", "dag-processor", "triggerer", "worker")
    }
    assert named == {name: name.rstrip("-12").replace("airflow-api", "airflow-api-server") for name in named}
