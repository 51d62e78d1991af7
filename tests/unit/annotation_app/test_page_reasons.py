from __future__ import annotations

import pytest

from annotation_app.markup import chosen
from annotation_app.texts import LANGUAGES, catalogue
from learnloop.annotation.strategies import STRATEGIES


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_page_has_a_sentence_for_every_strategy(strategy: str) -> None:
    assert all(catalogue(name).gettext(key := f"chosen.{strategy}") != key for name in LANGUAGES)
    assert not chosen({"strategy": strategy, "margin": 0.1}).startswith("Chosen by")
