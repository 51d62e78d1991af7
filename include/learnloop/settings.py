"""The one place where configuration is read.

A setting comes from the environment (``LEARNLOOP_<NAME>``, or a file that ``LEARNLOOP_<NAME>_FILE`` names, as secrets
are given to containers), else from ``stack.json`` in the state
directory (written by ``make up``, so that a command typed by hand finds the running stack), else from
its default. Nothing else in the project reads ``LEARNLOOP_*``, but for `faultpoints`, which only tests use. Where an MLflow
server is may be said by MLflow's own variables, too, and where Airflow's database is by Airflow's.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from learnloop.errors import InvalidInput
from learnloop.logs import FORMATS

RUNNERS = ("local", "kubernetes")
SHORTEST_TOKEN = 20
ADMISSIONS = ("none", "reservation", "kueue")


@dataclass(frozen=True)
class Settings:
    """Where things are and how they run. Paths are absolute, URLs have no trailing slash.

    What may hold a password is left out of the ``repr``, which ends up in logs.
    """

    home: Path
    """The state directory: everything one stack writes lives under it."""
    database_url: str = field(repr=False)
    """SQLAlchemy URL of Learnloop's own database."""
    mlflow_url: str = field(repr=False)
    """SQLAlchemy URL of MLflow's database, or the address of an MLflow server (also by MLflow's own variables)."""
    airflow_database_url: str = field(repr=False)
    """SQLAlchemy URL of Airflow's database, for backups alone (also by Airflow's own variable); empty: it is left out."""
    store: Path
    """The object store that jobs and workspaces read, in DVC's layout (``files/md5/xx/...``)."""
    remote: str
    """Where the store is copied to: a folder or an fsspec URL such as ``s3://bucket/prefix``."""
    replica: str
    """A second remote, which is kept as the first; empty: none."""
    backup_remote: str
    """Where backups go (docs/backup.md), a folder or an fsspec URL; empty: none are taken."""
    backup_key_file: str
    """The file of the key that they are encrypted with; empty: they are not."""
    backup_secrets: str
    """Files, separated by ``:``, that an encrypted backup holds beside those in ``secrets/`` of the state directory."""
    backup_endpoint: str
    """The S3 endpoint of backups, where it is not that of the store's remote,"""
    backup_profile: str
    """and the profile of AWS' credentials file that reaches it; empty: both are as for the remote."""
    backup_hours: int
    """How old the last one may be before maintenance takes another, in hours,"""
    backup_keep_daily: int
    """from how many days one is kept,"""
    backup_keep_weekly: int
    """and from how many weeks."""
    namespaces: Path
    """Holds ``data/{user}``, ``tmp/{user}``, ``results/{user}`` and ``models/{user}``."""
    allowed_roots: str
    """Folders, separated by ``:``, below which people may have data read from and written to."""
    workspaces_per_user: int
    """How many workspaces one person may have at once."""
    workspace_bytes_per_user: int
    """How many bytes of versions one person's workspaces may hold at once."""
    jobs_per_user: int
    """How many jobs of one person may run at once."""
    rate_read: int
    """How many requests a minute one person may read with; a sixth of them at once. 0: no limit, as for the others."""
    rate_write: int
    """The same for requests that change something,"""
    rate_claim: int
    """for annotation tasks: claims, answers,"""
    rate_login: int
    """and for logins that fail, of one user name from one address; from one address for all names, ten times as many."""
    body_bytes: int
    """How many bytes the body of a request to our API may have."""
    body_seconds: int
    """How long a body may take to arrive, from its first byte to its last."""
    upload_bytes: int
    """How many bytes a file of tasks may have that is sent to our API; larger ones are read where they are."""
    upload_seconds: int
    """How long such a file may take to arrive."""
    audit_days: int
    """How many days an event stays in the audit log."""
    model_days: int
    """How many days a model that a structure search did not choose is kept as a version; 0: for ever."""
    workspace_grace_days: int
    """How many days a workspace that a person may have changed is kept after it expired."""
    webhook_hosts: str
    """Hosts that notifications may be sent to by webhook, separated by commas; a port other than the usual is named."""
    webhook_secret: str = field(repr=False)
    """What webhooks are signed with."""
    log_format: str
    """How processes write their logs (docs/observability.md): ``text``, or ``json``, an object a line."""
    metrics_token: str = field(repr=False)
    """What Prometheus shows to read metrics of our API with (a Bearer token); empty: only people who may, may."""
    models: Path
    """Where registered model files are kept."""
    job_runner: str
    """``local`` (a process on the worker) or ``kubernetes`` (a pod)."""
    fork_server: str
    """The fork server of ``local`` jobs (see `learnloop.jobs.forkserver`); empty: none, each job starts anew."""
    job_image: str
    """The container image that ``kubernetes`` jobs use when their spec names none; it is the stager's too."""
    job_images: str
    """Other images that stages of pipelines may name, separated by commas; ``*`` stands for any text."""
    job_cpu_cap: int
    """How many cores a stage of a pipeline may ask for,"""
    job_gpu_cap: int
    """and how many GPUs; for memory it is ``job_memory_cap``."""
    pod_template: str
    """The pod template of ``kubernetes`` jobs, a YAML file (see docs/kubernetes.md)."""
    storage_classes: str
    """What mounts may be put into, a YAML file (docs/mounts.md); empty: this machine's disk, on a cluster nothing."""
    job_memory_cap: str
    """How much memory a stage of a pipeline, or the next try of a job that ran out of it, may ask for, such as ``16Gi``."""
    admission: str
    """Who says when a job begins (docs/capacity.md): ``none`` (nobody), ``reservation`` (our own policy), ``kueue``."""
    admission_ageing: int
    """By how many seconds of waiting one level of priority counts,"""
    admission_share: int
    """and by how many seconds less a job's waiting counts whose user has the whole cluster; in proportion for less."""
    machine: str
    """What ``local`` jobs may have of this machine, such as ``cpu=4,memory=8Gi,gpu=1``; empty: its cores and memory."""
    kueue_queue: str
    """The LocalQueue of jobs with ``kueue``, in their namespace."""
    api_url: str
    """The host that people and pages use: Airflow at ``/``, our API below it."""
    serving_url: str
    """The model server. How it behaves (`learnloop.serving.config`, docs/serving.md):"""
    serving_runner: str
    """who serves applications: ``local`` (the servers that read the database) or ``kubernetes`` (beside them, pods for each
    alias; docs/kubernetes.md),"""
    serving_template: str
    """the template of those pods, a YAML file,"""
    serving_memory_mib: int
    """how many MiB its models may take; 0: no limit,"""
    serving_keep_alive: int
    """after how many seconds without a request a model leaves memory; 0: never,"""
    serving_batch_window_ms: int
    """how many milliseconds a small request may wait for others; 0: none,"""
    serving_batch_rows: int
    """how many rows are predicted together,"""
    serving_queue: int
    """how many small requests may wait at once,"""
    serving_large_queue: int
    """and how many large ones,"""
    serving_body_bytes: int
    """how many bytes a body may have,"""
    serving_probation: int
    """for how many seconds after a swap the version before takes over when the new one errs,"""
    serving_access_log: int
    """and whether (1) or not (0) each inference request is a line in its log."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """``allowed_roots`` as paths."""
        return tuple(Path(root) for root in self.allowed_roots.split(":") if root)

    def whose(self, user: str) -> dict[str, Any]:
        """What `learnloop.datasets.allowed` needs to know of a user's places."""
        return {"user": user, "roots": self.roots, "home": self.home, "namespaces": self.namespaces}

    @property
    def loop_api_url(self) -> str:
        return f"{self.api_url}/learnloop/api/v1"


def load(environment: dict[str, str] | os._Environ[str] = os.environ) -> Settings:
    """Read the settings from ``environment`` and the state directory it names.

    Raises:
        InvalidInput: a setting has a value it cannot have.
    """
    home = Path(environment.get("LEARNLOOP_HOME", ".learnloop")).resolve()
    written = _read_stack_file(home / "stack.json")
    defaults: dict[str, Any] = {
        "database_url": "",
        "mlflow_url": _mlflow_server(environment),
        "airflow_database_url": _airflow_database(environment),
        "store": home / "store",
        "remote": str(home / "remote"),
        "replica": "",
        "backup_remote": "",
        "backup_key_file": "",
        "backup_secrets": "",
        "backup_endpoint": "",
        "backup_profile": "",
        "backup_hours": 24,
        "backup_keep_daily": 7,
        "backup_keep_weekly": 4,
        "namespaces": home / "namespaces",
        "allowed_roots": f"{Path.home()}:{tempfile.gettempdir()}",
        "workspaces_per_user": 20,
        "workspace_bytes_per_user": 100 * 2**30,
        "jobs_per_user": 16,
        "rate_read": 30_000,
        "rate_write": 6_000,
        "rate_claim": 6_000,
        "rate_login": 60,
        "body_bytes": 2**20,
        "body_seconds": 30,
        "upload_bytes": 15 * 2**20,
        "upload_seconds": 300,
        "audit_days": 365,
        "model_days": 90,
        "workspace_grace_days": 7,
        "webhook_hosts": "",
        "webhook_secret": "",
        "log_format": "text",
        "metrics_token": "",
        "models": home / "models",
        "job_runner": "local",
        "fork_server": "",
        "job_image": "learnloop/training:0.1.0",
        "job_images": "",
        "job_cpu_cap": 64,
        "job_gpu_cap": 8,
        "pod_template": "",
        "storage_classes": "",
        "job_memory_cap": "16Gi",
        "admission": "none",
        "admission_ageing": 60,
        "admission_share": 6 * 3600,
        "machine": "",
        "kueue_queue": "",
        "api_url": "http://127.0.0.1:8080",
        "serving_url": "http://127.0.0.1:8090",
        "serving_runner": "local",
        "serving_template": "",
        "serving_memory_mib": 2048,
        "serving_keep_alive": 0,
        "serving_batch_window_ms": 0,
        "serving_batch_rows": 256,
        "serving_queue": 256,
        "serving_large_queue": 16,
        "serving_body_bytes": 16 * 2**20,
        "serving_probation": 60,
        "serving_access_log": 0,
    }
    values: dict[str, Any] = {}
    for name, default in defaults.items():
        text = _given(name, environment)
        if text is None:
            text = written.get(name)
        values[name] = default if text is None else _read(name, str(text), type(default))
    for name, known in (("job_runner", RUNNERS), ("serving_runner", RUNNERS), ("log_format", FORMATS)):
        values[name] = values[name] or defaults[name]  # Compose gives what is not said as an empty text
        if values[name] not in known:
            raise InvalidInput(f"LEARNLOOP_{name.upper()} is {values[name]!r}; it must be one of {', '.join(known)}")
    if 0 < len(values["metrics_token"]) < SHORTEST_TOKEN:
        raise InvalidInput(
            f"LEARNLOOP_METRICS_TOKEN must have at least {SHORTEST_TOKEN} characters: others could guess it"
        )
    _check_admission(values)
    return Settings(home=home, **values)


def _given(name: str, environment: Mapping[str, str]) -> str | None:
    """What the environment says, by itself or by a file whose text it is (without the newline at its end)."""
    variable = f"LEARNLOOP_{name.upper()}"
    text, file = environment.get(variable), environment.get(f"{variable}_FILE")
    if file is None:
        return text
    if text is not None:
        raise InvalidInput(f"{variable} and {variable}_FILE are both set; leave one of them out")
    try:
        return Path(file).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"{variable}_FILE names {file}, which cannot be read: {reason}") from error


def _mlflow_server(environment: Mapping[str, str]) -> str:
    """The server that MLflow's own variables name. What they may name besides, such as a folder, is no registry of ours."""
    named = environment.get("MLFLOW_REGISTRY_URI") or environment.get("MLFLOW_TRACKING_URI") or ""
    return named.rstrip("/") if named.startswith(("http://", "https://")) else ""


def _airflow_database(environment: Mapping[str, str]) -> str:
    """Airflow's own variable; in a task Airflow has put there that tasks may not use it, which is no address."""
    named = environment.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
    return named if named.startswith("postgresql") else ""


def _check_admission(values: dict[str, Any]) -> None:
    if values["admission"] not in ADMISSIONS:
        raise InvalidInput(f"LEARNLOOP_ADMISSION is {values['admission']!r}; it must be one of {', '.join(ADMISSIONS)}")
    if values["admission"] == "kueue" and values["job_runner"] != "kubernetes":
        raise InvalidInput("LEARNLOOP_ADMISSION is 'kueue', which needs LEARNLOOP_JOB_RUNNER=kubernetes")
    if values["admission"] == "kueue" and not values["kueue_queue"]:
        raise InvalidInput("LEARNLOOP_ADMISSION is 'kueue', and LEARNLOOP_KUEUE_QUEUE names no LocalQueue of jobs")


def _read(name: str, text: str, kind: type) -> Any:
    if kind is int:
        if not text.isdecimal():
            raise InvalidInput(f"LEARNLOOP_{name.upper()} is {text!r}; it must be a whole number")
        return int(text)
    return Path(text) if issubclass(kind, Path) else text


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment variables that make another process load the same settings."""
    return {f"LEARNLOOP_{field.name.upper()}": str(getattr(settings, field.name)) for field in fields(settings)}


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return load()


def _read_stack_file(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
