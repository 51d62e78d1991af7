"""Does the model meet other data than it did? From what it predicted, as scoring runs keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import ScoringRun
from learnloop.loop.facts import Looped
from learnloop.models.deployment import served_version

BINS = 10
SMALLEST = 50  # samples of each run; PSI of fewer is noise
KEY = "distribution"


def distribution(predictions: Path, classes: int) -> dict[str, list[int]]:
    """How many samples of a scoring run's ``batch-*.parquet`` fall into each tenth of confidence, and to each class."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    confidence, predicted = np.zeros(BINS, dtype=np.int64), np.zeros(classes, dtype=np.int64)
    for file in sorted(predictions.glob("batch-*.parquet")):
        for part in pq.ParquetFile(file).iter_batches(8192, columns=["probabilities"]):
            rows = pc.list_flatten(part.column(0)).to_numpy(zero_copy_only=False).reshape(-1, classes)
            highest = np.minimum((rows.max(axis=1) * BINS).astype(np.int64), BINS - 1)
            confidence += np.bincount(highest, minlength=BINS)
            predicted += np.bincount(rows.argmax(axis=1), minlength=classes)
    return {"confidence": confidence.tolist(), "predicted": predicted.tolist()}


def keep_distribution(run: ScoringRun, classes: int) -> None:
    """Keep it with the run; once."""
    if KEY not in run.summary:
        run.summary = {**run.summary, KEY: distribution(Path(run.predictions), classes)}


def psi(before: Sequence[int], now: Sequence[int], *, looks: int = 1) -> tuple[float, float]:
    """The population stability index of two histograms, and what chance alone stays below 95 times in 100.

    Of ``looks`` pairs, the largest stays below it 95 times in 100 at least (Bonferroni).

    PSI is the sum of (q - p) ln(q / p) over bins (Siddiqi, Credit Risk Scorecards, 2006, which calls 0.1 to 0.25 a small
    shift and more a large one). Of two samples of one population it is about (1/n + 1/m) times chi-squared with one
    degree of freedom less than there are bins (Yurdakul & Naranjo, Journal of Risk Model Validation 2020). Bins that are
    empty in both are left out; half a sample is added to each of the others, so that no share is 0.
    """
    from scipy.stats import chi2

    p, q = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    used = (p + q) > 0
    n, m, bins = p.sum(), q.sum(), int(used.sum())
    if bins < 2 or n == 0 or m == 0:
        return 0.0, 0.0
    p, q = (p[used] + 0.5) / (n + 0.5 * bins), (q[used] + 0.5) / (m + 0.5 * bins)
    return float(np.sum((q - p) * np.log(q / p))), float((1 / n + 1 / m) * chi2.ppf(1 - 0.05 / looks, bins - 1))


def current_drift(session: Session, dataset: Looped) -> tuple[float, float] | None:
    """PSI (and its bound by chance) between the first and the last run that the current model scored.

    One model, so that a difference is the data's. The larger, against its bound, of confidence and of predicted classes.
    None when the model has not scored two batches of enough samples.
    """
    version = served_version(session, dataset.name, "current")
    wanted = (
        select(ScoringRun.summary)
        .where(
            ScoringRun.dataset_id == dataset.id,
            ScoringRun.model_version == version,
            ScoringRun.scored >= SMALLEST,
            ScoringRun.summary[KEY].is_not(None),
        )
        .limit(1)
    )
    first = session.scalar(wanted.order_by(ScoringRun.id))
    last = session.scalar(wanted.order_by(ScoringRun.id.desc()))
    if first is None or last is None or first == last:
        return None
    return _worst(first[KEY], last[KEY])


def _worst(first: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[float, float] | None:
    pairs = [(first[name], last[name]) for name in ("confidence", "predicted") if len(first[name]) == len(last[name])]
    return max((psi(*pair) for pair in pairs), key=lambda found: found[0] - found[1], default=None)
