"""Secrets, folders and certificate for docker-compose.yaml."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from cryptography.fernet import Fernet

from learnloop.backup.sealing import Sealed, sealer_of
from learnloop.stack.compose_prepare import VOLUMES, prepare

ME = (os.getuid(), os.getgid())


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = prepare(tmp_path / "compose", tmp_path / "data", "loop.example.org", ME)
    assert {"jwt_secret", "tls_certificate.pem", ".env"} <= set(made)
    files = [path for path in (tmp_path / "compose").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {path.name for path in (tmp_path / "data").iterdir()} == set(VOLUMES)
    assert {stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) for name in VOLUMES} == {0o700}
    before = contents(tmp_path)
    assert prepare(tmp_path / "compose", tmp_path / "data", "other.example.org", ME) == []
    assert contents(tmp_path) == before


def test_what_alertmanager_reads_is_empty_until_somebody_is_to_be_told(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "data", "localhost", ME)
    secrets = tmp_path / "secrets"
    assert {path.name for path in secrets.iterdir() if not path.read_text()} == {"smtp_password", "alert_webhook"}
    (secrets / "smtp_password").write_text("word")
    assert prepare(tmp_path, tmp_path / "data", "localhost", ME) == []
    assert (secrets / "smtp_password").read_text() == "word"


def test_what_belongs_together_agrees_also_when_some_of_it_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    prepare(tmp_path, tmp_path / "data", "localhost", ME)
    word = (folder / "password-airflow").read_text()
    (folder / "postgres_roles.sql").unlink()
    (folder / "airflow_database_url").unlink()
    assert set(prepare(tmp_path, tmp_path / "data", "localhost", ME)) == {"postgres_roles.sql", "airflow_database_url"}
    assert f"CREATE ROLE airflow LOGIN PASSWORD '{word}'" in (folder / "postgres_roles.sql").read_text()
    assert f"airflow:{word}@postgres" in (folder / "airflow_database_url").read_text()
    Fernet((folder / "fernet_key").read_text())  # raises unless it is a key


def test_the_certificate_is_for_the_name_and_the_key_fits(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "data", "loop.example.org", ME)
    certificate, key = tmp_path / "secrets" / "tls_certificate.pem", tmp_path / "secrets" / "tls_key.pem"

    def openssl(*arguments: str) -> str:
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout

    assert "DNS:loop.example.org" in openssl("x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName")
    public = openssl("x509", "-in", str(certificate), "-noout", "-pubkey")
    assert public == openssl("pkey", "-in", str(key), "-pubout")


def test_settings_that_an_older_version_did_not_know_are_added(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "data", "localhost", ME)
    settings = tmp_path / ".env"
    kept = [line for line in settings.read_text().splitlines() if not line.startswith("STACK_BACKUP")]
    settings.write_text("\n".join(kept).replace("STACK_BIND=127.0.0.1", "STACK_BIND=0.0.0.0"))
    made = prepare(tmp_path, tmp_path / "data", "localhost", ME)
    assert made == ["STACK_BACKUPS in .env", "STACK_BACKUP_REMOTE in .env", "STACK_BACKUP_ENDPOINT in .env"]
    lines = settings.read_text().splitlines()
    assert "STACK_BIND=0.0.0.0" in lines
    assert f"STACK_BACKUPS={tmp_path / 'backups'}" in lines
    assert len(lines) == len({line.partition("=")[0] for line in lines})


def test_the_key_of_backups_is_one(tmp_path: Path) -> None:
    prepare(tmp_path, tmp_path / "data", "localhost", ME)
    assert isinstance(sealer_of(str(tmp_path / "secrets" / "backup_key")), Sealed)
