"""The answers of samples that several people have answered, as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
MOST_PEOPLE = 50
"""Pairs are told of the people with the most answers: of hundreds there would be tens of thousands."""

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

    def first(self) -> Answers:
        """Each person's first answer to each sample: a gold question may be met twice."""
        _, kept = np.unique(self.sample * len(self.people) + self.person, return_index=True)
        return replace(self, sample=self.sample[kept], person=self.person[kept], label=self.label[kept])

    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many people gave each sample each class: ``[n_samples, n_classes]``."""
        table = np.zeros((len(self.samples), self.n_classes), dtype=np.int64)
        np.add.at(table, (self.sample, self.label), 1)
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
    answers = answers.first()
    counts = answers.counts()
    together = counts.sum(axis=1)
    sizes = Counter(int(size) for size in together if size > 1)
    most = max(sizes, key=lambda size: (sizes[size], size)) if sizes else 0
    return {
        "samples": int((together > 1).sum()),
        "krippendorff_alpha": agreement.krippendorff(counts),
        "fleiss_kappa": agreement.fleiss(counts[together == most]) if most else None,
        "fleiss_answers": most or None,
        "pairs": _pairs(answers),
    }


def _pairs(answers: Answers) -> list[dict[str, Any]]:
    busiest = [person for person, _ in Counter(answers.person.tolist()).most_common(MOST_PEOPLE)]
    of = {person: answers.person == person for person in sorted(busiest)}
    pairs = []
    for one, other in combinations(of, 2):
        shared, mine, theirs = np.intersect1d(
            answers.sample[of[one]], answers.sample[of[other]], assume_unique=True, return_indices=True
        )
        if len(shared) >= SHARED:
            kappa = agreement.cohen(
                answers.label[of[one]][mine].tolist(), answers.label[of[other]][theirs].tolist(), answers.n_classes
            )
            people = [answers.people[one], answers.people[other]]
            pairs.append({"people": people, "samples": len(shared), "cohen_kappa": kappa})
    return pairs
