"""How a campaign goes: who is there all the time, faults one after the other, a look after each, and rest at the end."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from dataset_folders import write_dataset

from learnloop.client import LearnloopClient
from learnloop.errors import LearnloopError

from . import compose_kinds, kinds
from .aftermath import damaged_and_repaired, rolled_back
from .compose import ComposeWorld
from .login import Login
from .loop import Loop
from .people import Annotator, Application, infer, question
from .plan import planned
from .promises import at_rest, broken
from .report import Put, Record
from .seen import Seen
from .stack import Stack
from .world import World
from .writers import DATASET, Holder, Merger

WRITERS = ("meg", "mia", "hal")
RECOVERY_SECONDS = 600
LOOK_SECONDS = 180
AWAY = (httpx.HTTPError, psycopg.OperationalError, LearnloopError)
"""What one is told when something is away."""
Answer = TypeVar("Answer")


class Campaign:
    def __init__(self, stack: str, seed: int, people: int, report: Path, only: list[str], *, once: bool) -> None:
        """``only``: kinds of faults, none: all. ``once``: each of them once, however long it takes."""
        self.seed, self.only, self.once = seed, only, once
        self.record = Record(stack, seed, people, once, report)
        self.seen, self.end, self.last_round = Seen(), threading.Event(), threading.Event()
        self.loop: Loop | None = None
        self.hurt = ""  # the kind of fault that is in, or whose traces are not gone

    def run(self, seconds: float, *, keep: bool) -> dict[str, Any]:
        """The report, whatever happens; it is in the file by then, and after each fault."""
        self.began = time.monotonic()
        self.world: Any = None
        try:
            self.world = ComposeWorld() if self.record.stack == "compose" else World(for_faults=True)
            self._go(seconds)
            self.record.ended = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the report has to have it
            traceback.print_exc()
            self.record.own.append(f"it could not go on: {error!r}")
        finally:
            self.end.set()
            try:
                told = self._tell()
            finally:
                if self.world is not None:
                    self.world.close(keep=keep)
        return told

    def _go(self, seconds: float) -> None:
        world = self.world
        world.up()
        self._say("the stack is up")
        self._log_in()
        loop = self.loop = Loop(world.url, self.ada, world.data, self.seen, self.last_round, world.hand_over)
        loop.begin()
        self._say("the base model is served; annotators begin")
        pushing = threading.Thread(target=self._push, name="pushing", daemon=True)
        threads = [*self._people(loop), *self._writers(), self._application(loop), pushing, loop]
        for thread in threads:
            thread.start()
        self._put_faults(seconds, loop)
        self._say("no more faults; the round under way ends")
        self.last_round.set()  # people answer until it has ended
        loop.join(loop.longest)
        self._finish("rolling back", lambda token: self._asked(token, self._rolled_back))
        self.end.set()
        for thread in threads:
            thread.join(loop.patience)
        self.record.final += [f"{thread.name} did not end" for thread in threads if thread.is_alive()]
        self._rest(loop.patience)

    def _log_in(self) -> None:
        annotators = [(f"ann{number}", "annotator") for number in range(self.record.annotators)]
        made = self.world.users(
            *annotators, *((name, "scientist") for name in WRITERS), ("ada", "admin"), ("eve", "scientist")
        )
        logins = {name: Login(self.world.url, name, word, self.seen) for name, word in made.items()}
        self.ada, self.eve = logins.pop("ada"), logins.pop("eve")
        self.writers = [logins.pop(name) for name in WRITERS]
        self.annotators = list(logins.values())

    def _writers(self) -> list[threading.Thread]:
        folder = write_dataset(self.world.data / DATASET)
        path = self.world.hand_over(folder)
        self._answered(lambda token: self._asked(token, lambda client: client.snapshot(path)))
        seen_from_here = self.world.stack(self.ada.token).seen_from_here
        return [
            made(login, seen_from_here, self.seen, self.end)
            for made, login in zip((Merger, Merger, Holder), self.writers, strict=True)
        ]

    def _people(self, loop: Loop) -> list[threading.Thread]:
        return [
            Annotator(self.world.url, login, lambda: loop.dataset, loop.truth, self.seed + n, self.seen, self.end)
            for n, login in enumerate(self.annotators)
        ]

    def _application(self, loop: Loop) -> Application:
        world = self.world

        def hurt() -> bool:
            return world.serving_is_hurt_by(self.hurt)

        def breaks_off() -> bool:
            return world.answers_break_off_by(self.hurt)

        return Application(world.serving_url, lambda: loop.dataset, loop.row, hurt, breaks_off, self.seen, self.end)

    def _push(self) -> None:
        """What the store has goes to S3, again and again; while S3 is away an error says so."""
        while not self.end.wait(15):
            try:
                self._asked(self.ada.token, lambda client: client.push())
                self.seen.did["pushed"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is: at rest it has to succeed
                self.seen.did[f"not pushed: {type(error).__name__}"] += 1

    def _put_faults(self, seconds: float, loop: Loop) -> None:
        deadline = time.monotonic() + seconds
        possible = (compose_kinds if self.record.stack == "compose" else kinds).kinds(self.world)
        found = {name: fault for name, fault in possible.items() if not self.only or name in self.only}
        self.record.kinds = sorted(found)
        plan = planned(self.seed, found)
        for name, chance in islice(plan, len(found)) if self.once else plan:
            if not self.once and time.monotonic() > deadline:
                return
            time.sleep(chance.uniform(1, 12))
            put = Put(round(time.monotonic() - self.began, 1), name)
            self.record.put.append(put)
            self._put(put, lambda fault=found[name], chance=chance: fault(self.world, self.seen, chance))
            self._tell()
            well = f"well after {put.seconds_to_recover} s"
            self._say(f"{put.what or put.own}; {well}; rounds {loop.rounds}; broken: {put.broken or 0}")

    def _put(self, put: Put, fault: Callable[[], str]) -> None:
        """Put it in, wait until all is well, look. What fails of the campaign's own is noted, and it goes on."""
        self.hurt = put.kind
        known = {problem for before in self.record.put for problem in before.broken}
        try:
            put.what = fault()
        except Exception as error:  # noqa: BLE001 - such as that what was to be killed had just ended
            traceback.print_exc()
            put.own = repr(error)
        wrong, put.seconds_to_recover = self._recovered()
        self.hurt = ""
        if wrong:
            put.broken = [f"not well {RECOVERY_SECONDS} s after '{put.kind}': {', '.join(wrong)}"]
            return
        try:
            put.broken = [problem for problem in self._look(calm=False) if problem not in known]
        except Exception as error:  # noqa: BLE001 - a mistake of the checker's, which looks again at the end
            traceback.print_exc()
            self.record.own.append(f"after '{put.kind}' it could not be looked at: {error!r}")

    def _recovered(self) -> tuple[list[str], float]:
        """What is still not well, and how many seconds that took."""
        over = time.monotonic()
        while True:
            try:
                wrong = self.world.unwell()
            except Exception as error:  # noqa: BLE001 - the status is just being written, a process just ended
                wrong = [repr(error)]
            waited = time.monotonic() - over
            if not wrong or waited > RECOVERY_SECONDS:
                return wrong, round(waited, 1)
            time.sleep(0.2)

    def _look(self, *, calm: bool) -> list[str]:
        try:
            return self._answered(lambda token: broken(self._stack(token), self.seen, calm=calm))
        except AWAY as error:
            return [f"it could not be looked at for {LOOK_SECONDS} s: {error!r}"]

    def _stack(self, token: str) -> Stack:
        """With somebody who owns nothing, and all tokens there are now among the secrets."""
        self.eve.renew()
        stack: Stack = self.world.stack(token)
        tokens = [login.token for login in (self.ada, self.eve, *self.writers, *self.annotators)]
        return replace(stack, stranger=self.eve.token, secrets=(*stack.secrets, *tokens))

    def _rest(self, seconds: float) -> None:
        """Wait until nothing runs any more, then look; push, verify, damage and repair."""
        deadline = time.monotonic() + seconds
        try:
            while not self._answered(lambda token: at_rest(self.world.stack(token))) and time.monotonic() < deadline:
                time.sleep(1)
        except AWAY as error:
            self.record.final.append(f"whether it is at rest could not be asked for {LOOK_SECONDS} s: {error!r}")
        self.record.final += self._look(calm=True)
        self._finish(
            "pushing and verifying",
            lambda _: self._answered(lambda token: self._asked(token, self._verified)),  # done again it does no harm
        )
        self._finish("repairing", lambda token: self._asked(token, self._repaired))

    def _finish(self, what: str, step: Callable[[str], list[str]]) -> None:
        """One of what is done when no more faults come. Now it has to go."""
        try:
            self.ada.renew()
            self.record.final += step(self.ada.token)
        except AWAY as error:
            self.record.final.append(f"{what} failed, no fault being in: {error!r}")

    def _rolled_back(self, client: LearnloopClient) -> list[str]:
        loop = self.loop
        assert loop is not None
        return rolled_back(client, loop.dataset, lambda: self._served(loop), self.seen)

    def _verified(self, client: LearnloopClient) -> list[str]:
        client.push()
        found = client.verify()["problems"]
        return [f"the store's own verification found: {found[:3]}"] if found else []

    def _repaired(self, client: LearnloopClient) -> list[str]:
        stack = self.world.stack(self.ada.token)
        (head,) = [one.head for one in client.datasets() if one.name == DATASET]
        name = stack.tree(str(client.version(str(head))["tree"]))["annotations.parquet"]
        return damaged_and_repaired(client, stack, name, self.seen)

    def _served(self, loop: Loop) -> int:
        """The version that answers."""
        answer = httpx.post(f"{self.world.serving_url}{infer(loop.dataset)}", json=question(loop.row), timeout=60)
        return int(answer.raise_for_status().json()["model_version"])

    def _asked(self, token: str, ask: Callable[[LearnloopClient], Answer]) -> Answer:
        with LearnloopClient(self.world.url, token) as client:
            return ask(client)

    def _answered(self, ask: Callable[[str], Answer]) -> Answer:
        """Ask with a token that counts, again while something is away; what it said last when it stays so."""
        deadline = time.monotonic() + LOOK_SECONDS
        while True:
            try:
                self.ada.renew()
                return ask(self.ada.token)
            except AWAY:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def _tell(self) -> dict[str, Any]:
        told = self.record.told((time.monotonic() - self.began) / 60, self.loop, self.seen)
        told["the_campaigns_own"] += getattr(self.world, "troubles", [])
        self.record.write(told)
        return told

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)
