"""Read a declaration's text: YAML, or JSON, which is YAML too. Nothing but mappings, lists and plain values comes out.

PyYAML's events are put together here and not by one of its loaders: those follow aliases (a few lines can stand for
gigabytes), let the last of two equal keys win, and take ``no`` for false and ``2026-01-01`` for a date.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from learnloop.errors import InvalidInput

MOST_BYTES = 128 * 1024
MOST_VALUES = 20_000
DEEPEST = 24
"""How deep mappings and lists may lie in one another."""

# YAML 1.2's core schema, which is JSON's too: what is not one of these, and stands without quotes, is text.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LARGEST = 2**63 - 1
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_UNSTORABLE_SAID = "text may hold neither NUL nor half a character (a surrogate)"
_NOT_JSON = object()


def read_declaration(text: str) -> dict[str, Any]:
    """The mapping that ``text`` holds.

    Raises:
        InvalidInput: too long, not YAML, or with what a declaration may not have (aliases, tags, equal keys...); the
            problems name the line.
    """
    if len(text) > MOST_BYTES or len(text.encode(errors="surrogatepass")) > MOST_BYTES:
        raise InvalidInput(f"the declaration is longer than {MOST_BYTES // 1024} KiB: give large values as an input")
    try:
        found = _json(text) if text.lstrip().startswith("{") else _NOT_JSON
        if found is _NOT_JSON:
            found = _Reader(text).document()
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        raise _wrong(error.problem or error.context or "not YAML", where) from error
    except yaml.reader.ReaderError as error:
        raise _wrong(f"{error.reason} (character {error.character!r})", None) from error
    except UnicodeEncodeError as error:
        raise _wrong(_UNSTORABLE_SAID, None) from error
    if not isinstance(found, dict):
        raise _wrong("must be a mapping with name and stages", None)
    return found


def _json(text: str) -> Any:
    """What ``text`` is as JSON (YAML does not take all that JSON may escape), checked as YAML is; else ``_NOT_JSON``."""
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_not_finite)
    except ValueError:
        return _NOT_JSON
    except RecursionError as error:
        raise _wrong(f"nested more than {DEEPEST} deep", None) from error
    _check(found, [0], 1)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _wrong(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice", None)
    return found


def _not_finite(text: str) -> Any:
    raise _wrong(f"{text} is no number that JSON has", None)


def _check(value: Any, seen: list[int], depth: int) -> None:
    seen[0] += 1
    if seen[0] > MOST_VALUES:
        raise _wrong(f"more than {MOST_VALUES} values", None)
    if depth > DEEPEST:
        raise _wrong(f"nested more than {DEEPEST} deep", None)
    if isinstance(value, dict):
        for name, inner in value.items():
            _check(name, seen, depth + 1)
            _check(inner, seen, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, seen, depth + 1)
    elif isinstance(value, str) and _UNSTORABLE.search(value):
        raise _wrong(_UNSTORABLE_SAID, None)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise _wrong(f"{str(value)[:30]} is too large for a whole number; put it into quotes", None)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong("a number is too large; put it into quotes", None)


class _Reader:
    def __init__(self, text: str) -> None:
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        self._events: Iterator[Any] = yaml.parse(text, Loader=loader)
        self._values = 0

    def document(self) -> Any:
        next(self._events)  # the stream's start
        first = next(self._events)
        if isinstance(first, yaml.StreamEndEvent):
            return None
        found = self._value(next(self._events), 1)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _wrong("a second document begins; a declaration is one", after.start_mark)
        return found

    def _value(self, event: Any, depth: int) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _wrong(f"more than {MOST_VALUES} values", event.start_mark)
        if depth > DEEPEST:
            raise _wrong(f"nested more than {DEEPEST} deep", event.start_mark)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _wrong("anchors and aliases (&, *) are not taken: write it out", event.start_mark)
        if event.tag is not None and event.tag != "!":
            raise _wrong(f"the tag {event.tag} is not taken: write a plain value", event.start_mark)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth)
        if isinstance(event, yaml.SequenceStartEvent):
            found = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                found.append(self._value(inner, depth + 1))
            return found
        return _scalar(event)

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            name = self._value(key, depth + 1)
            if not isinstance(name, str):
                if isinstance(name, (dict, list)):
                    raise _wrong("a key must be text", key.start_mark)
                name = key.value  # `on: ...`, `1: ...`: keys are names, as in JSON
            if name == "<<":
                raise _wrong("merge keys (<<) are not taken: write it out, or use extends", key.start_mark)
            if name in found:
                raise _wrong(f"{name!r} stands there twice", key.start_mark)
            found[name] = self._value(next(self._events), depth + 1)
        return found


def _scalar(event: Any) -> Any:
    text: str = event.value
    if _UNSTORABLE.search(text):
        raise _wrong(_UNSTORABLE_SAID, event.start_mark)
    if not event.implicit[0] or event.tag == "!":
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _NOT_FINITE.fullmatch(text):
        raise _wrong(f"{text} is no number that JSON has", event.start_mark)
    if _WHOLE.fullmatch(text):
        if len(text) > 20 or abs(int(text)) > _LARGEST:
            raise _wrong(f"{text[:30]} is too large for a whole number; put it into quotes", event.start_mark)
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise _wrong(f"{text[:30]} is too large for a number; put it into quotes", event.start_mark)
        return number
    return text


def _wrong(problem: str, mark: Any) -> InvalidInput:
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return InvalidInput("the declaration cannot be read", [f"{where}{problem}"])
