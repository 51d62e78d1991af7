"""A small platform to back up: Learnloop's migrated database, two more beside it, a store, a model's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from databases import create, with_database
from dataset_folders import write_dataset, write_images
from sqlalchemy import create_engine, select, text

from learnloop.backup.opening import place_of
from learnloop.backup.place import Place
from learnloop.backup.sealing import make_key
from learnloop.database import DatasetVersion, engine, session
from learnloop.database.migrate import upgrade
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.settings import Settings, load

OTHER = """
CREATE TABLE alembic_version (version_num varchar(32));
INSERT INTO alembic_version VALUES ('{name}-1');
CREATE TABLE model_versions (name text, version int, source text, storage_location text);
INSERT INTO model_versions VALUES ('lamps', 1, '{models}/lamps/1', 'file://{models}/lamps/1');
"""


@dataclass
class Platform:
    """Where it all is; ``url`` is Learnloop's database."""

    settings: Settings
    folder: Path

    @property
    def url(self) -> str:
        return self.settings.database_url

    @property
    def store(self) -> Store:
        return Store(self.settings.store)

    @property
    def place(self) -> Place:
        return place_of(self.settings)

    def change(self, number: int) -> str:
        """A new version with one more image; its name."""
        write_images(self.folder / "images", [f"new{number}"], [70 + number])
        with session(self.url) as db:
            return snapshot(db, self.store, self.folder, owner="ana").name

    def versions(self) -> dict[str, str]:
        with session(self.url) as db:
            return dict(db.execute(select(DatasetVersion.name, DatasetVersion.tree)).all())

    def assert_whole(self, versions: dict[str, str]) -> None:
        """Every version is there with every byte of it, and so are the model's."""
        assert self.versions() == versions
        for tree in versions.values():
            self.store.verify(tree)
            for md5 in self.store.read_tree(tree).values():
                self.store.verify(md5)
        assert (self.settings.models / "lamps" / "1" / "model.skops").read_bytes() == b"weights"

    def run_apart(self, code: str, fault: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``code`` in a process of its own, with ``settings`` and ``place``."""
        given = json.dumps({name: str(value) for name, value in asdict(self.settings).items()})
        head = (
            "import sys, json\nfrom learnloop.settings import load\nfrom learnloop.backup.opening import place_of\n"
            "given = json.loads(sys.argv[1])\n"
            "settings = load({f'LEARNLOOP_{name.upper()}': value for name, value in given.items()})\n"
            "place = place_of(settings)\n"
        )
        return subprocess.run(
            [sys.executable, "-c", head + code, given],
            env={**os.environ, "LEARNLOOP_FAULT": fault},
            capture_output=True,
            text=True,
            timeout=100,
        )


TEMPLATE = "learnloop_migrated"


def prepare_template(postgres: str) -> None:
    """A database with Learnloop's tables as migrations make them, to copy."""
    create(postgres, TEMPLATE, "template0")
    upgrade(with_database(postgres, TEMPLATE))
    engine(with_database(postgres, TEMPLATE)).dispose()


@contextmanager
def databases(postgres: str, *, migrated: bool, models: Path) -> Iterator[dict[str, str]]:
    """URLs of three databases, empty ones unless ``migrated``; dropped at the end."""
    names = {kind: f"{kind}_{uuid.uuid4().hex[:12]}" for kind in ("learnloop", "airflow", "mlflow")}
    for kind, name in names.items():
        create(postgres, name, TEMPLATE if migrated and kind == "learnloop" else "template0")
    urls = {kind: with_database(postgres, name) for kind, name in names.items()}
    if migrated:
        for kind in ("airflow", "mlflow"):
            other = create_engine(urls[kind])
            with other.begin() as connection:
                connection.execute(text(OTHER.format(name=kind, models=models)))
            other.dispose()
    try:
        yield urls
    finally:
        engine(urls["learnloop"]).dispose()
        maintenance = create_engine(postgres, isolation_level="AUTOCOMMIT")
        with maintenance.connect() as connection:
            for name in names.values():
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        maintenance.dispose()


def settings_of(home: Path, urls: dict[str, str], place: str, key: Path | None) -> Settings:
    return replace(
        load({"LEARNLOOP_HOME": str(home)}),
        database_url=urls["learnloop"],
        airflow_database_url=urls["airflow"],
        mlflow_url=urls["mlflow"],
        backup_remote=place,
        backup_key_file=str(key or ""),
    )


def filled(settings: Settings, folder: Path) -> Platform:
    """A platform with one version of a dataset, a model, and something secret."""
    platform = Platform(settings, write_dataset(folder, samples=20))
    with session(platform.url) as db:
        snapshot(db, platform.store, platform.folder, owner="ana")
    model = settings.models / "lamps" / "1"
    model.mkdir(parents=True)
    (model / "model.skops").write_bytes(b"weights")
    secrets = settings.home / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "fernet_seed").write_text("hush-hush")
    (secrets / "fernet_seed").chmod(0o600)
    return platform


def new_key(folder: Path) -> Path:
    path = folder / f"key-{uuid.uuid4().hex[:6]}"
    make_key(path)
    return path
