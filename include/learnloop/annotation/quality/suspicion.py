"""Confirmed labels that are probably wrong, by confident learning.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 70 (2021), as cleanlab
has it. The probabilities are those that a model gave before it had seen the label, so they are out of sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ENOUGH = 50
"""Thresholds of classes are not known from fewer labels."""


def suspects(labels: Sequence[int], probabilities: np.ndarray[Any, Any]) -> list[int]:
    """Positions of the labels that are probably wrong, the most suspicious first; none of fewer than ``ENOUGH``.

    Args:
        labels: ``[n]`` class indices.
        probabilities: ``[n, k]``, out of sample, rows that sum to 1.
    """
    if len(labels) < ENOUGH:
        return []
    from cleanlab.filter import find_label_issues

    given = np.asarray(labels, dtype=np.int64)
    present = np.unique(given)
    if len(present) < 2:
        return []
    # Confident learning needs an example of every class: those that nobody has given yet are left out, and with them the
    # little that the model thought of them.
    among = probabilities[:, present].astype(np.float64)
    among = among / np.maximum(among.sum(axis=1, keepdims=True), 1e-12)
    found = find_label_issues(
        np.searchsorted(present, given),
        among,
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,  # no processes beside ours
    )
    return [int(position) for position in found]
