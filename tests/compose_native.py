"""docker-compose.yaml without an engine, in namespaces (`namespaces`).

Each service has its own command, environment, secrets, volumes, networks and health check. In the place of an image is this
machine, with the project and its packages at the image's places. What is not to be had here (`NOT_HERE`) is left out.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from namespaces import USER, Container, Publisher, Switchboard

from learnloop.stack import postgres
from learnloop.stack.compose_prepare import prepare
from learnloop.stack.places import ROOT

NOT_HERE = {"grafana", "loki", "alloy"}
NOT_YET_HERE = {"--web.enable-otlp-receiver"}
"""Flags of Prometheus 3; Debian has 2.42."""
BRIDGES = {"outside": "172.30.70.1/24", "front": "172.30.71.1/24", "back": "172.30.72.1/24"}
VENV = Path(sys.prefix)
# What the official image does at its first start.
POSTGRES_ENTRYPOINT = """
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
  pg_ctl --pgdata "$PGDATA" --wait --options "-c listen_addresses='' ${*:2}" start
  PGHOST=/var/run/postgresql PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") bash /docker-entrypoint-initdb.d/10-roles.sh
  pg_ctl --pgdata "$PGDATA" --wait stop
fi
exec "$@"
"""


class Native:
    """The stack, or the services that are named ``only``. ``profiles`` as for Compose."""

    def __init__(self, folder: Path, profiles: Iterable[str] = (), only: Iterable[str] = ()) -> None:
        self.folder = folder
        prepare(folder / "compose", folder / "data", "localhost", (USER, USER))
        settings = dict(line.split("=", 1) for line in (folder / "compose" / ".env").read_text().splitlines())
        compose = yaml.safe_load(interpolated((ROOT / "docker-compose.yaml").read_text(), settings))
        wanted = set(only) or set(compose["services"]) - NOT_HERE
        self.services: dict[str, dict[str, Any]] = {
            name: service
            for name, service in compose["services"].items()
            if name in wanted and set(service.get("profiles", ())) <= set(profiles) and _files_are_here(service)
        }
        self.secrets = {name: Path(secret["file"]) for name, secret in compose["secrets"].items()}
        self.volumes = {name: Path(volume["driver_opts"]["device"]) for name, volume in compose["volumes"].items()}
        self.certificate = self.secrets["tls_certificate.pem"]
        self.switchboard = Switchboard(BRIDGES)
        self.addresses = self._addresses()
        self.containers = {name: self._container(name) for name in self.services}
        self.seconds: dict[str, float] = {}
        self.publisher: Publisher | None = None

    @property
    def url(self) -> str:
        """Where nginx is reached from outside."""
        if self.publisher is None:
            self.publisher = Publisher(self.switchboard, self.addresses["nginx"]["outside"].partition("/")[0], 8443)
        return f"https://localhost:{self.publisher.port}"

    def start(self, seconds: float = 900) -> None:
        """Start all in the order that ``depends_on`` asks for, and wait until each is healthy."""
        began = time.monotonic()
        waiting = dict(self.services)
        again: dict[str, float] = {}
        while len(self.seconds) < len(self.services):
            for name in [name for name, service in waiting.items() if self._may_start(service)]:
                self.containers[name].start(self.switchboard)
                del waiting[name]
            for name in self.services:
                if name not in waiting and name not in self.seconds and time.monotonic() > again.get(name, 0):
                    if self.healthy(name):
                        self.seconds[name] = time.monotonic() - began
                    again[name] = time.monotonic() + self._interval(name)
            late = [name for name in self.services if name not in self.seconds]
            ended = [name for name in late if name not in waiting and not self.containers[name].running]
            ended = [name for name in ended if not self._completed(name)]
            assert not ended, "\n\n".join(f"{name} has ended:\n{self.tail(name)}" for name in ended)
            assert time.monotonic() - began < seconds, "\n\n".join(
                f"{name} is late:\n{self.tail(name)}" for name in late
            )
            time.sleep(0.5)

    def healthy(self, name: str) -> bool:
        """What the service's own health check says, asked inside it. One that runs to its end is healthy after that."""
        test = self.services[name]["healthcheck"].get("test")
        if test is None:
            return self._completed(name)
        if not self.containers[name].running:
            return False
        command = ["bash", "-c", test[1].replace("$$", "$")] if test[0] == "CMD-SHELL" else test[1:]
        answer = self.containers[name].run(command)
        (self.folder / "run" / name / "health").write_text(f"{answer.returncode}\n{answer.stdout}{answer.stderr}")
        return answer.returncode == 0

    def _interval(self, name: str) -> float:
        health = self.services[name]["healthcheck"]
        return min(5.0, float(str(health.get("start_interval", health.get("interval", "1s"))).removesuffix("s")))

    def tail(self, name: str, characters: int = 3000) -> str:
        health = self.folder / "run" / name / "health"
        log = self.containers[name].log
        asked = f"\n(health check: {health.read_text()[-500:]})" if health.exists() else ""
        return (log.read_text(errors="replace")[-characters:] if log.exists() else "(never started)") + asked

    def close(self) -> None:
        if self.publisher is not None:
            self.publisher.close()
        for container in reversed(self.containers.values()):
            container.kill()
        self.switchboard.close()

    def _may_start(self, service: dict[str, Any]) -> bool:
        for name, how in service.get("depends_on", {}).items():
            if name not in self.services:
                continue
            if how["condition"] == "service_started":
                met = self.containers[name].running
            else:
                met = self._completed(name) if how["condition"].endswith("successfully") else name in self.seconds
            if not met:
                return False
        return True

    def _completed(self, name: str) -> bool:
        process = self.containers[name].process
        return process is not None and self.services[name]["restart"] == "no" and process.poll() == 0

    def _addresses(self) -> dict[str, dict[str, str]]:
        """Each service's address in each of its networks: that which the Compose file fixes, else one of the others."""
        found: dict[str, dict[str, str]] = {}
        for number, (name, service) in enumerate(self.services.items()):
            networks = service["networks"]
            fixed = networks if isinstance(networks, dict) else {}
            found[name] = {}
            for network in networks:
                other = f"{BRIDGES[network].rpartition('.')[0]}.{100 + number}"
                found[name][network] = (fixed.get(network) or {}).get("ipv4_address", other) + "/24"
        return found

    def _container(self, name: str) -> Container:
        service = self.services[name]
        folder = self.folder / "run" / name
        folder.mkdir(parents=True, exist_ok=True)
        mounts: dict[str, tuple[Path, bool]] = {"/etc/hosts": (self._hosts(name, folder), False)}
        environment = {**self._image(name, folder, mounts), **service.get("environment", {})}
        for volume in service.get("volumes", ()):
            source, place, *options = volume.split(":")
            outside = self.volumes[source] if source in self.volumes else (ROOT / source)
            mounts[place] = (outside.resolve(), options != ["ro"])
        for secret in service.get("secrets", ()):
            mounts[f"/run/secrets/{secret}"] = (self.secrets[secret], False)
        command = [*service.get("entrypoint", ()), *service.get("command", ())]
        command = [word for word in command if word not in NOT_YET_HERE]
        if name == "postgres":
            command = ["bash", "-c", POSTGRES_ENTRYPOINT, "entrypoint", *command]
            (folder / "passwd").write_text(
                f"postgres:x:{USER}:{USER}::/:/bin/sh\n"
            )  # as the image's entry point sees to
            mounts["/etc/passwd"] = (folder / "passwd", False)
        return Container(
            name, [str(word) for word in command], environment, mounts,
            ["/run/secrets:mode=755", *closed_folders(Path(sys.base_prefix)), *service["tmpfs"]],
            folder, self.addresses[name], service["read_only"],
        )  # fmt: skip

    def _hosts(self, name: str, folder: Path) -> Path:
        """Who is called what, as far as the service shares a network with them."""
        lines = ["127.0.0.1 localhost"]
        for other, networks in self.addresses.items():
            shared = [networks[network] for network in networks if network in self.addresses[name]]
            if shared:
                lines.append(f"{shared[0].partition('/')[0]} {other}")
        for entry in self.services[name].get("extra_hosts", ()):
            host, _, address = entry.partition("=")
            lines.append(f"{address} {host}")
        (folder / "hosts").write_text("\n".join(lines) + "\n")
        return folder / "hosts"

    def _image(self, name: str, folder: Path, mounts: dict[str, tuple[Path, bool]]) -> Mapping[str, str]:
        """What an image would bring: our code and packages at its places, programs of others on its PATH."""
        path = ["/opt/programs", str(VENV / "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        if name.startswith("postgres"):
            path.insert(0, str(Path(postgres.library().__file__).parent / "pginstall" / "bin"))
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        if not (programs / "alertmanager").is_symlink():
            (programs / "alertmanager").symlink_to("/usr/bin/prometheus-alertmanager")
        mounts["/opt/programs"] = (programs, False)
        mounts[str(VENV)] = (VENV, False)
        # The environment that the tests run in finds our code in the checkout, by a file that the image has another for.
        (ours,) = Path(sysconfig.get_path("purelib")).glob("__editable__.learnloop-*.pth")
        mounts[str(ours)] = (ROOT / "deploy" / "images" / "airflow" / "learnloop.pth", False)
        mounts[sys.base_prefix] = (Path(sys.base_prefix), False)
        for part in ("include", "plugins", "dags", "annotation_app", "airflow.cfg", "deploy/airflow"):
            mounts[f"/opt/learnloop/{part}"] = (ROOT / part, False)
        return {
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": "/opt/learnloop",  # as the page's image has it; what Airflow's has besides is in its own file
            "LANG": "C.UTF-8",
            "HOME": "/tmp",
        }


def _files_are_here(service: dict[str, Any]) -> bool:
    """A file that is missing is compose-check's to name."""
    sources = [volume.partition(":")[0] for volume in service.get("volumes", ())]
    return all((ROOT / source).exists() for source in sources if source.startswith("./"))


def closed_folders(path: Path) -> list[str]:
    """The folder above ``path`` that others may not enter, if there is one, to be hidden by an empty one that they may."""
    closed = [f"{folder}:mode=755" for folder in path.parents if not folder.stat().st_mode & 0o001]
    return closed[-1:]


def interpolated(text: str, settings: Mapping[str, str]) -> str:
    """``${NAME}``, ``${NAME:-default}``, ``${NAME:+if set}`` and ``${NAME:?word}``, as Compose replaces them."""

    def value(match: re.Match[str]) -> str:
        name, _, rest = match.group(1).partition(":")
        if rest.startswith("+"):
            return rest[1:] if settings.get(name) else ""
        if settings.get(name):
            return settings[name]
        assert rest.startswith("-"), f"{name} is not set: {rest}"
        return rest[1:]

    return re.sub(r"(?<!\$)\$\{([^}]+)\}", value, text)
