"""deploy/kustomize/monitoring and the overlay that is shown, as kubectl renders them, agree with what Compose and nginx
say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_server import PROMTOOL, WHY_NOT

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBECTL = shutil.which("kubectl")
TOKEN = "/etc/learnloop-monitoring/metrics-token"

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl, which renders them, is not installed")


def rendered(folder: str) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and name. No cluster is asked."""
    done = subprocess.run([str(KUBECTL), "kustomize", str(DEPLOY / folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module")
def monitoring() -> dict[tuple[str, str], dict[str, Any]]:
    return rendered("kustomize/monitoring")


@pytest.fixture(scope="module")
def production() -> dict[tuple[str, str], dict[str, Any]]:
    return rendered("kustomize/production")


def test_rules_and_dashboards_are_those_of_compose(monitoring: dict[tuple[str, str], dict[str, Any]]) -> None:
    for name, folder in (("learnloop-alert-rules", "prometheus/rules"), ("learnloop-dashboards", "grafana/dashboards")):
        files = {path.name: path.read_text() for path in (DEPLOY / folder).iterdir()}
        assert monitoring["ConfigMap", name]["data"] == files
    assert monitoring["ConfigMap", "learnloop-dashboards"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {one["metadata"]["namespace"] for one in monitoring.values()} == {"learnloop"}


def test_the_same_jobs_are_scraped_at_the_same_paths(monitoring: dict[tuple[str, str], dict[str, Any]]) -> None:
    def jobs(text: str) -> dict[str, tuple[str, bool]]:
        return {
            job["job_name"]: (job.get("metrics_path", "/metrics"), "authorization" in job)
            for job in yaml.safe_load(text)["scrape_configs"]
        }

    here = jobs(monitoring["ConfigMap", "learnloop-scrape"]["data"]["scrape.yml"])
    compose = jobs((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    del compose["monitoring"]  # Prometheus and Alertmanager themselves are the company's
    assert here.pop("airflow") == ("/metrics", False)  # in Compose Airflow sends its own figures to Prometheus
    assert here == compose


def test_airflows_own_figures_are_scraped_where_the_chart_has_them(
    monitoring: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """The chart's Service of the StatsD exporter, by its name and its default port."""
    values = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
    assert values["statsd"]["enabled"]
    assert "statsdScrape" not in values.get("ports", {})
    jobs = yaml.safe_load(monitoring["ConfigMap", "learnloop-scrape"]["data"]["scrape.yml"])["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs if "static_configs" in job}
    assert targets["airflow"] == ["airflow-statsd.learnloop.svc:9102"]
    assert targets["learnloop-loop"] == ["airflow-api-server.learnloop.svc:8080"]  # of the same release


@pytest.mark.skipif(PROMTOOL is None, reason=WHY_NOT)
def test_prometheus_takes_what_is_to_be_scraped(
    monitoring: dict[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    text = monitoring["ConfigMap", "learnloop-scrape"]["data"]["scrape.yml"]
    assert text.count(TOKEN) == 2
    (tmp_path / "token").write_text("token")
    found = yaml.safe_load(text.replace(TOKEN, str(tmp_path / "token")))
    for job in found["scrape_configs"]:  # Debian's Prometheus is built without this way of finding targets
        for discovery in job.pop("kubernetes_sd_configs", []):
            assert discovery == {"role": "pod", "namespaces": {"names": ["learnloop"]}}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(found))
    command = [str(PROMTOOL), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_who_scrapes_is_let_in_to_who_serves_models(
    monitoring: dict[tuple[str, str], dict[str, Any]], production: dict[tuple[str, str], dict[str, Any]]
) -> None:
    policy = monitoring["NetworkPolicy", "learnloop-scraped"]["spec"]
    (chosen,) = policy["podSelector"]["matchExpressions"]
    policies = [one["spec"] for (kind, _), one in production.items() if kind == "NetworkPolicy"]
    closed = {
        spec["podSelector"]["matchLabels"][chosen["key"]]
        for spec in policies
        if any({"port": 8090} in rule["ports"] for rule in spec.get("ingress", ()))
    }
    assert set(chosen["values"]) == closed == {"scoring", "model-server"}
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"learnloop/scrapes": "true"}}}]


def test_the_token_is_a_secret_that_airflow_has_too() -> None:
    values = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
    (token,) = [one for one in values["secret"] if one["envName"] == "LEARNLOOP_METRICS_TOKEN"]
    assert token["secretKey"] == TOKEN.rpartition("/")[2]


def test_the_ingress_lets_in_what_nginx_lets_in(production: dict[tuple[str, str], dict[str, Any]]) -> None:
    nginx = "".join((DEPLOY / "nginx" / name).read_text() for name in ("nginx.conf", "public.conf"))
    main, logins = production["Ingress", "learnloop"], production["Ingress", "learnloop-logins"]
    said = {
        key.rpartition("/")[2]: value for one in (logins, main) for key, value in one["metadata"]["annotations"].items()
    }
    assert f"client_max_body_size {said['proxy-body-size']};" in nginx
    rates = dict(re.findall(r"zone=(\w+):\S+ rate=(\d+r/[sm])", nginx))
    assert rates == {"all": f"{said['limit-rps']}r/s", "login": f"{said['limit-rpm']}r/m"}
    paths = {
        path["path"]: path["backend"]["service"]["name"]
        for one in (main, logins)
        for path in one["spec"]["rules"][0]["http"]["paths"]
    }
    assert paths == {
        "/": "airflow-api-server",
        "/annotate": "learnloop-annotation",
        "/execution": "learnloop-nobody",
        "/auth/token": "airflow-api-server",
        "/auth/login": "airflow-api-server",
    }
    assert "selector" not in production["Service", "learnloop-nobody"]["spec"]
    assert main["spec"]["rules"][0]["host"] == logins["spec"]["rules"][0]["host"]
