"""Live requests in the loop: whether what is asked has drifted, and samples of it that people are asked about.

The model server writes both down (`learnloop.serving.live`), where the dataset's ``loop: live:`` says so.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from learnloop.database import LIVE, Batch, Dataset, LiveSample, LiveWindow, ScoringRun
from learnloop.errors import InvalidInput
from learnloop.loop.drift import SMALLEST, psi
from learnloop.loop.facts import Looped
from learnloop.models.deployment import served_version
from learnloop.training.reference import add

if TYPE_CHECKING:
    from learnloop.datasets.store import Store

Shift = tuple[str, float, float]
"""Of what, its population stability index, and what chance alone stays below 95 times in 100."""

SETTLED_MINUTES = 5
"""So long after the last sample came a batch is made of them: not one a sample."""


@dataclass(frozen=True)
class LiveBatch:
    """A batch of live samples that has not been scored."""

    dataset: str
    batch: str

    @property
    def run_id(self) -> str:
        """The id of the DAG run that scores it: so that starting it twice is refused."""
        return f"live-{self.dataset}-{self.batch}"


def live_drift(session: Session, dataset: Looped) -> list[Shift]:
    """How far live requests of the current model have shifted.

    Of the inputs: the newest hours against the training samples, each feature by itself, the worst of them. Of confidence
    and predicted classes: the newest hours against the first. Empty where too few rows were counted.
    """
    version = served_version(session, dataset.name, "current")
    # Each has a row at least, so these are enough, if any are; a version has thousands of them.
    of_version = (
        select(LiveWindow)
        .where(LiveWindow.model_name == dataset.name, LiveWindow.model_version == version, LiveWindow.rows > 0)
        .limit(SMALLEST)
    )
    newest = _enough(session.scalars(of_version.order_by(LiveWindow.started_at.desc())))
    if not newest:
        return []
    found = []
    now = _sum(newest)
    references: list[list[int]] = newest[0].counts.get("reference", [])
    pairs = list(zip(references, now.get("inputs", []), strict=True)) if references else []
    if pairs:
        shifts = [psi(before, after, looks=len(pairs)) for before, after in pairs]
        found.append(("what the model is asked", *max(shifts, key=lambda shift: shift[0] - shift[1])))
    first = _enough(session.scalars(of_version.order_by(LiveWindow.started_at)))
    if not {window.id for window in first} & {window.id for window in newest}:
        before = _sum(first)
        for name in ("confidence", "predicted"):
            if len(before[name]) == len(now[name]):
                found.append(("what the model answers live", *psi(before[name], now[name])))
    return found


def register_live_batches(
    sessions: Callable[[], AbstractContextManager[Session]], store: Store, *, owner: str
) -> list[LiveBatch]:
    """Make a batch of each dataset's live samples, and list all that have not been scored.

    A batch and the removal of what it was made of are one transaction: no sample is lost, none comes twice. Samples that are
    none any more, since the dataset is read otherwise by now, are left out.
    """
    with sessions() as db:
        settled = func.max(LiveSample.seen_at) < func.now() - func.make_interval(0, 0, 0, 0, 0, SETTLED_MINUTES)
        due = db.scalars(select(LiveSample.dataset_id).group_by(LiveSample.dataset_id).having(settled)).all()
    for dataset_id in due:
        with sessions() as db:
            _register(db, store, db.get_one(Dataset, dataset_id), owner)
    with sessions() as db:
        unscored = (
            select(Dataset.name, Batch.name)
            .join(Batch, Batch.dataset_id == Dataset.id)
            .where(
                Batch.provenance["kind"].as_string() == LIVE,
                ~exists().where(ScoringRun.batch_id == Batch.id),
            )
            .order_by(Batch.id)
        )
        return [LiveBatch(*found) for found in db.execute(unscored)]


def _register(db: Session, store: Store, dataset: Dataset, owner: str) -> None:
    from learnloop.datasets.batch import register_batch
    from learnloop.datasets.contents import config_of
    from learnloop.datasets.recipes import recipe_of
    from learnloop.datasets.versions import head_of

    head = head_of(db, dataset)
    waiting = db.scalars(
        select(LiveSample).where(LiveSample.dataset_id == dataset.id).order_by(LiveSample.id).with_for_update()
    ).all()
    if head is None or not waiting:
        return
    config = config_of(store, head)
    recipe = recipe_of(config)
    with tempfile.TemporaryDirectory(prefix="learnloop-live-") as place:
        folder = Path(place) / "live"
        folder.mkdir()
        for sample in waiting:
            try:
                recipe.check(sample.data, sample.md5)
            except InvalidInput:
                continue
            (folder / f"{sample.md5}{_suffix(sample.data, config.task_type)}").write_bytes(sample.data)
        if any(folder.iterdir()):
            name = f"live-{waiting[0].id}-{waiting[-1].id}"
            batch = register_batch(db, store, dataset, Path(place), name=name, owner=owner)
            batch.provenance = {**batch.provenance, "kind": LIVE}
    db.execute(delete(LiveSample).where(LiveSample.id.in_([sample.id for sample in waiting])))


def _suffix(data: bytes, task_type: str) -> str:
    if task_type == "text_classification":
        return ".txt"
    if task_type == "tabular_classification":
        return ".json"
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return f".{str(image.format).lower()}"


def _enough(windows: Iterable[LiveWindow]) -> list[LiveWindow]:
    """The first of them that have enough rows together; none when all have not."""
    taken, rows = [], 0
    for window in windows:
        taken.append(window)
        rows += window.rows
        if rows >= SMALLEST:
            return taken
    return []


def _sum(windows: Sequence[LiveWindow]) -> dict[str, Any]:
    """The counts of several windows of one version."""
    total: dict[str, Any] = {}
    for window in windows:
        for name in ("confidence", "predicted", "inputs"):
            if name in window.counts:
                total[name] = add(total.get(name), window.counts[name])
    return total
