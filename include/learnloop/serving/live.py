"""Writes down what was noted of live requests (`learnloop.serving.noting`), where the dataset's loop reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import LIVE, Batch, LiveSample, LiveWindow, session
from learnloop.serving.metrics import Metrics
from learnloop.serving.noting import LiveRules, Noted, Notes, Sample, Window, merged
from learnloop.serving.versions import Key


class Recorder(Notes):
    """Notes of a server that has the database, told to write them down (`flush`)."""

    def __init__(self, database_url: str, metrics: Metrics) -> None:
        super().__init__()
        self._database_url = database_url
        self._metrics = metrics

    def flush(self) -> None:
        """Write down what was noted since; what cannot be written now is kept for the next time.

        Raises:
            SQLAlchemyError: the database did not answer.
        """
        noted = self.take()
        if not noted:
            return
        try:
            with session(self._database_url) as db:
                write(db, self.rules, noted)
        except BaseException:
            self.give_back(noted)
            raise
        for (key, _), window in noted.windows.items():
            self._metrics.recorded(key[0], window.rows)


def write(db: Session, rules: Mapping[str, LiveRules], noted: Noted) -> None:
    """Add it to what is there; of models that ``rules`` do not name, nothing."""
    for (key, hour), window in sorted(noted.windows.items(), key=lambda found: found[0]):
        if key[0] in rules:
            _add_window(db, rules[key[0]].dataset_id, key, hour, window)
    for name, of in rules.items():
        mine = {md5: sample for (model, md5), sample in noted.samples.items() if model == name}
        if mine:
            _add_samples(db, of, mine)


def _add_window(db: Session, dataset_id: int, key: Key, hour: datetime, window: Window) -> None:
    place = {"model_name": key[0], "model_version": key[1], "started_at": hour}
    db.execute(insert(LiveWindow).values(**place, dataset_id=dataset_id, rows=0, counts={}).on_conflict_do_nothing())
    row = db.scalars(select(LiveWindow).filter_by(**place).with_for_update()).one()
    row.rows += window.rows
    row.counts = merged(row.counts, window.counts)


def _add_samples(db: Session, rules: LiveRules, samples: Mapping[str, Sample]) -> None:
    """The least sure first, as many as the dataset wants a day."""
    today = select(func.count()).where(
        LiveSample.dataset_id == rules.dataset_id, LiveSample.seen_at > func.now() - func.make_interval(0, 0, 0, 1)
    )
    room = rules.ask_a_day - (db.scalar(today) or 0) - _in_batches_today(db, rules.dataset_id)
    for md5, sample in sorted(samples.items(), key=lambda found: found[1].confidence)[: max(room, 0)]:
        values = {"model_version": sample.version, "data": sample.data, "confidence": sample.confidence}
        new = insert(LiveSample).values(dataset_id=rules.dataset_id, md5=md5, **values)
        db.execute(new.on_conflict_do_nothing())


def _in_batches_today(db: Session, dataset_id: int) -> int:
    made = select(func.coalesce(func.sum(Batch.samples), 0)).where(
        Batch.dataset_id == dataset_id,
        Batch.provenance["kind"].as_string() == LIVE,
        Batch.created_at > func.now() - func.make_interval(0, 0, 0, 1),
    )
    return int(db.scalar(made) or 0)
