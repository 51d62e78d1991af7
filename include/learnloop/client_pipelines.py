"""What the client does with pipelines: apply, run, watch, cancel, rerun, compare. Part of ``learnloop.client``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from learnloop.client_data import Json, part

if TYPE_CHECKING:
    import httpx


class PipelineMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _get(self, path: str, **params: Any) -> Any: ...
        def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...
        def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...
        def _write(
            self, path: str, body: Json, key: str | None = None, if_match: str | None = None
        ) -> httpx.Response: ...
        def _post(self, path: str, body: Json | None = None) -> Json: ...
        def follow_run(self, dag: str, run_id: str) -> Iterator[Json]: ...

    def apply_pipeline(
        self, declaration: str | Json, message: str = "", *, personal: bool = False, dry_run: bool = False
    ) -> Json:
        """Keep a declaration (YAML or JSON, or what it stands for) as the newest version of its pipeline.

        Raises:
            InvalidInput: with a list of all that is wrong; nothing was changed.
        """
        text = declaration if isinstance(declaration, str) else json.dumps(declaration)
        body = {"declaration": text, "message": message, "personal": personal, "dry_run": dry_run}
        return dict(self._write("/pipelines", body).json())

    def pipelines(self) -> list[Json]:
        """The pipelines one may see, each in its newest version."""
        return self._all("/pipelines")

    def pipeline(self, name: str, version: int | None = None) -> Json:
        """What was declared, in the newest version or another."""
        return dict(self._get(f"/pipelines/{part(name)}" + ("" if version is None else f"/versions/{version}")))

    def pipeline_versions(self, name: str) -> list[Json]:
        """A pipeline's versions, newest first."""
        return self._all(f"/pipelines/{part(name)}/versions")

    def remove_pipeline(self, name: str) -> None:
        """Take it out of Airflow; what was declared and what ran stays."""
        self._delete(f"/pipelines/{part(name)}")

    def release_pipeline(self, name: str) -> dict[str, int]:
        """Give back what it holds beyond its runs: how many of each kind."""
        return dict(self._delete(f"/pipelines/{part(name)}/resources")["released"])

    def run_pipeline(self, name: str) -> Json:
        """Start a run of the newest version: ``dag_id``, ``run_id``, ``version``. `follow_run` tells how it goes."""
        return self._post(f"/pipelines/{part(name)}/runs")

    def pipeline_runs(self, name: str) -> list[Json]:
        """Runs that have begun, the newest first."""
        return self._all(f"/pipelines/{part(name)}/runs")

    def pipeline_run(self, name: str, run_id: str) -> Json:
        """A run with its stages: states, progress, results."""
        return dict(self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}"))

    def cancel_pipeline_run(self, name: str, run_id: str) -> None:
        """End a run: its jobs are killed, and it counts as failed."""
        self._post(f"/pipelines/{part(name)}/runs/{part(run_id)}/cancel")

    def rerun_pipeline(self, name: str, run_id: str, stage: str | None = None) -> list[str]:
        """Run again what failed, or a stage and all after it; returns the stages that will."""
        return list(self._post(f"/pipelines/{part(name)}/runs/{part(run_id)}/rerun", {"stage": stage})["stages"])

    def stage_log(self, name: str, run_id: str, stage: str) -> list[str]:
        """What a stage of one's own run printed last."""
        return list(self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}/stages/{part(stage)}/log")["lines"])

    def compare_pipeline_runs(
        self, name: str, run_id: str, to: str, *, pipeline: str | None = None, stage: str | None = None
    ) -> list[Json]:
        """Of each stage what is other in the run ``to`` (of ``pipeline``, if another): configuration, metrics, log."""
        wanted = {"to": to, "pipeline": pipeline, "stage": stage}
        params = {key: value for key, value in wanted.items() if value is not None}
        return list(self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}/diff", **params)["stages"])

    def train_incrementally(
        self, dataset_version: str, base_pipeline: str, annotations_path: str, *, personal: bool = False
    ) -> Json:
        """Ask for a training of ``base_pipeline`` on the version with the labels of a file: ``dag_id``, ``run_id``."""
        body = {"dataset_version": dataset_version, "annotations_path": annotations_path, "personal": personal}
        return self._post(f"/pipelines/{part(base_pipeline)}/incremental", body)
