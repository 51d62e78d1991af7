"""What a task read and made, for OpenLineage: dataset versions and model versions.

Airflow's provider (the extra ``openlineage``) asks an operator when its task has ended. Without it nobody asks, and
nothing is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

NAMESPACE = "learnloop"


@dataclass(frozen=True)
class Thing:
    """A dataset of OpenLineage's: where it is, and which version of it."""

    namespace: str
    name: str
    version: str = ""


def dataset_version(pin: dict[str, Any]) -> Thing:
    """Of what ``SnapshotOperator`` and others return."""
    return Thing(NAMESPACE, f"datasets/{pin['dataset']}", pin["version"])


def model_version(name: str, version: int) -> Thing:
    return Thing(NAMESPACE, f"models/{name}", str(version))


def place(path: str) -> Thing:
    """A folder, or a prefix of a bucket."""
    parts = urlsplit(path)
    if parts.scheme and parts.netloc:
        return Thing(f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/")
    return Thing("file", path)


class TellsLineage:
    """Mixed into operators whose ``execute`` says what it ``read`` and ``made``."""

    read: Sequence[Thing] = ()
    made: Sequence[Thing] = ()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """As Airflow's provider wants it."""
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import Dataset
        from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

        def told(thing: Thing) -> Any:
            version = {"version": DatasetVersionDatasetFacet(datasetVersion=thing.version)} if thing.version else {}
            return Dataset(namespace=thing.namespace, name=thing.name, facets=version)

        return OperatorLineage(
            inputs=[told(thing) for thing in self.read], outputs=[told(thing) for thing in self.made]
        )
