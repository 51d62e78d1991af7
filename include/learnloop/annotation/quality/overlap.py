"""The answers of samples that several people have answered, as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from learnloop.annotation.quality import agreement
from learnloop.database import Dataset

MOST_ANSWERS = 200_000
"""The newest answers that are read; the older say little of how people answer now."""
SHARED = 10
"""Two people's kappa is not told from fewer samples than that."""

# The label of a gold question is known, and so is what a reviewer decided.
_ANSWERS = text(
    """
    SELECT sample_id, owner, label, truth FROM (
        SELECT task.sample_id, annotation.owner, annotation.label, annotation.id,
               coalesce(task.gold_label, review.label) AS truth,
               count(*) OVER (PARTITION BY task.sample_id) AS together
        FROM annotations AS annotation
        JOIN annotation_tasks AS task ON task.id = annotation.task_id
        LEFT JOIN LATERAL (SELECT label FROM reviews WHERE reviews.task_id = task.id AND decision = 'confirm'
                           ORDER BY id DESC LIMIT 1) AS review ON true
        WHERE annotation.dataset_id = :dataset AND annotation.review_id IS NULL AND annotation.label IS NOT NULL
          AND annotation.outcome <> 'withdrawn' AND annotation.withdrawn_at IS NULL
    ) AS answers
    WHERE together > 1 OR truth IS NOT NULL
    ORDER BY id DESC LIMIT :most
    """
)


@dataclass(frozen=True)
class Answers:
    """One answer a row: indices into ``samples``, ``people`` and the dataset's classes. ``known``: samples' true classes."""

    samples: Sequence[str]
    people: Sequence[str]
    sample: np.ndarray[Any, np.dtype[np.int64]]
    person: np.ndarray[Any, np.dtype[np.int64]]
    label: np.ndarray[Any, np.dtype[np.int64]]
    known: dict[int, int]
    n_classes: int

    def __len__(self) -> int:
        return len(self.sample)

    def ratings(self) -> agreement.Ratings:
        """``[n_samples, n_people]`` of class indices; a gold question that one person met twice has their first answer."""
        table = np.full((len(self.samples), len(self.people)), agreement.MISSING, dtype=np.int64)
        table[self.sample[::-1], self.person[::-1]] = self.label[::-1]
        return table


def answers_of(session: Session, dataset: Dataset) -> Answers:
    """Answers to samples that several people answered, or whose label is known. Labels that are no class any more are
    left out.
    """
    classes = {name: index for index, name in enumerate(dataset.loop.get("classes", ()))}
    rows = [
        row for row in session.execute(_ANSWERS, {"dataset": dataset.id, "most": MOST_ANSWERS}) if row.label in classes
    ][::-1]
    samples = {name: index for index, name in enumerate(dict.fromkeys(row.sample_id for row in rows))}
    people = {name: index for index, name in enumerate(sorted({row.owner for row in rows}))}
    return Answers(
        list(samples),
        list(people),
        np.array([samples[row.sample_id] for row in rows], dtype=np.int64),
        np.array([people[row.owner] for row in rows], dtype=np.int64),
        np.array([classes[row.label] for row in rows], dtype=np.int64),
        {samples[row.sample_id]: classes[row.truth] for row in rows if row.truth in classes},
        len(classes),
    )


def agreement_of(answers: Answers) -> dict[str, Any]:
    """Krippendorff's alpha over all samples with two answers or more, Fleiss' kappa over those with the number of
    answers that most have, and Cohen's kappa of each pair of people who share ``SHARED`` samples.
    """
    ratings = answers.ratings()
    counts = agreement.counts_of(ratings, answers.n_classes)
    together = counts.sum(axis=1)
    sizes = Counter(int(size) for size in together if size > 1)
    most = max(sizes, key=lambda size: (sizes[size], size)) if sizes else 0
    pairs = []
    for first, second in combinations(range(len(answers.people)), 2):
        both = (ratings[:, first] != agreement.MISSING) & (ratings[:, second] != agreement.MISSING)
        if both.sum() >= SHARED:
            kappa = agreement.cohen(ratings[both, first].tolist(), ratings[both, second].tolist(), answers.n_classes)
            pair = [answers.people[first], answers.people[second]]
            pairs.append({"people": pair, "samples": int(both.sum()), "cohen_kappa": kappa})
    return {
        "samples": int((together > 1).sum()),
        "krippendorff_alpha": agreement.krippendorff(counts),
        "fleiss_kappa": agreement.fleiss(counts[together == most]) if most else None,
        "fleiss_answers": most or None,
        "pairs": pairs,
    }
