"""Three ``dataset.yaml`` become one, setting by setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnloop.datasets.merge.trees import Choice

CLASSES = "classes"

_NOTHING: Mapping[str, Choice] = {}
_ABSENT = object()


@dataclass(frozen=True)
class SettingConflict:
    """A setting (``image.width``) that both sides changed, each otherwise; None where it is not there."""

    setting: str
    base: Any
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class ConfigMerge:
    """What came of it; ``notes`` tell what was decided that nobody was asked about."""

    content: dict[str, Any]
    conflicts: tuple[SettingConflict, ...]
    notes: tuple[str, ...]


def merge_configs(
    base: Mapping[str, Any],
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    choices: Mapping[str, Choice] = _NOTHING,
) -> ConfigMerge:
    """Merge what two sides did to the parsed content of a ``dataset.yaml``; a list is one setting.

    Where both sides only added classes, the result has the classes of both: those of the base, then ours, then theirs.
    """
    sides = [_settings(content) for content in (base, ours, theirs)]
    merged: dict[str, Any] = {}
    conflicts, notes = [], []
    for setting in dict.fromkeys([*sides[1], *sides[2], *sides[0]]):
        before, mine, other = (side.get(setting, _ABSENT) for side in sides)
        value = mine
        if mine == before:
            value = other
        elif other not in (before, mine):
            if setting == CLASSES and (union := _union(before, mine, other)) is not None:
                value = union
                notes.append(f"classes: both sides added some; the result has those of both: {', '.join(union)}")
            else:
                value = {"ours": mine, "theirs": other, "base": before}[choices.get(setting, "ours")]
                conflicts.append(SettingConflict(setting, _shown(before), _shown(mine), _shown(other)))
        if value is not _ABSENT:
            merged[setting] = value
    return ConfigMerge(_nested(merged), tuple(conflicts), tuple(notes))


def _settings(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            found |= _settings(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for setting, value in settings.items():
        *parents, name = setting.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return content


def _union(before: Any, mine: Any, other: Any) -> list[str] | None:
    """The classes of both sides, when neither took one away or moved one; else None."""
    if before is _ABSENT or mine is _ABSENT or other is _ABSENT:
        return None
    if mine[: len(before)] != before or other[: len(before)] != before:
        return None
    return list(dict.fromkeys([*mine, *other]))


def _shown(value: Any) -> Any:
    return None if value is _ABSENT else value
