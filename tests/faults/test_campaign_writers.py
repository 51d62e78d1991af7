"""Those of the campaign who write, roll back and repair find what is broken.

The platform they ask is played here, so that it can break its word; the campaign runs them against the real one.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from campaign.aftermath import damaged_and_repaired, rolled_back
from campaign.seen import Seen
from campaign.stack import Stack
from campaign.writers import DATASET, Holder, Merger

from learnloop.errors import Conflict, Locked, StaleToken, Unavailable

LOGIN: Any = SimpleNamespace(name="hal", url="", token="")


class Platform:
    """Locks and workspaces, and no word about merges that did not come about. ``broken``: which promise it breaks."""

    def __init__(self, folder: Path, broken: str = "") -> None:
        self.folder, self.broken, self.token, self.asked = folder, broken, 0, 0
        self.expired = False
        self.head: dict[str, int | None] = {}

    def __call__(self, url: str, token: str) -> Platform:
        return self

    def __enter__(self) -> Platform:
        self.asked += 1
        if self.asked % 3 == 0:
            raise Unavailable("an API server is away")
        return self

    def __exit__(self, *given: object) -> None:
        """Nothing to close."""

    def workspaces(self) -> list[dict[str, str]]:
        return [{"name": one.name, "state": "ready", "path": str(one)} for one in self.folder.iterdir()]

    def datasets(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=DATASET, head="lamps_v1.0")]

    def create_workspace(self, version: str, name: str) -> dict[str, str]:
        if (self.folder / name).exists():
            raise Conflict(f"there is {name} already")
        (self.folder / name).mkdir()
        raise Unavailable("the answer is lost")

    def discard_workspace(self, name: str) -> bool:
        return True

    def lock(self, dataset: str, *, seconds: int, key: str) -> dict[str, int]:
        if self.token % 2 and not self.expired:
            self.expired = True
            raise Locked("it is held")
        self.token, self.expired = self.token + 1, False
        return {"token": self.token}

    def unlock(self, dataset: str, token: int) -> bool:
        return True

    def commit_workspace(self, name: str, message: str, *, token: int | None = None) -> dict[str, str]:
        if token is not None and token != self.token and self.broken != "lock":
            raise StaleToken("it is no longer held")
        return {"name": f"lamps_v1.0_{name}"}

    def merge(self, version: str, *, strategy: str) -> dict[str, str]:
        return {"state": "open" if self.broken == "merge" else "merged"}


@pytest.mark.parametrize("broken", ["", "lock"])
def test_who_writes_past_the_expiry_of_a_lock_is_found(broken: str, tmp_path: Path) -> None:
    seen = Seen()
    Holder(LOGIN, Path, seen, threading.Event(), Platform(tmp_path, broken)).once()  # type: ignore[arg-type]
    assert seen.refused == {(DATASET, "note-hal-paused-0.txt")}
    assert list(seen.written) == [(DATASET, "note-hal-next-0.txt")]
    assert [fault for fault in seen.faults if "past its expiry made" in fault] == seen.faults
    assert bool(seen.faults) == bool(broken)


@pytest.mark.parametrize("broken", ["", "merge"])
def test_a_merge_that_does_not_come_about_is_found(broken: str, tmp_path: Path) -> None:
    seen = Seen()
    Merger(LOGIN, Path, seen, threading.Event(), Platform(tmp_path, broken)).once()  # type: ignore[arg-type]
    assert bool(seen.faults) == bool(broken)
    assert seen.merged == (set() if broken else {"lamps_v1.0_mine-0"})
    assert len(seen.written) == len(seen.merged)


class Models:
    """Version 2 is served, and 1 was before."""

    def __init__(self, follows: bool) -> None:
        self.version, self.follows = 2, follows

    def deployments(self) -> list[dict[str, Any]]:
        return [{"model_name": "digits", "alias": "current", "model_version": 2, "previous_version": 1}]

    def roll_back(self, model: str, alias: str, *, seen: int) -> None:
        assert seen == self.version
        self.version = 1 if self.follows else 2

    def promote(self, model: str, alias: str, version: int) -> None:
        self.version = version


def test_a_rollback_that_does_nothing_is_found() -> None:
    for follows in (True, False):
        models: Any = Models(follows)
        found = rolled_back(models, "digits", lambda models=models: models.version, Seen())
        assert found == ([] if follows else ["digits was rolled back from version 2 to 1, and 2 answers"])


class Verifier:
    """``sees`` and ``mends`` damage, or not."""

    def __init__(self, place: Path, sees: bool, mends: bool) -> None:
        self.place, self.sees, self.mends, self.whole = place, sees, mends, place.read_bytes()

    def verify(self, *, repair: bool = False) -> dict[str, Any]:
        damaged = self.place.read_bytes() != self.whole
        if repair and self.mends:
            self.place.chmod(0o644)
            self.place.write_bytes(self.whole)
        return {"problems": [{"name": "ab" + "c" * 30}] if self.sees and damaged else []}


@pytest.mark.parametrize(
    ("sees", "mends", "words"), [(1, 1, ""), (0, 1, "verification found []"), (1, 0, "is not what")]
)
def test_damage_that_is_not_found_or_not_repaired_is_told(sees: bool, mends: bool, words: str, tmp_path: Path) -> None:
    stack = Stack("", "", "", "", store=tmp_path, home=tmp_path)
    name = "ab" + "c" * 30
    stack.place(name).parent.mkdir(parents=True)
    stack.place(name).write_bytes(b"whole")
    stack.place(name).chmod(0o444)
    client: Any = Verifier(stack.place(name), sees, mends)
    found = damaged_and_repaired(client, stack, name, Seen())
    assert any(words in problem for problem in found) if words else found == []
