"""What went wrong, in words for the person at the page and in their language.

The API says it in English. Its sentences are in the catalogue ``errors`` as they are in its source, with the placeholders
of their f-strings; what a placeholder stood for is translated in turn, if it is a sentence of the catalogue itself.
"""

from __future__ import annotations

import re
from functools import cache

from annotation_app.texts import language, text, translations
from learnloop.errors import LearnloopError

SOURCE = "en"
"""The language of the API."""
PROBLEM = "\n  - "
PLACE = re.compile(r"(row|line|task) (\d+)")
"""Where in a file, as imports say it."""
IN_FILE = re.compile(r"(\w+ \d+), ([\w.]+): (.*)", re.DOTALL)
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def said(error: LearnloopError | str) -> str:
    """The error in the person's language; a sentence that has no translation is quoted as it came."""
    words = str(error)
    if language() == SOURCE or not isinstance(error, LearnloopError):
        return words
    sentence, *problems = words.split(PROBLEM)  # as InvalidInput lists them
    whole = translated(sentence, language()) or text("error.quoted", words=sentence)
    return PROBLEM.join([whole, *map(_problem, problems)])


def _problem(words: str) -> str:
    """One of several. Of a file that was to be imported it says where, in which field, and what."""
    found = IN_FILE.fullmatch(words)
    if found is None:
        return _value(words, language())
    where, field, fault = found.groups()
    return text("error.in_file", where=_value(where, language()), field=field, fault=_value(fault, language()))


def reason(words: str) -> str:
    """A sentence of the API's that is no error, in the person's language if it has one."""
    return words if language() == SOURCE else translated(words, language()) or words


def skipped(words: str) -> str:
    """Why somebody skipped a task: one of the page's reasons, and after a colon what they said themselves."""
    first, colon, comment = words.partition(": ")
    return f"{reason(first)}{colon}{comment}"


def translated(words: str, name: str) -> str | None:
    """``words`` in the language ``name``; None when no sentence of its catalogue fits."""
    for pattern, names, other in _sentences(name):
        found = pattern.fullmatch(words)
        if found is not None:
            values = dict(zip(names, found.groups(), strict=True))
            return PLACEHOLDER.sub(lambda part: _value(values[part[1]], name), other)  # noqa: B023 - called at once
    return None


def _value(given: str, name: str) -> str:
    place = PLACE.fullmatch(given)
    if place is not None:
        return text(f"error.place.{place[1]}", number=place[2])
    return translated(given, name) or given


@cache
def _sentences(name: str) -> list[tuple[re.Pattern[str], list[str], str]]:
    """Those with the most words of their own first: of two that fit, the one that says more."""
    found = []
    for key, other in translations(name, "errors").items():
        parts = PLACEHOLDER.split(key)
        pattern = "".join(re.escape(part) if number % 2 == 0 else "(.+)" for number, part in enumerate(parts))
        found.append((re.compile(pattern, re.DOTALL), parts[1::2], other, sum(map(len, parts[::2]))))
    return [one[:3] for one in sorted(found, key=lambda one: -one[3])]
