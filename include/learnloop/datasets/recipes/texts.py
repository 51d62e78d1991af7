"""Texts: hashed counts of their words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnloop.datasets.recipes.base import Recipe
from learnloop.errors import InvalidDataset


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """Words and runs of up to ``ngrams`` words, hashed to ``buckets`` counts; the row is log(1 + count) of length 1.

    Hashing (Weinberger et al., ICML 2009) needs no vocabulary: a word that comes up later has its place already, and
    nothing is learned from a test text. Weights by how rare a word is (inverse document frequency) are the trainer's,
    learned from the training split alone.
    """

    buckets: int
    ngrams: int
    lowercase: bool

    @property
    def size(self) -> int:
        return self.buckets

    def parameters(self) -> dict[str, Any]:
        return {"version": 1, "features": "hashed words", **asdict(self)}

    def row(self, data: bytes, where: str) -> NDArray[np.float32]:
        counts = self._vectorizer.transform([text_of(data, where)]).toarray()[0]
        row = np.log1p(counts)
        return np.asarray(row / max(float(np.linalg.norm(row)), 1e-12), dtype=np.float32)

    def check(self, data: bytes, where: str) -> None:
        text_of(data, where)

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(
            n_features=self.buckets,
            ngram_range=(1, self.ngrams),
            lowercase=self.lowercase,
            alternate_sign=False,
            norm=None,
        )


def text_of(data: bytes, where: str) -> str:
    """The text in ``data``.

    Raises:
        InvalidDataset: it is not UTF-8, or there is no text in it.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidDataset(f"{where} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if "\0" in text:
        raise InvalidDataset(f"{where} holds a NUL character: it is no text")
    if not text.strip():
        raise InvalidDataset(f"{where} is empty: a text sample needs some text")
    return text
