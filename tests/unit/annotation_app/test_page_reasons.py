from __future__ import annotations

import pytest

from annotation_app.markup import chosen
from annotation_app.texts import TEXTS
from learnloop.annotation.strategies import STRATEGIES


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_page_has_a_sentence_for_every_strategy(strategy: str) -> None:
    assert all(f"chosen.{strategy}" in sentences for sentences in TEXTS.values())
    assert not chosen({"strategy": strategy, "margin": 0.1}).startswith("Chosen by")
