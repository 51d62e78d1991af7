"""Who writes to a dataset of their own all the time: two who merge at once, and one who holds the lock past its expiry."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from learnloop.client import LearnloopClient
from learnloop.errors import Conflict, LearnloopError, Locked

from .login import Login
from .seen import Seen

DATASET = "lamps"
PAUSE = 3.0
LOCK_SECONDS, NEXT_LOCK_SECONDS = 5, 120
GIVEN_UP_SECONDS = 240
Answer = TypeVar("Answer")


class Ended(Exception):
    """The campaign is over, and it is not known what came of what was asked last."""


class _Writer(threading.Thread):
    """``seen_from_here``: where a place that the platform names is for us."""

    def __init__(
        self, login: Login, seen_from_here: Callable[[str], Path], seen: Seen, end: threading.Event,
        client: Callable[[str, str], LearnloopClient] = LearnloopClient,
    ) -> None:  # fmt: skip
        super().__init__(name=login.name, daemon=True)
        self._login, self._seen_from_here, self._seen, self._end, self._client = (
            login,
            seen_from_here,
            seen,
            end,
            client,
        )
        self._number = 0

    def run(self) -> None:
        try:
            while not self._end.wait(PAUSE):
                self._number += 1
                self.once()
        except Ended:
            self._seen.did["a writer does not know what came of it"] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the report has to have it
            self._seen.faults.append(f"{self.name} could not go on writing: {error!r}")

    def once(self) -> None:
        raise NotImplementedError

    def until_known(self, ask: Callable[[LearnloopClient], Answer]) -> Answer:
        """Ask until there is an answer that says something. Raises what it says, and `Ended`."""
        given_up = time.monotonic() + GIVEN_UP_SECONDS
        while True:
            try:
                with self._client(self._login.url, self._login.token) as client:
                    return ask(client)
            except LearnloopError as error:
                not_yet = isinstance(error, Locked) or error.status == 429
                if error.status == 401 and self._seen.token_may_not_count():
                    not_yet = self._logged_in_again()
                if error.status < 500 and not not_yet:
                    raise
                self._seen.did[f"a writer was told {type(error).__name__}"] += 1
            if self._end.is_set() and time.monotonic() > given_up:
                raise Ended
            time.sleep(0.5)

    def workspace(self, name: str) -> Path:
        """One of the head, with a note of our own in it: where that is. What an earlier try made is there."""

        def made(client: LearnloopClient) -> str:
            for one in client.workspaces():
                if one["name"] == name and one["state"] == "ready":
                    return str(one["path"])
            (head,) = [one.head for one in client.datasets() if one.name == DATASET]
            return str(client.create_workspace(str(head), name)["path"])

        note = self._seen_from_here(self.until_known(made)) / f"note-{self.name}-{name}.txt"
        note.write_text(f"{self.name} was here: {name}\n")
        return note

    def _logged_in_again(self) -> bool:
        try:
            self._login.renew()
        except LearnloopError:
            self._seen.did["a writer could not log in"] += 1
        return True


class Merger(_Writer):
    """Makes a version of its own, and merges it into the head, at the same time as another."""

    def once(self) -> None:
        name = f"mine-{self._number}"
        note = self.workspace(name)
        version = self.until_known(lambda client: client.commit_workspace(name, "a note"))["name"]
        merged = self.until_known(lambda client: client.merge(version, strategy="newest"))
        if merged["state"] != "merged":
            self._seen.faults.append(f"{version} has nothing that others changed, and its merge is {merged['state']}")
            return
        self._seen.written[DATASET, note.name] = _md5(note)
        self._seen.merged.add(version)
        self._seen.did["merged"] += 1
        self.until_known(lambda client: client.discard_workspace(name))


class Holder(_Writer):
    """Takes the write lock and says nothing until somebody else has got it, who then has to be the only one to write."""

    def once(self) -> None:
        paused, following = f"paused-{self._number}", f"next-{self._number}"
        stale = self._locked(paused, LOCK_SECONDS)
        late = self.workspace(paused)
        token = self._locked(following, NEXT_LOCK_SECONDS)  # refused until the first has expired
        self._seen.refused.add((DATASET, late.name))
        try:
            made = self.until_known(lambda client: client.commit_workspace(paused, "too late", token=stale))
            self._seen.faults.append(
                f"who held lock {stale} past its expiry made {made['name']}, lock {token} being held"
            )
        except Conflict:
            self._seen.did["refused, the lock having expired"] += 1
        note = self.workspace(following)
        try:
            self.until_known(lambda client: client.commit_workspace(following, "in time", token=token))
            self._seen.written[DATASET, note.name] = _md5(note)
            self._seen.did["written, the lock being held"] += 1
        except Conflict:  # it took longer than the lock lasts
            self._seen.did["the second lock expired, too"] += 1
        self.until_known(lambda client: client.unlock(DATASET, token))
        for name in (paused, following):
            self.until_known(lambda client, name=name: client.discard_workspace(name))  # type: ignore[misc]

    def _locked(self, key: str, seconds: int) -> int:
        return int(self.until_known(lambda client: client.lock(DATASET, seconds=seconds, key=key))["token"])


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
