"""What runs on one machine: each component's command, environment and health."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from learnloop.jobs import forkserver
from learnloop.settings import Settings, environment_of
from learnloop.stack.places import ROOT, Places
from learnloop.traces.export import wanted as traces_wanted

BIN = Path(sys.executable).parent
SERVICE_NAME = "OTEL_SERVICE_NAME"
"""As whom a component sends spans and metrics. Without it, Airflow's are all one unknown service's."""
LET_THROUGH = ("AIRFLOW__OPENLINEAGE__", "AIRFLOW__METRICS__", "AIRFLOW__TRACES__")
"""Variables of Airflow's that the caller may set for this stack (docs/observability.md). Others are another Airflow's."""


@dataclass(frozen=True)
class Component:
    """A process that should be running. ``health`` asks it over HTTP; None means: alive is healthy."""

    name: str
    command: list[str]
    health: Callable[[], bool] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    bare: bool = False
    """Give it no setting and no secret: for what must not have any to pass on."""


def components(settings: Settings, ports: dict[str, int]) -> list[Component]:
    """All components, in the order in which they start; they stop in reverse."""
    airflow = str(BIN / "airflow")
    api = f"http://127.0.0.1:{ports['api']}"

    def airflow_part(name: str) -> Callable[[], bool]:
        return lambda: _monitor(api, name) == "healthy"

    def named(name: str) -> dict[str, str]:
        return {} if SERVICE_NAME in os.environ else {SERVICE_NAME: f"airflow-{name}"}

    return [
        Component(
            "api-server",
            [
                *(airflow, "api-server", "--host", "127.0.0.1", "--port", str(ports["api"]), "--workers", "1"),
                "--proxy-headers",  # the gateway says from where a request came
            ],
            lambda: _ok(f"{api}/api/v2/version"),
            named("api-server"),
        ),
        Component(
            "scheduler", [airflow, "scheduler", "--skip-serve-logs"], airflow_part("scheduler"), named("scheduler")
        ),
        Component("dag-processor", [airflow, "dag-processor"], airflow_part("dag_processor"), named("dag-processor")),
        Component(
            "triggerer", [airflow, "triggerer", "--skip-serve-logs"], airflow_part("triggerer"), named("triggerer")
        ),
        Component(
            "fork-server",
            [sys.executable, "-m", "learnloop.jobs.forkserver", settings.fork_server],
            lambda: forkserver.answers(settings.fork_server),
            bare=True,
        ),
        Component(
            "model-server",
            [sys.executable, "-m", "learnloop.serving", "--host", "127.0.0.1", "--port", str(ports["serving"])],
            lambda: _ok(f"{settings.serving_url}/v2/health/live"),
        ),
        Component(
            "annotation-page",
            [
                *(sys.executable, "-m", "streamlit", "run", str(ROOT / "annotation_app" / "app.py")),
                *("--server.address", "127.0.0.1", "--server.port", str(ports["page"])),
                *("--server.baseUrlPath", "annotate", "--server.headless", "true"),
                *("--browser.gatherUsageStats", "false", "--server.fileWatcherType", "none"),
            ],
            lambda: _ok(f"http://127.0.0.1:{ports['page']}/annotate/_stcore/health"),
        ),
        Component(
            "gateway",
            [str(BIN / "caddy"), "run", "--config", str(ROOT / "deploy" / "gateway" / "Caddyfile")],
            lambda: _ok(f"{settings.api_url}/annotate/_stcore/health"),
            {
                "GATEWAY_PORT": str(ports["gateway"]),
                "API_PORT": str(ports["api"]),
                "PAGE_PORT": str(ports["page"]),
                "XDG_DATA_HOME": str(settings.home / "gateway"),
                "XDG_CONFIG_HOME": str(settings.home / "gateway"),
            },
        ),
    ]


def environment(settings: Settings, places: Places, ports: dict[str, int], airflow_url: str) -> dict[str, str]:
    """The environment that all components share: the caller's, ours, and Airflow's variables for this machine.

    What does not depend on the machine is in ``airflow.cfg``.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(LET_THROUGH) or not name.startswith(("AIRFLOW", "LEARNLOOP_"))
    }
    return {
        **kept,
        **environment_of(settings),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "AIRFLOW_HOME": str(places.airflow),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": places.fernet_key(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{ports['api']}/execution/",
        "AIRFLOW__API__BASE_URL": settings.api_url,
        "AIRFLOW__API__SECRET_KEY": places.secret("api_secret_key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": places.secret("jwt_secret"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_url,
        "AIRFLOW__FAB__CONFIG_FILE": str(ROOT / "deploy" / "airflow" / "webserver_config.py"),
        "AIRFLOW__LOGGING__JSON_LOGS": str(settings.log_format == "json"),
        "AIRFLOW__TRACES__OTEL_ON": str(traces_wanted()),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(places.airflow / "logs"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(places.airflow / "bundles"),
    }


def _ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 400
    except httpx.HTTPError:
        return False  # not up (yet): the supervisor asks again


def _monitor(api: str, part: str) -> str | None:
    try:
        answer = httpx.get(f"{api}/api/v2/monitor/health", timeout=2)
        return str(answer.json()[part]["status"]) if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError, KeyError):
        return None
