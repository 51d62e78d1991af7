"""Operators that make dataset versions out of folders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from learnloop_airflow.common import readable, run_owner, store
from learnloop_airflow.lineage import TellsLineage, dataset_version, place


class ValidateOperator(BaseOperator):
    """Check a dataset folder, sample by sample; fails with a list of what is wrong and where.

    :param path: the folder (templated).
    """

    template_fields: Sequence[str] = ("path",)

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.datasets.remote_source import is_url
        from learnloop.datasets.validate import validate_folder

        if is_url(self.path):
            self.log.info("%s is no folder: its samples are checked when its version is preprocessed", self.path)
            return {}
        report = validate_folder(readable(self.path, run_owner(context)))
        report.raise_if_wrong()
        self.log.info("%s: %d samples, %d labelled: nothing is wrong", self.path, report.samples, report.labelled)
        return {"samples": report.samples, "labelled": report.labelled, "per_class": report.per_class}


class SnapshotOperator(TellsLineage, BaseOperator):
    """Snapshot a folder or an S3 prefix into a new version of the dataset that its ``dataset.yaml`` names.

    :param path: the folder, or a URL such as ``s3://bucket/prefix`` (templated).
    :param aws_conn_id: the Airflow connection that an ``s3://`` URL is read with (templated).
    :param message: what the version's history says (templated).
    :return: the version as ``{dataset, version, version_id, tree}``; the head's, when nothing has changed.
    """

    template_fields: Sequence[str] = ("path", "aws_conn_id", "message")

    def __init__(self, *, path: str, aws_conn_id: str = "aws_default", message: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.aws_conn_id = aws_conn_id
        self.message = message

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.remote_source import is_url
        from learnloop.datasets.snapshot import snapshot
        from learnloop_airflow.aws import storage_options

        with session() as db:
            version = snapshot(
                db,
                store(),
                self.path if is_url(self.path) else readable(self.path, run_owner(context)),
                owner=run_owner(context),
                message=self.message,
                run_id=context["run_id"],
                storage_options=storage_options(self.path, self.aws_conn_id),
                progress=lambda done, files: self.log.info("%s: %d of %d files", self.path, done, files),
            )
            made = pin(version)
        self.read, self.made = [place(self.path)], [dataset_version(made)]
        return made


class PreprocessOperator(TellsLineage, BaseOperator):
    """Make the version that training reads: frozen test split, features by the dataset's recipe.

    :param version: the name of the version to preprocess (templated).
    :return: the preprocessed version, as ``SnapshotOperator`` returns it.
    """

    template_fields: Sequence[str] = ("version",)

    def __init__(self, *, version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.preprocess import preprocess
        from learnloop.datasets.versions import get_version

        with session() as db:
            version = preprocess(
                db, store(), get_version(db, self.version), owner=run_owner(context), run_id=context["run_id"]
            )
            made = pin(version)
        self.read = [dataset_version({**made, "version": self.version})]
        self.made = [dataset_version(made)]
        return made


def pin(version: Any) -> dict[str, Any]:
    """What later tasks need of a version; they read this and never "the newest" again."""
    return {
        "dataset": version.dataset.name,
        "version": version.name,
        "version_id": version.id,
        "tree": version.tree,
    }
