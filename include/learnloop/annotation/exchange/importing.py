"""Tasks and predictions out of a file into the queue: all of it, or nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy import exists, insert, select
from sqlalchemy.orm import Session

from learnloop.annotation.answers import classes_of
from learnloop.annotation.exchange import label_studio, tables
from learnloop.annotation.exchange.incoming import NO_MODEL, Guess, Incoming, Problems
from learnloop.annotation.selection import IMPORTED, prediction
from learnloop.database import Annotation, AnnotationTask, Batch, ConfirmedAnnotation, Dataset
from learnloop.datasets.batch import sample_files
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput
from learnloop.loop.rounds import lock

Format = Literal["label-studio", "csv", "parquet"]
SUFFIXES: Mapping[str, Format] = {".json": "label-studio", ".csv": "csv", ".parquet": "parquet"}
AT_ONCE = 1000
MOST_NAMED = 100
"""So many rows that were left alone are named."""


@dataclass(frozen=True)
class Imported:
    """How many rows made a task (``created``), gave an open one another prediction or priority (``updated``), were there
    already (``unchanged``), or are of samples that somebody works on or that have a label (``left``; ``left_rows`` names
    the first of them as the file has them: ``line 3``).
    """

    rows: int
    created: int
    updated: int
    unchanged: int
    left: int
    left_rows: tuple[str, ...] = field(default=(), compare=False)


def import_tasks(
    session: Session,
    store: Store,
    dataset: Dataset,
    batch: Batch,
    path: Path,
    *,
    form: Format | None = None,
    owner: str,
    ignore_annotations: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Make tasks of the samples of ``batch`` that a file names, with its predictions. The same file again changes nothing.

    A sample without a prediction gets one in which all classes are equally likely. Tasks that nobody has taken get the
    file's prediction and priority; nothing else of a task that exists is touched.

    Args:
        form: by default what the file's name ends with says it.

    Raises:
        InvalidInput: with a list of what is wrong in which row, and then nothing was changed.
    """
    classes = classes_of(dataset)
    form = form or SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise InvalidInput(f"{path.name}: say its format, for its name ends with none of {', '.join(SUFFIXES)}")
    problems = Problems()
    if form == "label-studio":
        rows = label_studio.read(
            path, classes, problems, task_type=dataset.task_type, ignore_annotations=ignore_annotations
        )
    else:
        rows = tables.read(path, form, classes, problems, ignore_annotations=ignore_annotations)
    samples = _samples(rows, sample_files(store, batch.tree), batch, problems)
    problems.raise_if_any(path.name)
    lock(session, dataset)
    return _Import(session, dataset, batch, classes, owner).all(rows, samples, progress)


def _samples(
    rows: Sequence[Incoming], files: Mapping[str, tuple[str, str]], batch: Batch, problems: Problems
) -> list[tuple[str, str, str]]:
    """The (sample id, path, object) of each row: looked up among the batch's, so that no path leads anywhere else."""
    by_path = {path: sample for sample, (path, _) in files.items()}
    by_text = _by_content(files) if any(row.text is not None for row in rows) else {}
    such = ", ".join(list(files)[:3])
    found: list[tuple[str, str, str]] = []
    seen: dict[str, str] = {}
    for row in rows:
        sample = row.sample_id if row.sample_id is not None else by_path.get(row.path or "")
        if sample is None and row.text is not None:
            same = by_text.get(_object_of(row.text), [])
            if len(same) != 1:
                problems.add(
                    row.where,
                    "text",
                    f"{len(same)} samples of batch {batch.name} have just this text; name one by sample_id or path",
                )
                continue
            row, sample = replace(row, path=files[same[0]][0]), same[0]
        if sample is None:
            if row.path is not None:
                problems.add(row.where, "path", f"{row.path!r} is no sample's file in batch {batch.name}")
            continue
        if sample not in files:
            problems.add(row.where, "sample_id", f"{sample!r} is not in batch {batch.name}, which has {such}, ...")
            continue
        path, name = files[sample]
        if row.path is not None and row.path != path:
            problems.add(row.where, "path", f"{row.path!r} is not the file of sample {sample!r}, which is {path!r}")
        if sample in seen:
            problems.add(row.where, "sample_id", f"sample {sample!r} is in {seen[sample]} too; keep one of them")
        seen[sample] = row.where
        found.append((sample, path, name))
    return found


def _object_of(text: str) -> str:
    """The name of the object that holds just ``text``."""
    return hashlib.md5(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()


def _by_content(files: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    """Object -> the samples that have just this content."""
    found = defaultdict(list)
    for sample, (_, name) in files.items():
        found[name].append(sample)
    return found


class _Import:
    def __init__(self, session: Session, dataset: Dataset, batch: Batch, classes: Sequence[str], owner: str) -> None:
        self.session, self.dataset, self.batch, self.classes, self.owner = session, dataset, batch, classes, owner
        self.counts = dict.fromkeys(("created", "updated", "unchanged", "left"), 0)
        self.left: list[str] = []

    def all(
        self,
        rows: Sequence[Incoming],
        samples: Sequence[tuple[str, str, str]],
        progress: Callable[[int, int], None] | None,
    ) -> Imported:
        for start in range(0, len(rows), AT_ONCE):
            part = list(zip(rows[start : start + AT_ONCE], samples[start : start + AT_ONCE], strict=True))
            self._some(part, start)
            if progress is not None:
                progress(start + len(part), len(rows))
        return Imported(len(rows), **self.counts, left_rows=tuple(self.left[:MOST_NAMED]))

    def _some(self, part: Sequence[tuple[Incoming, tuple[str, str, str]]], start: int) -> None:
        ids = [sample for _, (sample, _, _) in part]
        tasks = self._live(ids)
        settled = self._settled(ids)
        new = []
        for rank, (row, (sample, path, name)) in enumerate(part, start):
            task = tasks.get(sample)
            if task is None and sample not in settled:
                new.append(self._task(row, rank, sample, path, name))
                continue
            became = "left" if task is None else self._update(task, row, begun=sample in settled)
            self.counts[became] += 1
            if became == "left":
                self.left.append(row.where)
        if new:
            self.session.execute(insert(AnnotationTask), new)
        self.counts["created"] += len(new)
        self.session.flush()

    def _live(self, ids: Sequence[str]) -> dict[str, AnnotationTask]:
        # Locked, so that nobody claims a task while its prediction changes. Whom the lock waits for is not waiting for us:
        # a claim takes no other lock after its task's.
        found = self.session.scalars(
            select(AnnotationTask)
            .where(
                AnnotationTask.dataset_id == self.dataset.id,
                AnnotationTask.kind == "label",
                AnnotationTask.state != "cancelled",
                AnnotationTask.sample_id.in_(ids),
            )
            .order_by(AnnotationTask.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        return {task.sample_id: task for task in found}

    def _settled(self, ids: Sequence[str]) -> set[str]:
        """Samples that have a confirmed label, or an answer to a task that is still there."""
        confirmed = select(ConfirmedAnnotation.sample_id).where(
            ConfirmedAnnotation.dataset_id == self.dataset.id, ConfirmedAnnotation.sample_id.in_(ids)
        )
        answered = select(AnnotationTask.sample_id).where(
            AnnotationTask.dataset_id == self.dataset.id,
            AnnotationTask.kind == "label",
            AnnotationTask.state != "cancelled",
            AnnotationTask.sample_id.in_(ids),
            exists().where(Annotation.task_id == AnnotationTask.id),
        )
        return set(self.session.scalars(confirmed)) | set(self.session.scalars(answered))

    def _update(self, task: AnnotationTask, row: Incoming, *, begun: bool) -> str:
        if task.state != "open" or begun:
            return "left"
        guess = task.prediction if row.guess is None else self._prediction(row.guess)
        if (guess, row.priority) == (task.prediction, task.priority):
            return "unchanged"
        task.prediction, task.priority = guess, row.priority
        return "updated"

    def _task(self, row: Incoming, rank: int, sample: str, path: str, name: str) -> dict[str, Any]:
        even = Guess(dict.fromkeys(self.classes, 1 / len(self.classes)))
        return {
            "dataset_id": self.dataset.id,
            "batch_id": self.batch.id,
            "sample_id": sample,
            "path": path,
            "object": name,
            "prediction": self._prediction(row.guess or even),
            "reason": {"strategy": IMPORTED, "rank": rank, "by": self.owner},
            "priority": row.priority,
            "owner": self.owner,
        }

    def _prediction(self, guess: Guess) -> dict[str, Any]:
        values = np.array([guess.probabilities[name] for name in self.classes])
        made = prediction(values, self.classes, guess.model_version)
        return made | ({"model": guess.model} if guess.model_version == NO_MODEL and guess.model else {})
