"""Faults in the running stack, seeded: ``python -m campaign --minutes 60 --seed 1 --report faults.json``.

Fifteen annotators answer, an application asks the model server, rounds of the loop go round; at random moments one fault of
each kind after the other is put in. After each the time until all is well again is taken, and the checker looks. At the end
everything comes to rest, and it looks again. The exit code is 0 only when no promise was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError

from .kinds import Fault, kinds, small_disk
from .loop import Loop
from .people import Annotator, Application
from .promises import Stack, at_rest, broken
from .seen import Seen
from .world import World

PEOPLE = 15
RECOVERY_SECONDS = 600
REST_SECONDS = 900


@dataclass
class Put:
    """One fault that was put in."""

    at: float
    kind: str
    what: str
    seconds_to_recover: float | None = None
    broken: list[str] = field(default_factory=list)


class Campaign:
    def __init__(self, seed: int, only: list[str]) -> None:
        self.seed, self.only = seed, only
        self.chance = random.Random(seed)
        self.seen, self.end, self.last_round = Seen(), threading.Event(), threading.Event()
        self.put: list[Put] = []
        self.hurt = ""  # the kind of fault that is in, or whose traces are not gone

    def run(self, seconds: float, *, keep: bool) -> dict[str, Any]:
        self.world = world = World(small_disk, with_s3=True)
        self.began = time.monotonic()
        try:
            world.up()
            self._say("the stack is up")
            self._log_in()
            loop = self.loop = Loop(self.url, self.token, world.data, self.seen, self.last_round)
            loop.begin()
            self._say("the base model is served; annotators begin")
            threads = [*self._people(), self._application(), threading.Thread(target=self._push, daemon=True), loop]
            for thread in threads:
                thread.start()
            self._put_faults(seconds)
            self._say("no more faults; the round under way ends")
            self.last_round.set()  # people answer until it has ended
            loop.join(REST_SECONDS)
            self.end.set()
            for thread in threads:
                thread.join(REST_SECONDS)
            self.left = [thread.name for thread in threads if thread.is_alive()]
            return self._report()
        finally:
            world.close(keep=keep)

    def _log_in(self) -> None:
        annotators = [(f"ann{number}", "annotator") for number in range(PEOPLE)]
        made = self.world.users(*annotators, ("ada", "admin"))
        self.url = self.world.settings.api_url
        self.tokens = {name: str(LearnloopClient.login(self.url, name, word).token) for name, word in made.items()}
        self.token = self.tokens["ada"]

    def _people(self) -> list[threading.Thread]:
        names = [name for name in self.tokens if name != "ada"]
        return [
            Annotator(
                self.url, name, self.tokens[name], lambda: self.loop.dataset, self.loop.truth, self.seed + n, self.seen,
                self.end,
            )
            for n, name in enumerate(names)
        ]  # fmt: skip

    def _application(self) -> Application:
        serving = self.world.settings.serving_url
        return Application(serving, lambda: self.loop.dataset, self.loop.row, self._server_is_hurt, self.seen, self.end)

    def _server_is_hurt(self) -> bool:
        return self.hurt in ("kill model-server", "stop model-server", "kill the supervisor")

    def _push(self) -> None:
        """What the store has goes to S3, again and again; while S3 is away an error says so."""
        while not self.end.wait(15):
            try:
                with LearnloopClient(self.url, self.token) as client:
                    client.push()
                self.seen.did["pushed"] += 1
            except LearnloopError as error:
                self.seen.did["not pushed"] += 1
                if error.status not in (409, 502, 503, 504, 507):
                    self.seen.did[f"push: {type(error).__name__}"] += 1

    def _put_faults(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        found = {name: fault for name, fault in kinds(self.world).items() if not self.only or name in self.only}
        order: list[str] = []
        while time.monotonic() < deadline:
            if not order:
                order = sorted(found)
                self.chance.shuffle(order)
            name = order.pop()
            time.sleep(self.chance.uniform(1, 12))
            self._put(name, found[name])

    def _put(self, name: str, fault: Fault) -> None:
        put = Put(round(time.monotonic() - self.began, 1), name, "")
        self.put.append(put)
        self.hurt = name
        put.what = fault(self.world, self.chance)
        over = time.monotonic()
        wrong = ["not asked yet"]
        while wrong and time.monotonic() < over + RECOVERY_SECONDS:
            time.sleep(0.2)
            try:
                wrong = self.world.unwell()
            except (OSError, ValueError) as error:  # the status is being written
                wrong = [repr(error)]
        put.seconds_to_recover = round(time.monotonic() - over, 1)
        self.hurt = ""
        put.broken = [f"not well {RECOVERY_SECONDS} s later: {', '.join(wrong)}"] if wrong else self._look(calm=False)
        self.seen.faults += put.broken if wrong else []
        self._say(
            f"{put.what}; well after {put.seconds_to_recover} s; rounds {self.loop.rounds}; broken: {put.broken or 0}"
        )

    def _stack(self) -> Stack:
        settings = self.world.settings
        return Stack(
            url=self.url,
            token=self.token,
            learnloop=settings.database_url.replace("postgresql+psycopg://", "postgresql://"),
            mlflow=settings.mlflow_url.replace("postgresql+psycopg://", "postgresql://"),
            store=settings.store,
            home=settings.home,
        )

    def _look(self, *, calm: bool) -> list[str]:
        for _ in range(5):
            try:
                return broken(self._stack(), self.seen, calm=calm)
            except (httpx.HTTPError, psycopg.OperationalError) as error:
                failed = repr(error)
                time.sleep(5)
        return [f"it could not be looked at: {failed}"]

    def _rest(self) -> list[str]:
        """Wait until nothing runs any more, then look."""
        deadline = time.monotonic() + REST_SECONDS
        while not at_rest(self._stack()) and time.monotonic() < deadline:
            time.sleep(1)
        found = self._look(calm=True)
        with LearnloopClient(self.url, self.token) as client:
            client.push()
            report = client.verify()
        if report.get("problems"):
            found.append(f"the store's own verification found: {report['problems'][:3]}")
        return found

    def _report(self) -> dict[str, Any]:
        final = self._rest()
        if self.left:
            final.append(f"these did not end: {self.left}")
        recovery: dict[str, list[float]] = {}
        for put in self.put:
            recovery.setdefault(put.kind, []).append(put.seconds_to_recover or 0.0)
        every = [*(problem for put in self.put for problem in put.broken), *final]
        return {
            "seed": self.seed,
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "annotators": PEOPLE,
            "rounds": self.loop.rounds,
            "rounds_failed": self.loop.failed,
            "runs_cleared": self.loop.cleared,
            "answers": len(self.seen.accepted),
            "faults": len(self.put),
            "faults_by_kind": dict(sorted(Counter(put.kind for put in self.put).items())),
            "seconds_to_recover": {kind: max(seconds) for kind, seconds in sorted(recovery.items())},
            "promises_broken": list(dict.fromkeys(every)),
            "seen": dict(sorted(self.seen.did.items())),
            "each": [asdict(put) for put in self.put],
        }

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path("faults.json"))
    parser.add_argument("--only", nargs="*", default=[], help="kinds of faults, such as 'kill scheduler'")
    parser.add_argument("--keep", action="store_true", help="keep the state directory")
    given = parser.parse_args()
    report = Campaign(given.seed, given.only).run(given.minutes * 60, keep=given.keep)
    given.report.write_text(json.dumps(report, indent=1))
    shown = {name: value for name, value in report.items() if name not in ("each", "seen")}
    print(json.dumps(shown, indent=1))
    return 1 if report["promises_broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
