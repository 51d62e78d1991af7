"""Which names of environment variables mean something: our settings', and those of the installed Airflow."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

from learnloop.settings import Settings

PROVIDERS = {"celery": "apache-airflow-providers-celery", "fab": "apache-airflow-providers-fab"}
AWS = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"}
"""What boto3 reads."""


def unknown(name: str) -> str | None:
    """What is wrong with an environment variable's name, or None. Names that are not ours, Airflow's or AWS' are let be."""
    if name.startswith("LEARNLOOP_"):
        known = {f"LEARNLOOP_{field.name.upper()}" for field in fields(Settings)}
        if name in known or (name.removesuffix("_FILE") in known and name != "LEARNLOOP_HOME_FILE"):
            return None
        return f"{name} is no setting of Learnloop's (include/learnloop/settings.py)"
    if name.startswith("AWS_"):
        return None if name in AWS else f"{name} is not among the variables of AWS' that are used here"
    if name.startswith("AIRFLOW__"):
        return _unknown_to_airflow(name)
    return None


def _unknown_to_airflow(name: str) -> str | None:
    parts = re.fullmatch(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)", name)
    if parts is None:
        return f"{name} is not of the form AIRFLOW__SECTION__KEY"
    section, key = (part.lower() for part in parts.groups())
    options = airflow_options()
    if (section, key) in options:
        return None
    plain = re.sub(r"_(cmd|secret)$", "", key)
    if plain == key or (section, plain) not in options:
        return f"{name}: Airflow has no option {key} in [{section}]"
    if not options[section, plain]:
        return f"{name}: Airflow reads [{section}] {plain} from no command and no secret, for it is not sensitive"
    return None


@cache
def airflow_options() -> dict[tuple[str, str], bool]:
    """(section, key) of all options of the installed Airflow and the providers named above, and whether it is sensitive."""
    text = _file("apache-airflow-core", "airflow/config_templates/config.yml").read_text()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time, where it is
    found = dict(_options(yaml.load(text, Loader=loader)))  # noqa: S506 - both are safe loaders
    for name, package in PROVIDERS.items():
        # Not imported: this package knows nothing of Airflow. The file says what is in it and no more.
        told = runpy.run_path(str(_file(package, f"airflow/providers/{name}/get_provider_info.py")))
        found.update(_options(told["get_provider_info"]()["config"]))
    return found


def _options(sections: dict[str, Any]) -> Iterator[tuple[tuple[str, str], bool]]:
    for section, described in sections.items():
        for key, option in described["options"].items():
            yield (section, key), bool(option.get("sensitive"))


def _file(package: str, path: str) -> Path:
    return Path(str(distribution(package).locate_file(path)))
