"""What a job and its runner agree on: four folders, ``params.json`` in, ``result.json`` out.

Job code uses :class:`Job`; runners use :func:`prepare`, :func:`read_result` and :func:`read_progress`. In another
language the same is a few lines: read ``$RESULTS_DIR/params.json``, write outputs below ``$MODELS_DIR`` and
``$RESULTS_DIR``, and last of all rename a complete ``result.json`` into ``$RESULTS_DIR``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from learnloop.errors import Corrupted, InvalidInput, LearnloopError, NotFound
from learnloop.jobs.checksums import files_below, fsync_file, fsync_folder, sha256, write_json
from learnloop.jobs.namespace import KINDS
from learnloop.jobs.phases import phase
from learnloop.jobs.spec import JobSpec

VARIABLES = {"data": "DATA_DIR", "cache": "CACHE_DIR", "results": "RESULTS_DIR", "models": "MODELS_DIR"}
RESULT = "result.json"
LOCK = ".lock"
CHECKPOINT = "checkpoint"
MEMORY = "memory.json"
"""What an attempt that ran out of memory leaves for the next one (`learnloop.jobs.memory`)."""


@dataclass(frozen=True)
class Places:
    """The four folders of one job."""

    data: Path
    cache: Path
    results: Path
    models: Path

    @classmethod
    def of(cls, namespaces: Path, spec: JobSpec) -> Places:
        """``{namespaces}/{data,tmp,results,models}/{user}/{key}``."""
        return cls(*(namespaces / kind / spec.folder for kind in KINDS))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Places:
        """The places that the runner told this process of.

        Raises:
            InvalidInput: this process is no job.
        """
        missing = [name for name in VARIABLES.values() if not environment.get(name)]
        if missing:
            raise InvalidInput(f"this is not a job: {', '.join(missing)} not set; a job runner sets them")
        return cls(**{field: Path(environment[name]) for field, name in VARIABLES.items()})

    def environment(self) -> dict[str, str]:
        """The variables that tell a job of its places."""
        return {name: str(getattr(self, field)) for field, name in VARIABLES.items()}

    def find(self, output: str) -> Path:
        """The path of an output named ``results/...`` or ``models/...``."""
        place, _, name = output.partition("/")
        if place not in ("results", "models") or not name or ".." in name.split("/"):
            raise Corrupted(f"an output is named {output!r}; it must be below results/ or models/")
        return (self.results if place == "results" else self.models) / name


@dataclass(frozen=True)
class JobResult:
    """What a finished job left. ``outputs`` are names such as ``models/model/MLmodel``, checked against their sha256."""

    result: dict[str, Any]
    outputs: dict[str, str]
    finished_at: datetime
    places: Places

    @property
    def results_dir(self) -> Path:
        """Where the job wrote its results."""
        return self.places.results

    @property
    def models_dir(self) -> Path:
        """Where the job wrote its models."""
        return self.places.models

    def path(self, output: str) -> Path:
        """The path of one output, or of a folder that holds some.

        Raises:
            NotFound: the job declared no such output.
        """
        if not any(name == output or name.startswith(f"{output}/") for name in self.outputs):
            raise NotFound(f"the job made no {output}; it made {', '.join(sorted(self.outputs)) or 'no files'}")
        return self.places.find(output)


class Job:
    """The running job, as its own code sees it."""

    def __init__(self, places: Places) -> None:
        self.places = places
        path = places.results / "params.json"
        try:
            self.params: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InvalidInput(f"{path} is missing; the runner writes it before the job starts") from error
        except ValueError as error:
            raise InvalidInput(f"{path} is not JSON: {error}") from error

    @classmethod
    def current(cls) -> Job:
        """The job that this process is."""
        return cls(Places.from_environment())

    @property
    def checkpoint_dir(self) -> Path:
        """Outlives a failed attempt: what is saved here (by temp + rename) the next attempt finds."""
        folder = self.places.results / CHECKPOINT
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, **fields: Any) -> None:
        """Append one line to ``progress.jsonl``; readers see it at once."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(), **fields}, allow_nan=False)
        with (self.places.results / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A part of the work, which a trace shows by this name; nothing where nothing is traced."""
        return phase(self.places.results, name)

    def finish(self, result: Mapping[str, Any], outputs: list[Path] | None = None) -> None:
        """Commit: declare ``outputs`` (files, or folders with all their files) and rename ``result.json`` into place.

        Raises:
            InvalidInput: an output does not exist or is not below ``RESULTS_DIR`` or ``MODELS_DIR``, or ``result``
                is not JSON (NaN and infinity are not).
        """
        declared: dict[str, str] = {}
        for output in outputs or []:
            for path in files_below(output) if output.is_dir() else [output]:
                declared[self._name(path)] = self._seal(path)
        try:
            write_json(
                self.places.results / RESULT,
                {
                    "schema_version": 1,
                    "result": dict(result),
                    "outputs": declared,
                    "finished_at": datetime.now(UTC).isoformat(),
                },
            )
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"the job's result is not JSON: {error}") from error

    def _name(self, path: Path) -> str:
        for place, folder in (("results", self.places.results), ("models", self.places.models)):
            if path.resolve().is_relative_to(folder.resolve()):
                return f"{place}/{path.resolve().relative_to(folder.resolve()).as_posix()}"
        raise InvalidInput(f"output {path} is not below RESULTS_DIR or MODELS_DIR; write it there")

    @staticmethod
    def _seal(path: Path) -> str:
        if not path.is_file():
            raise InvalidInput(f"output {path} does not exist; declare outputs after writing them")
        fsync_file(path)
        fsync_folder(path.parent)
        return sha256(path)


def run(work: Callable[[Job], None]) -> None:
    """Do ``work`` as this process's job. An error of Learnloop's ends it with its message and no traceback."""
    try:
        work(Job.current())
    except LearnloopError as error:
        sys.exit(f"{error.type}: {error}")


def prepare(places: Places, spec: JobSpec) -> None:
    """Make the folders for a new attempt: empty but for what an earlier attempt at the same work left for this one."""
    work = spec.default_key()
    kept = {LOCK, CHECKPOINT, MEMORY} if done_by(places) == work else {LOCK}
    for folder in (places.data, places.cache, places.models, places.results):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if folder == places.results and path.name in kept:
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_json(places.results / "params.json", {**spec.params, "seed": spec.seed})
    write_json(
        places.results / "job.json", {"determinants": work, "spec": spec.model_dump(mode="json", exclude={"secrets"})}
    )


def read_result(places: Places) -> JobResult | None:
    """The committed result, its outputs checked; None while there is no commit marker.

    Raises:
        Corrupted: the marker cannot be read, or an output is missing or does not match its checksum.
    """
    path = places.results / RESULT
    if path.is_symlink():
        raise Corrupted(f"{path} is a link; a job's result is a file of its own")
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Corrupted(f"{path} is not JSON: {error}") from error
    try:
        found = JobResult(
            result=dict(marker["result"]),
            outputs={str(name): str(digest) for name, digest in marker["outputs"].items()},
            finished_at=datetime.fromisoformat(marker.get("finished_at", "1970-01-01T00:00:00+00:00")),
            places=places,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupted(f"{path} is not a job's result: it needs 'result' and 'outputs' ({error!r})") from error
    for name, digest in found.outputs.items():
        output = places.find(name)
        if not output.is_file():
            raise Corrupted(f"output {name} is missing ({output}), but result.json declares it")
        if sha256(output) != digest:
            raise Corrupted(f"output {name} does not match its checksum in result.json ({output})")
    return found


def read_progress(results: Path) -> list[dict[str, Any]]:
    """The lines of ``progress.jsonl``; a last line that is still being written is left out."""
    try:
        text = (results / "progress.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def done_by(places: Places) -> str | None:
    """The :meth:`JobSpec.default_key` of the attempt that wrote these folders; None before the first."""
    try:
        return str(json.loads((places.results / "job.json").read_text())["determinants"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
