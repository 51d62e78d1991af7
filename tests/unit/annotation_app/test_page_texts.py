import re
import string
from pathlib import Path

import pytest

import annotation_app
from annotation_app.keys import SKIP_KEYS
from annotation_app.texts import TEXTS, text

SOURCES = [path.read_text() for path in Path(annotation_app.__path__[0]).glob("*.py")]


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_every_sentence_asked_for_exists_and_every_sentence_is_asked_for() -> None:
    asked = {key for source in SOURCES for key in re.findall(r'"([a-z_]+(?:\.[a-z_]+)*)"', source)}
    built = {f"skip.{reason}" for reason in SKIP_KEYS} | {
        key for key in TEXTS["en"] if key.startswith(("chosen.", "review.kind."))
    }
    direct = {key for source in SOURCES for key in re.findall(r"""\btext\(["']([a-z_.]+)["']""", source)}
    assert direct <= set(TEXTS["en"])
    assert set(TEXTS["en"]) <= asked | built


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_languages_agree_in_keys_and_placeholders(language: str) -> None:
    english, other = TEXTS["en"], TEXTS[language]
    assert set(other) == set(english)
    assert {key: placeholders(other[key]) for key in english} == {key: placeholders(english[key]) for key in english}


def test_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError, match="no_such"):
        text("no_such")
