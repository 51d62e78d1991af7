"""The DAG bundle that shows pipelines to Airflow.

It is made of rows, so that every machine that reaches Learnloop's database has it, and so that it has versions, which
Airflow's bundles of folders and S3 have not: a version of the bundle is the id of the newest `PipelineVersion`. A run keeps
the version it began with, whatever is applied meanwhile; a worker that needs an old one makes its files from the rows.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

TRACKING = "tracking"


class PipelineBundle(BaseDagBundle):
    """All pipelines: of the newest version in one folder that is kept up to date, of others each in its own."""

    supports_versioning = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shows: int | None = None

    @property
    def path(self) -> Path:
        return Path(self.base_dir) / TRACKING if self.version is None else Path(self.versions_dir) / self.version

    def initialize(self) -> None:
        if self.version is None:
            self.refresh()
        else:
            self._make_version(int(self.version))
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """What the files show, which may be older than the newest row."""
        shows = self.version if self._shows is None else str(self._shows)
        return None if shows is None else BundleVersion(version=shows)

    def refresh(self) -> None:
        from sqlalchemy import func, select

        from learnloop.database import PipelineVersion, reading
        from learnloop.pipelines import files, stored

        if self.version is not None:
            raise ValueError(
                f"version {self.version} of the bundle {self.name} is what it is; only the newest is refreshed"
            )
        with self.lock(), reading() as db:
            if self._shows is None or self._shows != (db.scalar(select(func.max(PipelineVersion.id))) or 0):
                newest, shown = stored.state(db)
                files.write(self.path, shown)
                self._shows = newest

    def _make_version(self, version: int) -> None:
        from learnloop.database import reading
        from learnloop.pipelines import files, stored

        if self.path.is_dir():
            return
        with self.lock():
            if self.path.is_dir():  # made by another while this one waited
                return
            with reading() as db:
                _, shown = stored.state(db, version)
            temporary = self.path.with_name(f".{self.path.name}.part")
            shutil.rmtree(temporary, ignore_errors=True)
            files.write(temporary, shown)
            temporary.rename(self.path)
