"""What the values of docker-compose.yaml's keys may look like, as far as they are used here: a word for what is wrong.

After the Compose specification (https://github.com/compose-spec/compose-spec/blob/main/spec.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Check = Callable[[Any], bool]
_DURATION = re.compile(r"(\d+(us|ms|s|m|h))+")
_SIZE = re.compile(r"\d+(b|k|kb|m|mb|g|gb)")


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is(kind: type) -> Check:
    return lambda value: isinstance(value, kind)


TEXTS: tuple[Check, str] = (_texts, "a list of texts")
TEXT: tuple[Check, str] = (_is(str), "a text")
DURATION: tuple[Check, str] = (_like(_DURATION), "a duration such as 30s or 1m30s")
SIZE: tuple[Check, str] = (_like(_SIZE), "a size such as 512m or 2g")
YES_OR_NO: tuple[Check, str] = (_is(bool), "true or false")
MAPPING: tuple[Check, str] = (_is(dict), "a mapping")

SERVICE = {
    **dict.fromkeys(("command", "entrypoint", "cap_drop", "extra_hosts", "ports", "profiles", "secrets"), TEXTS),
    **dict.fromkeys(("security_opt", "tmpfs", "volumes"), TEXTS),
    **dict.fromkeys(("image", "user"), TEXT),
    **dict.fromkeys(("build", "depends_on", "deploy", "environment", "healthcheck", "logging"), MAPPING),
    **dict.fromkeys(("init", "read_only"), YES_OR_NO),
    "networks": (lambda value: _texts(value) or isinstance(value, dict), "a list of texts or a mapping"),
    "restart": (_like(re.compile(r"no|always|on-failure|unless-stopped")), "no, always, on-failure or unless-stopped"),
    "shm_size": SIZE,
    "stop_grace_period": DURATION,
    "stop_signal": (_like(re.compile(r"SIG[A-Z0-9]+")), "a signal such as SIGTERM"),
}
HEALTHCHECK = {
    **dict.fromkeys(("interval", "timeout", "start_period", "start_interval"), DURATION),
    "test": (
        lambda value: _texts(value) and value[0] in ("CMD", "CMD-SHELL"),
        "a list that begins with CMD or CMD-SHELL",
    ),
    "retries": (_is(int), "a whole number"),
    "disable": YES_OR_NO,
}
LIMITS = {
    "cpus": (_like(re.compile(r"\d+(\.\d+)?")), 'a number in quotes, such as "0.5"'),
    "memory": SIZE,
    "pids": (_is(int), "a whole number"),
}


def wrong(service: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a service's values, each with the key's place."""
    yield from _wrong("", service, SERVICE)
    health, deploy = service.get("healthcheck"), service.get("deploy")
    if isinstance(health, dict):
        yield from _wrong("healthcheck.", health, HEALTHCHECK)
    if isinstance(deploy, dict):
        yield from _wrong("deploy.resources.limits.", deploy.get("resources", {}).get("limits", {}), LIMITS)


def _wrong(place: str, values: dict[str, Any], known: dict[str, tuple[Check, str]]) -> Iterator[str]:
    for key, value in values.items():
        if key in known and not known[key][0](value):
            yield f"{place}{key} is {value!r}; it must be {known[key][1]}"
