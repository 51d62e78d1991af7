"""What docker-compose.yaml needs before its first start: `python3 compose_prepare.py [--host NAME] ...`.

Standard library only: nothing is installed yet.

Makes random secrets (mode 0600), the folders of the named volumes, a certificate of its own for a trial, and the file that
``docker compose --env-file`` reads. What is there already stays as it is: run again, it makes what is missing.

The containers run as the user who ran this; where that is root, as user 50000, to whom everything is given.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NOBODY_IN_PARTICULAR = 50000
DATABASES = {"airflow": "postgresql+psycopg2", "learnloop": "postgresql+psycopg", "mlflow": "postgresql+psycopg"}
VOLUMES = (
    *("postgres", "postgres-replica", "redis", "s3", "learnloop", "airflow-logs", "data"),
    *("prometheus", "alertmanager", "grafana", "loki", "alloy", "tempo"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "deploy" / "compose", help="for .env and secrets/")
    parser.add_argument("--data", type=Path, help="for the volumes (default: data/ in the folder)")
    parser.add_argument("--host", default="localhost", help="the name that people type")
    asked = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", asked.host):
        parser.error(f"{asked.host!r} is no host name")
    folder = asked.folder.resolve()
    owner = (os.getuid(), os.getgid()) if os.getuid() else (NOBODY_IN_PARTICULAR, NOBODY_IN_PARTICULAR)
    made = prepare(folder, (asked.data or folder / "data").resolve(), asked.host, owner)
    print(f"compose-secrets: made {', '.join(made) if made else 'nothing: all of it is there'}")
    print(f"compose-secrets: settings are in {folder / '.env'}, secrets in {folder / 'secrets'}")
    return 0


def prepare(folder: Path, data: Path, host: str, owner: tuple[int, int]) -> list[str]:
    """Make what is missing below ``folder`` and ``data``, for ``owner`` (user id, group id); returns the names of it."""
    keep = folder / "secrets"
    keep.mkdir(parents=True, exist_ok=True)
    keep.chmod(0o700)
    _give(keep, owner)
    made = [name for name, text in _texts(keep).items() if _write(keep / name, text, owner)]
    if not (keep / "tls_certificate.pem").exists():
        _certificate(keep, host, owner)
        made.append("tls_certificate.pem")
    for place in [*(data / name for name in VOLUMES), folder / "backups"]:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give(place, owner)
    settings = {
        "STACK_UID": owner[0],
        "STACK_GID": owner[1],
        "STACK_DATA": data,
        "STACK_SECRETS": keep,
        "STACK_BACKUPS": folder / "backups",
        "STACK_HOST": host,
        "STACK_PORT": 8443,
        "STACK_BIND": "127.0.0.1",
        "STACK_TRACES": "",
        "STACK_JSON_LOGS": "",
        "STACK_BACKUP_REMOTE": "",
        "STACK_BACKUP_ENDPOINT": "",
    }
    return made + _settle(folder / ".env", settings)


def _settle(path: Path, settings: dict[str, object]) -> list[str]:
    """Write the settings, or those that a file of an older version lacks; what it says it goes on saying."""
    said = path.read_text() if path.exists() else ""
    there = {line.partition("=")[0].strip() for line in said.splitlines()}
    missing = {name: value for name, value in settings.items() if name not in there}
    if missing:
        if said and not said.endswith("\n"):
            said += "\n"
        _replace(path, said + "".join(f"{name}={value}\n" for name, value in missing.items()), None)
    return ([f"{name} in .env" for name in missing] if said else [".env"]) if missing else []


def _texts(keep: Path) -> dict[str, str]:
    """File name to content. Passwords that stand in several files are made once and stay those that are there."""

    def password(name: str) -> str:
        path = keep / f"password-{name}"
        return path.read_text() if path.exists() else secrets.token_urlsafe(32)

    words = {name: password(name) for name in (*DATABASES, "postgres", "replication", "redis", "s3")}
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    roles = [
        f"CREATE ROLE {name} LOGIN PASSWORD '{words[name]}';\nCREATE DATABASE {name} OWNER {name};"
        for name in DATABASES
    ]
    identity = {
        "name": "learnloop",
        "credentials": [{"accessKey": "learnloop", "secretKey": words["s3"]}],
        "actions": ["Admin"],
    }
    return {
        # First, so that what is made of them agrees with them whenever this was broken off.
        **{f"password-{name}": word for name, word in words.items()},
        "postgres_password": words["postgres"],
        "postgres_roles.sql": "\n".join(
            [*roles, f"CREATE ROLE replication LOGIN REPLICATION PASSWORD '{words['replication']}';", ""]
        ),
        "postgres_pgpass": f"*:*:*:replication:{words['replication']}\n",
        **{
            f"{name}_database_url": f"{driver}://{name}:{words[name]}@postgres:5432/{name}"
            for name, driver in DATABASES.items()
        },
        "redis_users.acl": (
            "user default off\n"
            f"user learnloop on >{words['redis']} ~* &* +@all -@dangerous +info +keys +flushdb\n"
            "user probe on >probe -@all +ping\n"
        ),
        "celery_broker_url": f"redis://learnloop:{words['redis']}@redis:6379/0",
        "s3.json": json.dumps({"identities": [identity]}),
        "aws_credentials": f"[default]\naws_access_key_id = learnloop\naws_secret_access_key = {words['s3']}\n",
        "fernet_key": key,
        "backup_key": base64.b64encode(secrets.token_bytes(32)).decode() + "\n",
        **{
            name: secrets.token_urlsafe(48)
            for name in ("api_secret_key", "jwt_secret", "webhook_secret", "metrics_token", "grafana_password")
        },
        # How alerts are told to people is the company's to fill in (deploy/alertmanager/alertmanager.yml).
        **dict.fromkeys(("smtp_password", "alert_webhook"), ""),
    }


def _certificate(keep: Path, host: str, owner: tuple[int, int]) -> None:
    """A certificate that nobody but this stack vouches for: for a trial. A company's own takes its place."""
    key, certificate = keep / "tls_key.pem", keep / "tls_certificate.pem"
    _write(key, "", owner)  # so that it is nobody else's from its first byte
    part = keep / "tls_certificate.part"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "90", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-keyout", str(key), "-out", str(part)),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    part.chmod(0o600)
    _give(part, owner)
    part.replace(certificate)


def _write(path: Path, text: str, owner: tuple[int, int] | None) -> bool:
    """Write a private file, whole or not at all, unless it is there; returns whether it was made."""
    if path.exists():
        return False
    _replace(path, text, owner)
    return True


def _replace(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    if owner is not None:
        _give(part, owner)
    part.replace(path)


def _give(path: Path, owner: tuple[int, int]) -> None:
    if os.getuid() == 0:
        os.chown(path, *owner)


if __name__ == "__main__":
    sys.exit(main())
