"""A real Prometheus with our configuration: the file as it is, but for where targets, secrets and times are."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "prometheus"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
WHY_NOT = "prometheus and promtool are not installed (apt-get install prometheus)"
SECRET = "/run/secrets/metrics_token"


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert's rule, by name."""
    files = sorted((CONFIGURATION / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def rendered(folder: Path, token: str, targets: Mapping[str, list[str]], interval: str = "3s") -> Path:
    """A copy of the configuration in ``folder``, with other ``targets`` (by the name of their file)."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(CONFIGURATION / "rules", folder / "rules")
    (folder / "targets").mkdir()
    for file in (CONFIGURATION / "targets").glob("*.yml"):
        there = [{"targets": targets.get(file.stem, [])}]
        (folder / "targets" / file.name).write_text(yaml.safe_dump(there))
    (folder / "token").write_text(token)
    text = (CONFIGURATION / "prometheus.yml").read_text()
    assert SECRET in text
    text = text.replace(SECRET, str(folder / "token"))
    for every, setting in ((interval, "scrape_interval"), (interval, "scrape_timeout"), ("1s", "evaluation_interval")):
        was = yaml.safe_load(text)["global"][setting]
        text = text.replace(f"{setting}: {was}", f"{setting}: {every}")
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


@dataclass(frozen=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's result; what is wrong with it is an error."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return list(answer.json()["data"]["result"])


@contextmanager
def prometheus(configuration: Path) -> Iterator[Prometheus]:
    """Started on a free port of loopback with an empty database; killed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    assert PROMETHEUS is not None
    with (configuration.parent / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(PROMETHEUS, f"--config.file={configuration}", f"--web.listen-address=127.0.0.1:{port}"),
                *(f"--storage.tsdb.path={configuration.parent / 'data'}", "--query.lookback-delta=1m"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while not _ready(url):
            said = (configuration.parent / "prometheus.log").read_text()[-2000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield Prometheus(url)
    finally:
        process.kill()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False  # not yet
