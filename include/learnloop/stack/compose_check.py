"""`python -m learnloop.stack.compose_check`: is docker-compose.yaml sound, as far as can be said without an engine?

All that is wrong is told at once. `make compose-check` holds the file against Compose's own schema before; this is stricter:
the keys that are used here are listed below, and what their values look like in `compose_values`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from learnloop.stack import compose_nginx, compose_values
from learnloop.stack.compose_names import unknown
from learnloop.stack.places import ROOT

TOP = {"name", "services", "networks", "volumes", "secrets"}
SERVICE = {
    *(
        "build",
        "cap_drop",
        "command",
        "depends_on",
        "deploy",
        "entrypoint",
        "environment",
        "extra_hosts",
        "healthcheck",
    ),
    *("image", "init", "logging", "networks", "ports", "profiles", "read_only", "restart", "secrets", "security_opt"),
    *("shm_size", "stop_grace_period", "stop_signal", "tmpfs", "user", "volumes"),
}
HEALTHCHECK = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
NOTHING_TO_ASK_WITH = {"loki", "tempo"}
"""Images that have no program which could ask the server."""


def check(root: Path = ROOT) -> list[str]:
    """What is wrong with ``root/docker-compose.yaml``, each as a sentence that names the place."""
    text = (root / "docker-compose.yaml").read_text()
    compose = yaml.safe_load(text)
    problems = [
        f"{key}: not a top-level key that is used here" for key in compose if key not in TOP and key[:2] != "x-"
    ]
    where: dict[str, list[str]] = {}  # services made from one template have the same problem
    for name, service in compose["services"].items():
        for found in (_keys, _references, _safety, _running, _environment):
            for problem in found(service, compose, root):
                where.setdefault(problem, []).append(name)
    problems += [f"{', '.join(names)}: {problem}" for problem, names in where.items()]
    return [
        *problems,
        *_addresses(compose),
        *_unused(compose),
        *_variables(text),
        *compose_nginx.problems(compose, root),
    ]


def _keys(service: dict[str, Any], compose: dict[str, Any], root: Path) -> Iterator[str]:
    yield from (f"{key} is not a key that is used here" for key in service if key not in SERVICE)
    yield from (f"healthcheck.{key} is no key" for key in service.get("healthcheck", {}) if key not in HEALTHCHECK)
    yield from compose_values.wrong(service)


def _references(service: dict[str, Any], compose: dict[str, Any], root: Path) -> Iterator[str]:
    for kind in ("networks", "secrets"):
        yield from (f"{kind}: {name} is not declared" for name in service.get(kind, ()) if name not in compose[kind])
    for volume in service.get("volumes", ()):
        source, _, options = volume.partition(":")
        if not source.startswith("./"):
            if source not in compose["volumes"]:
                yield f"volumes: {source} is not declared"
        elif not (root / source).exists():
            yield f"volumes: {source} does not exist"
        elif not options.endswith(":ro"):
            yield f"volumes: {source} is of the checkout; mount it read-only (:ro)"
    dockerfile = service.get("build", {}).get("dockerfile")
    if dockerfile and not (root / dockerfile).exists():
        yield f"build: {dockerfile} does not exist"
    for name, how in service.get("depends_on", {}).items():
        other = compose["services"].get(name)
        if other is None:
            yield f"depends_on: there is no service {name}"
        elif how["condition"] not in CONDITIONS:
            yield f"depends_on: {how['condition']} is no condition"
        elif how["condition"] == "service_healthy" and not _asked(other):
            yield f"depends_on: {name} has no health check, so it never is healthy"
        elif not set(other.get("profiles", ())) <= set(service.get("profiles", ())):
            yield f"depends_on: {name} is in a profile that this service is not in"
    given = set(service.get("secrets", ()))
    asked_for = _secrets(str(service))
    yield from (f"reads /run/secrets/{name}, and is not given it" for name in sorted(asked_for - given))
    for path in _mounted(service, root):
        lacking = _secrets(path.read_text()) - given - asked_for
        yield from (
            f"{path.relative_to(root)} names /run/secrets/{name}, and the service is not given it"
            for name in sorted(lacking)
        )


def _secrets(text: str) -> set[str]:
    """In comments too: they say how something is switched on."""
    return set(re.findall(r"/run/secrets/([\w.-]*\w)", text))


def _mounted(service: dict[str, Any], root: Path) -> Iterator[Path]:
    """The files of the checkout that a service reads."""
    for volume in service.get("volumes", ()):
        source = root / volume.partition(":")[0]
        if volume.startswith("./"):
            yield from (path for path in (source, *sorted(source.rglob("*"))) if path.is_file())


def _safety(service: dict[str, Any], compose: dict[str, Any], root: Path) -> Iterator[str]:
    # The variable is this user's id, and never root's: compose_prepare sees to it.
    if not re.fullmatch(r"(\$\{STACK_UID[^}]*\}|[1-9]\d*):.+", str(service.get("user", ""))):
        yield "user: it must not run as root: name the user's id and group"
    if service.get("cap_drop") != ["ALL"]:
        yield "cap_drop: must be [ALL]"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "security_opt: must have no-new-privileges:true"
    if service.get("read_only") is not True:
        yield "read_only: must be true"
    if "docker.sock" in str(service):
        yield "the engine's socket gives whoever has it the whole host"
    image = str(service.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and (not re.search(r"\d+\.\d+", tag)):
        yield f"image: {image or 'none'} is not pinned: give a digest or an exact version, and never latest"


def _running(service: dict[str, Any], compose: dict[str, Any], root: Path) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    yield from (
        f"deploy.resources.limits: {kind} is missing" for kind in ("cpus", "memory", "pids") if kind not in limits
    )
    if "restart" not in service:
        yield "restart: say what is to happen when it ends"
    elif service["restart"] != "no" and not _asked(service) and not NOTHING_TO_ASK_WITH & set(_names(service, compose)):
        yield "healthcheck: it runs on, and nobody asks whether it is well"


def _environment(service: dict[str, Any], compose: dict[str, Any], root: Path) -> Iterator[str]:
    environment = service.get("environment", {})
    yield from (f"environment: {wrong}" for name in environment if (wrong := unknown(name)))
    for name, value in environment.items():
        if not isinstance(value, str):
            yield f"environment: {name} is {value!r}; put it in quotes, so that it is text"
        elif re.search(r"(PASSWORD|SECRET|TOKEN|_KEY)$", name):
            yield f"environment: {name} is a secret: give it by a file"


def _addresses(compose: dict[str, Any]) -> Iterator[str]:
    fixed = {}
    published = []
    for name, service in compose["services"].items():
        if isinstance(networks := service.get("networks"), dict):
            for network in networks.values():
                if "ipv4_address" in network:
                    fixed[name] = network["ipv4_address"]
        for port in service.get("ports", ()):
            published.append(port.rpartition(":")[0])
            if name != "nginx":
                yield f"{name}: ports: only nginx is reached from outside"
            if not re.match(r"(\$\{[A-Z_]+:-127\.0\.0\.1\}|127\.0\.0\.1):", port):
                yield f"{name}: ports: {port} must be bound to 127.0.0.1 unless somebody says otherwise"
    yield from (f"ports: {port} is published twice" for port, times in Counter(published).items() if times > 1)
    yield from (f"the address {at} is given twice" for at, times in Counter(fixed.values()).items() if times > 1)
    for name, service in compose["services"].items():
        for entry in service.get("extra_hosts", ()):
            host, _, address = entry.partition("=")
            if fixed.get(host) != address:
                yield f"{name}: extra_hosts: {host} is at {fixed.get(host, 'no fixed address')}, not at {address}"


def _unused(compose: dict[str, Any]) -> Iterator[str]:
    for kind in ("networks", "secrets"):
        used = {name for service in compose["services"].values() for name in service.get(kind, ())}
        yield from (f"{kind}: nothing uses {name}" for name in compose[kind] if name not in used)
    used = {
        volume.partition(":")[0] for service in compose["services"].values() for volume in service.get("volumes", ())
    }
    yield from (f"volumes: nothing uses {name}" for name in compose["volumes"] if name not in used)


def _variables(text: str) -> Iterator[str]:
    """What is put in must have a default, or say at its first use what is to be done; `compose_prepare` makes it."""
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    prepare = Path(__file__).with_name("compose_prepare.py").read_text()
    for name in sorted(set(re.findall(r"(?<!\$)\$\{(\w+)", text))):
        if f'"{name}"' not in prepare:
            yield f"${{{name}}} is set by nobody (compose_prepare.py)"
        if not re.search(rf"\$\{{{name}:[-?]", text):
            yield f"${{{name}}} has neither a default nor a word on what to do where it is missing"
    for name in re.findall(r"\$\{STACK_SECRETS[^}]*\}/([\w.-]+)", text):
        if name not in prepare and not (name.endswith("_database_url") and "_database_url" in prepare):
            yield f"secrets: {name} is made by nobody (compose_prepare.py)"


def _asked(service: dict[str, Any]) -> bool:
    return "test" in service.get("healthcheck", {})


def _names(service: dict[str, Any], compose: dict[str, Any]) -> list[str]:
    return [name for name, other in compose["services"].items() if other is service]


def main() -> int:
    problems = check()
    for problem in problems:
        print(f"compose-check: {problem}")
    if not problems:
        print(
            "compose-check: docker-compose.yaml is sound"
            + ("" if compose_nginx.program() else " (nginx was not asked)")
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
