"""One sample in a store, for tasks that are answered through the API: it refuses answers about what is not there."""

from __future__ import annotations

from pathlib import Path

from learnloop.datasets.store import Store
from learnloop.datasets.writing import md5_of_bytes

CONTENT = b"a sample"
SAMPLE = md5_of_bytes(CONTENT)
"""The name of its object."""


def put_sample(store: Path) -> Path:
    """Store it; returns the object's file."""
    return Store(store).path_of(Store(store).add_bytes(CONTENT))
