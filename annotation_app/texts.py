"""What the page says, in the language that the person chose: gettext catalogues in ``locale``, one a language.

Messages have names ("task.question") and not English sentences as ids: English is a catalogue like the others, and a
sentence can be mended without touching every translation. The ``.po`` files are compiled when they are first needed (Babel
reads them, which Airflow brings along): no compiled file is kept that could be older than its source.
"""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path

import streamlit as st
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from streamlit.runtime.scriptrunner import get_script_run_ctx

LOCALE = Path(__file__).parent / "locale"
LANGUAGES = {"en": "English", "zh_CN": "中文"}
DEFAULT = "en"
CHOSEN = "chosen_language"
"""Where the session keeps the choice."""


def language() -> str:
    """The language of the page that is being drawn."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return DEFAULT
    chosen = st.session_state.get(CHOSEN, DEFAULT)
    return chosen if chosen in LANGUAGES else DEFAULT


def text(key: str, **values: object) -> str:
    """The message ``key`` with its placeholders filled in. A ``count`` chooses the plural, where there is one.

    Raises:
        KeyError: no such message (a programming error; a test looks for it).
    """
    messages = catalogue(language())
    found = key
    if isinstance(count := values.get("count"), int):
        found = messages.ngettext(key, key, count)
    if found == key:
        found = messages.gettext(key)
    if found == key:
        raise KeyError(key)
    return found.format(**values)


def in_source(key: str) -> str:
    """The message as it is stored where others read it, who may have chosen another language."""
    return catalogue(DEFAULT).gettext(key)


def has(key: str) -> bool:
    return catalogue(language()).gettext(key) != key


@cache
def catalogue(name: str, domain: str = "page") -> gettext.GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, _source(name, domain))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def translations(name: str, domain: str) -> dict[str, str]:
    """Each message of a catalogue that is translated, and its translation."""
    return {str(one.id): str(one.string) for one in _source(name, domain) if one.id and one.string and not one.fuzzy}


def _source(name: str, domain: str) -> Catalog:
    with (LOCALE / name / "LC_MESSAGES" / f"{domain}.po").open("rb") as source:
        return read_po(source, locale=name, abort_invalid=True)
