"""What the features that a model was trained on were like: what live requests are held against."""

from __future__ import annotations

from typing import Any

import numpy as np

from learnloop.training.data import Rows

FILE = "reference.json"
FEATURES = 32
BINS = 10


def reference(X: Rows) -> dict[str, Any]:
    """Tenths of the features that vary most, at most 32 of them: ``{features, edges, counts}``.

    ``edges[i]`` are the inner borders of feature ``features[i]``'s bins; of equal ones there is one, so a feature that is
    mostly 0 has fewer bins. ``counts[i]`` are how many rows fell into each. No row can be told from them.
    """
    spread = X.std(axis=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:FEATURES])
    chosen = chosen[spread[chosen] > 0]
    edges = [np.unique(np.quantile(X[:, index], np.arange(1, BINS) / BINS)) for index in chosen]
    return {
        "features": chosen.tolist(),
        "edges": [edge.tolist() for edge in edges],
        "counts": [counts(X[:, index], edge) for index, edge in zip(chosen, edges, strict=True)],
    }


def counts(values: Rows, edges: Any) -> list[int]:
    """How many ``values`` fall into each bin; a value at a border belongs to the bin above it."""
    found: list[int] = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
    return found


def add(before: Any, more: Any) -> Any:
    """Two histograms, or lists of them, added up; ``before`` may be None."""
    if before is None:
        return more
    if isinstance(more, list):
        return [add(one, other) for one, other in zip(before, more, strict=True)]
    return before + more
