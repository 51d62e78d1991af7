"""What of a model's deployment rows becomes a Deployment and a Service: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnloop.errors import InvalidInput
from learnloop.jobs.namespace import kubernetes_name, user_folder
from learnloop.serving.targets import DEFAULT_TAG

if TYPE_CHECKING:
    from learnloop.database import Deployment

MANAGED = {"app.kubernetes.io/managed-by": "learnloop", "app.kubernetes.io/component": "model-server"}
MODEL = "learnloop/model"
ALIAS = "learnloop/alias"
TRACK = "learnloop/track"
VERSION = "learnloop/version"
STABLE = "stable"
CANARY = "canary"
MADE_FOR = "learnloop/made-for"
"""The annotation that says for which row and generation an object was made."""
MOST_CANARY_PERCENT = 50
_PLAIN = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST = 63 - len("-canary")


@dataclass(frozen=True)
class Unit:
    """One alias of a model as pods: ``version``, and perhaps ``canary`` for ``percent`` of the requests."""

    model: str
    alias: str
    version: int
    row: int
    generation: int
    canary: int | None = None
    percent: int = 0

    @classmethod
    def of(cls, row: Deployment) -> Unit:
        return cls(
            row.model_name,
            row.alias,
            row.model_version,
            row.id,
            row.generation,
            row.canary_version,
            row.canary_percent,
        )

    @property
    def name(self) -> str:
        return object_name(self.model, self.alias)

    @property
    def order(self) -> tuple[int, int]:
        """What comes later is larger: a row that was deleted and made again has a larger number."""
        return self.row, self.generation

    def labels(self, track: str | None = None) -> dict[str, str]:
        found = {**MANAGED, MODEL: model_label(self.model), ALIAS: self.alias}
        return found if track is None else {**found, TRACK: track}

    def canaries(self, replicas: int) -> int:
        """How many pods of the canary, beside ``replicas`` others, come closest to its share of the requests.

        A Service gives every pod the same share. At least one, so the share of few replicas is larger than was asked for.

        Raises:
            InvalidInput: it would be more than half.
        """
        if self.canary is None:
            return 0
        check_percent(self.model, self.alias, self.percent)
        return max(1, round(replicas * self.percent / (100 - self.percent)))


@dataclass(frozen=True)
class Wanted:
    """The units of one model that have pods; what is ``current``, and the one of them whose pods it ``leads_to``."""

    model: str
    units: tuple[Unit, ...]
    current: Unit | None = None
    leads_to: Unit | None = None


def wanted_of(model: str, rows: Sequence[Deployment]) -> Wanted:
    """``current`` has pods of its own only where no other alias has the same version: else it leads to that one's."""
    units = [Unit.of(row) for row in sorted(rows, key=lambda row: row.alias)]
    named = tuple(unit for unit in units if unit.alias != DEFAULT_TAG)
    current = next((unit for unit in units if unit.alias == DEFAULT_TAG), None)
    if current is None:
        return Wanted(model, named)
    same = [unit for unit in named if unit.version == current.version]
    if current.canary is not None or not same:
        return Wanted(model, (*named, current), current, current)
    return Wanted(model, named, current, same[-1])


def check_percent(model: str, alias: str, percent: int) -> None:
    """Raise InvalidInput for a share that a canary of pods cannot have."""
    if percent > MOST_CANARY_PERCENT:
        raise InvalidInput(
            f"a canary of {model}:{alias} on Kubernetes gets at most {MOST_CANARY_PERCENT} percent of the requests, not"
            f" {percent}: its pods come on top of the others"
        )


def object_name(model: str, alias: str) -> str:
    """The name of an alias's Deployment and Service: ``{model}-{alias}`` where that can be one.

    Names of models may have capitals, dots and length that a Kubernetes name may not: then it ends in a hash, after ``--``.
    """
    plain = f"{model}-{alias}"
    if _PLAIN.fullmatch(plain) and "--" not in plain and len(plain) <= _LONGEST:
        return plain
    return kubernetes_name(alias, model, longest=_LONGEST)


def model_label(model: str) -> str:
    return user_folder(model)


def made_for(unit: Unit) -> str:
    return json.dumps({"row": unit.row, "generation": unit.generation})


def order_of(found: dict[str, Any]) -> tuple[int, int]:
    """For which row and generation an object was made; smaller than any for one that does not say."""
    try:
        said = json.loads((found["metadata"].get("annotations") or {})[MADE_FOR])
        return int(said["row"]), int(said["generation"])
    except (KeyError, TypeError, ValueError):
        return (0, 0)
