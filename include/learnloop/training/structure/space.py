"""The structures that a search may try, as plain data: what `learnloop.training.trial` takes. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Candidate = dict[str, Any]
"""``{"trainer": {"name", "hidden", "parameters"}, "start": "warm" | "cold" | "grown"}``.

``warm``: as a round trains. ``cold``: from fresh weights. ``grown``: from the current network, brought into this structure.
"""

WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
MOST_LAYERS = 4
WEIGHTS_A_LABEL = 500  # a structure with more is not tried: so little data cannot tell it from a smaller one
LINEAR_AND_TREES = ("logistic", "sgd", "boosting")


@dataclass(frozen=True)
class Space:
    """What there is to search.

    Attributes:
        current: the trainer that rounds train with now: ``name``, ``hidden``, ``parameters``.
        families: names of trainers that may be tried.
        classes: how many.
        labels: labelled training samples.
    """

    current: Mapping[str, Any]
    families: Sequence[str]
    classes: int
    labels: int

    @property
    def hidden(self) -> list[int]:
        return [int(width) for width in self.current.get("hidden") or [32]]

    @property
    def family(self) -> str:
        return str(self.current.get("name", "mlp"))

    def perceptron(self, hidden: Sequence[int], start: str = "cold") -> Candidate:
        """A perceptron of these widths; ``grown`` only where there is a network to grow it from."""
        if self.family != "mlp" or len(hidden) < len(self.hidden):
            start = "cold"
        elif list(hidden) == self.hidden:
            start = "warm"
        kept = self.current.get("parameters") or {} if self.family == "mlp" else {}
        return {"trainer": {"name": "mlp", "hidden": list(hidden), "parameters": dict(kept)}, "start": start}

    def other(self, name: str, **parameters: Any) -> Candidate:
        """A trainer without layers. It keeps the dataset's widths, should a perceptron come again."""
        if name == self.family:
            parameters = {**(self.current.get("parameters") or {}), **parameters}
        return {"trainer": {"name": name, "hidden": self.hidden, "parameters": parameters}, "start": "cold"}

    def fits(self, hidden: Sequence[int]) -> bool:
        """Whether there is enough data for a network of these widths."""
        weights = sum(a * b for a, b in zip(hidden, [*hidden[1:], self.classes], strict=True))
        return weights <= WEIGHTS_A_LABEL * self.labels and WIDTHS[0] <= min(hidden) and max(hidden) <= WIDTHS[-1]


def first_candidates(space: Space) -> Iterator[Candidate]:
    """The current structure, then what lies next to it, the most promising first.

    Widened from fresh weights and grown: a network that was too small may have settled where more units do not lead it
    away (docs/structure.md has figures). A deeper or pruned one is grown: that is better than fresh weights.
    """
    yield {
        "trainer": {
            "name": space.family,
            "hidden": space.hidden,
            "parameters": dict(space.current.get("parameters") or {}),
        },
        "start": "warm",
    }
    seen = [space.hidden] if space.family == "mlp" else []
    if "mlp" in space.families:
        near = [
            ([width * 2 for width in space.hidden], "cold"),
            ([*space.hidden, space.hidden[-1]], "grown"),
            ([width // 2 for width in space.hidden], "grown"),
            ([width * 2 for width in space.hidden], "grown"),
        ]
        if space.family != "mlp":
            near = [(space.hidden, "cold"), near[0]]
        for hidden, start in near:
            if hidden not in seen and space.fits(hidden) and len(hidden) <= MOST_LAYERS:
                yield space.perceptron(hidden, start)
    for name in LINEAR_AND_TREES:
        if name in space.families and name != space.family:
            yield space.other(name)


def key(candidate: Candidate) -> tuple[Any, ...]:
    """Equal for candidates that are the same."""
    trainer = candidate["trainer"]
    hidden = tuple(trainer["hidden"]) if trainer["name"] == "mlp" else ()
    start = candidate["start"] if trainer["name"] == "mlp" else "cold"
    return trainer["name"], hidden, tuple(sorted(trainer["parameters"].items())), start


def described(candidate: Candidate) -> str:
    """Such as ``mlp 64-32, grown`` or ``boosting leaves=31``."""
    trainer, start = candidate["trainer"], candidate["start"]
    words = [trainer["name"]]
    if trainer["name"] == "mlp":
        words.append("-".join(str(width) for width in trainer["hidden"]))
    words += [
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(trainer["parameters"].items())
    ]
    return " ".join(words) + (", grown" if start == "grown" else "")


def job_params(candidate: Candidate, space: Space) -> dict[str, Any]:
    """The params of the trial's job."""
    current = {name: space.current[name] for name in ("name", "hidden", "parameters") if name in space.current}
    return {
        **candidate["trainer"],
        "start": candidate["start"],
        "current": current if candidate["start"] != "cold" else None,
    }
