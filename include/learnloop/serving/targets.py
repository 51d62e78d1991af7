"""What each alias leads to. Whoever changes it holds the lock of the `ModelSet`; reading needs none."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from learnloop.serving.versions import Key

DEFAULT_TAG = "current"


@dataclass(frozen=True)
class Target:
    """What an alias leads to: a version; a canary that gets a share of the requests; the version before."""

    version: int
    canary: int | None = None
    share: float = 0.0
    previous: int | None = None
    moved_at: float = 0.0


class Targets:
    """The aliases, by ``{name}:{alias}``. Never changed in place: who reads them sees one state of all of them."""

    def __init__(self) -> None:
        self.all: Mapping[str, Target] = {}
        self._random = random.Random()  # noqa: S311 - which of two versions answers is no secret

    def find(self, name: str, version: int | None, *, canary: bool) -> Key | None:
        """The version that ``name`` (``digits``, ``digits:realtime``, ``digits:3``) leads to, or ``version`` of it.

        Args:
            canary: with its share of chance, it is the alias's canary.
        """
        if version is not None:
            return name, version
        model, _, tag = name.partition(":")
        if tag.isdecimal():
            return model, int(tag)
        target = self.all.get(tagged(name))
        if target is None:
            return None
        chosen = target.version
        if canary and target.canary is not None and self._random.random() < target.share:
            chosen = target.canary
        return model, chosen

    def stand_in(self, name: str, faulty: int) -> int | None:
        """The version that takes over for a faulty one under an alias.

        For a canary, and for what was taken back since, that is the alias's own version; for that one the version before,
        during its probation.
        """
        target = self.all.get(tagged(name))
        if target is None:
            return None
        return target.previous if faulty == target.version else target.version

    def led_to(self) -> set[Key]:
        """Every version that an alias leads to, may lead to, or may fall back to."""
        return {
            (alias.rpartition(":")[0], version)
            for alias, target in self.all.items()
            for version in (target.version, target.canary, target.previous)
            if version is not None
        }

    def move(self, alias: str, version: int) -> bool:
        """Lead an alias to a version. Returns whether it led elsewhere before."""
        target = self.all.get(alias)
        if target is not None and target.version == version:
            return False
        previous = None if target is None else target.version
        self._replace(alias, Target(version, previous=previous, moved_at=time.monotonic()))
        return True

    def set_canary(self, alias: str, version: int | None, share: float) -> bool:
        """Give ``version`` a share of an alias's requests; None: none. Returns whether that is new."""
        target = self.all[alias]
        changed = replace(target, canary=version, share=share if version is not None else 0.0)
        self._replace(alias, changed)
        return changed != target

    def take_back(self, bad: Key, here: Collection[Key]) -> list[str]:
        """Lead every alias away from ``bad`` where the version before is ``here``; returns which."""
        name, version = bad
        moved = []
        for alias, target in self.all.items():
            if not alias.startswith(f"{name}:"):
                continue
            if target.canary == version:
                self._replace(alias, replace(target, canary=None, share=0.0))
            elif target.version == version and target.previous is not None and (name, target.previous) in here:
                self._replace(alias, Target(target.previous, moved_at=time.monotonic()))
            else:
                continue
            moved.append(alias)
        return moved

    def end_probation(self, seconds: float) -> None:
        """Forget the version before, of aliases that moved longer ago than ``seconds``."""
        before = time.monotonic() - seconds
        for alias, target in self.all.items():
            if target.previous is not None and target.moved_at <= before:
                self._replace(alias, replace(target, previous=None))

    def keep(self, wanted: Collection[str]) -> None:
        """Drop every alias but the ``wanted`` ones."""
        self.all = {alias: target for alias, target in self.all.items() if alias in wanted}

    def _replace(self, alias: str, target: Target) -> None:
        self.all = {**self.all, alias: target}


def tagged(name: str) -> str:
    """``digits`` is ``digits:current``."""
    return name if ":" in name else f"{name}:{DEFAULT_TAG}"
