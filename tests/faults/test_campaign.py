"""The campaign itself: the seed says what comes, what fails of its own is noted and no more, reports show something."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from campaign.course import Campaign
from campaign.loop import POOL_ROUNDS, Loop
from campaign.people import Annotator, Application
from campaign.plan import planned
from campaign.report import Put, Record, passed
from campaign.seen import Seen
from waits import eventually

from learnloop.stack.places import ROOT

KINDS = ("kill", "stop", "cut", "fill")


def test_the_seed_alone_says_which_fault_comes_when_and_what_it_draws() -> None:
    def drawn(draws: Callable[[random.Random], object]) -> list[tuple[str, float]]:
        found = []
        for name, chance in islice(planned(7, KINDS), 12):
            found.append((name, chance.uniform(1, 12)))
            draws(chance)  # as often as what the fault finds has it draw
        return found

    one = drawn(lambda chance: chance.choice(range(3)))
    assert one == drawn(lambda chance: [chance.choice(range(1000)) for _ in range(40)])
    assert [sorted(name for name, _ in one[at : at + 4]) for at in (0, 4, 8)] == [sorted(KINDS)] * 3
    assert one != [(name, chance.uniform(1, 12)) for name, chance in islice(planned(8, KINDS), 12)]
    assert len({wait for _, wait in one}) == 12


class Well:
    """A world in which all is well again when it has been asked three times."""

    troubles = ("the engine could not start redis: no network",)

    def __init__(self) -> None:
        self.asked = 0

    def unwell(self) -> list[str]:
        self.asked += 1
        if self.asked == 1:
            raise ValueError("the status is being written")
        return [] if self.asked > 2 else ["redis"]


def test_a_fault_that_cannot_be_put_in_is_the_campaigns_own_and_is_in_the_report_at_once(tmp_path: Path) -> None:
    campaign = Campaign("local", 1, 2, tmp_path / "faults.json", [], once=True)
    campaign.began, campaign.world = time.monotonic(), Well()
    campaign.record.kinds = ["crash PostgreSQL", "kill redis"]

    def nothing_there() -> str:
        raise LookupError("there is no postmaster")

    for kind, fault in (("crash PostgreSQL", nothing_there), ("kill redis", lambda: "SIGKILL to redis")):
        put = Put(0.0, kind)
        campaign.record.put.append(put)
        campaign._put(put, fault)
        campaign._tell()
    told = json.loads((tmp_path / "faults.json").read_text())
    assert told["faults_by_kind"] == {"kill redis": 1}
    assert told["kinds_that_never_came"] == ["crash PostgreSQL"]
    assert told["promises_broken"] == []
    assert "crash PostgreSQL: LookupError('there is no postmaster')" in told["the_campaigns_own"]
    assert Well.troubles[0] in told["the_campaigns_own"]
    assert told["each"][1]["what"] == "SIGKILL to redis"
    assert told["each"][0]["seconds_to_recover"] > 0


def test_a_stack_that_cannot_be_made_is_reported_and_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_disk(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("campaign.course.World", no_disk)
    told = Campaign("local", 1, 2, tmp_path / "faults.json", [], once=True).run(0, keep=False)
    assert told == json.loads((tmp_path / "faults.json").read_text())
    assert "No space left on device" in told["the_campaigns_own"][0]
    assert "it did not get to its end" in told["shows_nothing_because"]
    assert not passed(told)
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rounds", "answers", "kinds", "broken", "ended", "why"),
    [
        (1, 1, ["kill", "stop"], [], True, []),
        (1, 1, ["kill", "stop"], ["an answer is lost"], True, []),
        (0, 1, ["kill", "stop"], [], True, ["no rounds"]),
        (1, 0, ["kill", "stop"], [], True, ["no answers"]),
        (1, 1, [], [], True, ["no faults", "never came: kill, stop"]),
        (1, 1, ["kill"], [], True, ["never came: stop"]),
        (1, 1, ["kill", "stop"], [], False, ["it did not get to its end"]),
    ],
)
def test_a_campaign_in_which_nothing_happened_has_not_passed(
    rounds: int, answers: int, kinds: list[str], broken: list[str], ended: bool, why: list[str], tmp_path: Path
) -> None:
    seen = Seen(accepted={(task, "ann"): "1" for task in range(answers)})
    record = Record("local", 1, 2, every_kind=True, path=tmp_path / "faults.json", kinds=["kill", "stop"])
    record.put = [Put(0.0, kind, seconds_to_recover=1.0) for kind in kinds]
    record.final, record.ended = broken, ended
    loop = Loop("http://127.0.0.1:1", None, tmp_path, seen, threading.Event())  # type: ignore[arg-type]
    loop.rounds = rounds
    told = record.told(1.0, loop, seen)
    assert told["shows_nothing_because"] == why
    assert passed(told) == (not why and not broken)


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives one answer a connection and closes it; the last one for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        over = threading.Event()

        def serve() -> None:
            left = list(answers)
            while not over.is_set():
                try:
                    caller, _ = server.accept()
                except TimeoutError:
                    continue
                with caller:
                    caller.recv(65536)
                    caller.sendall(left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


BROKEN_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.mark.parametrize("killed", [True, False])
def test_an_answer_that_breaks_off_is_asked_for_again_where_a_server_was_killed_and_a_fault_where_not(
    killed: bool,
) -> None:
    seen, end = Seen(), threading.Event()
    with answering(BROKEN_OFF, GOOD) as url:
        application = Application(url, lambda: "digits", [0.0], lambda: False, lambda: killed, seen, end)
        application.start()
        eventually(lambda: seen.did["predicted"])
        end.set()
        application.join()
    assert bool(seen.faults) is not killed
    assert all("RemoteProtocolError" in fault for fault in seen.faults)


@pytest.mark.parametrize("clock_set", [True, False])
def test_a_token_of_a_time_that_has_not_come_is_no_fault(clock_set: bool, tmp_path: Path) -> None:
    """As one that was made by a server whose clock is ahead is refused by the other."""
    nobody: Any = httpx.Auth()
    nobody.name = "ann"
    seen = Seen(clock_set=[time.time()] if clock_set else [])
    with answering(REFUSED, REFUSED, GOOD) as url:
        person = Annotator(url, nobody, lambda: "digits", {}, 1, seen, threading.Event())
        answer, _ = person._until_known("POST", "/tasks/1/annotation")
    assert answer is not None
    assert answer.status_code == (200 if clock_set else 401)
    with answering(REFUSED, GOOD) as url:
        loop = Loop(url, nobody, tmp_path, seen, threading.Event())
        assert loop._ask("GET", "/").status_code == (200 if clock_set else 401)


def answer_of(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_a_run_that_takes_long_is_told_and_is_no_broken_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(Loop, "longest", 60.0)
    with answering(answer_of('{"state": "running"}'), answer_of('{"state": "success"}')) as url:
        loop = Loop(url, None, tmp_path, seen, threading.Event())  # type: ignore[arg-type]
        loop.patience = 0.0
        assert loop._ended("incremental_training", "round-digits-1") == "success"
    assert len(loop.slow) == 1
    assert "round-digits-1 was running after" in loop.slow[0]
    assert seen.faults == []


def test_the_next_dataset_begins_where_failed_rounds_have_jumped_over_the_last_of_this_one(tmp_path: Path) -> None:
    class Jumping(Loop):
        def _round(self) -> None:
            self._in_dataset = POOL_ROUNDS + 1

        def begin(self) -> None:
            self._end.set()  # `run` asks before
            self.dataset = "the next"

    seen = Seen()
    loop = Jumping("http://127.0.0.1:1", None, tmp_path, seen, threading.Event())  # type: ignore[arg-type]
    loop.start()
    loop.join(20)
    assert loop.dataset == "the next"
    assert seen.faults == []


@pytest.mark.parametrize("failing", ["pytest", "campaign", "nothing"])
def test_make_faults_does_all_of_it_whatever_fails(failing: str, tmp_path: Path) -> None:
    (tmp_path / "mlflow-venv").mkdir()
    (tmp_path / "mlflow-venv" / "stamp").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\ncase "$*" in *"-m {failing}"*) exit 1; esac\n')
    python.chmod(0o755)
    command = ["make", "faults", f"PYTHON={python}", "PYTHON3=true", f"LEARNLOOP_HOME={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    asked = (tmp_path / "asked").read_text()
    stacks = ["local", "compose"] if os.geteuid() == 0 else ["local"]
    assert [stack for stack in ("local", "compose") if f"--stack {stack}" in asked] == stacks
    assert "-m pytest" in asked
    assert done.returncode == (0 if failing == "nothing" else 2), done.stderr
    names = {"pytest": ["tests"], "campaign": stacks, "nothing": []}[failing]
    assert f"these failed: {' '.join(names)}\n" in done.stdout or not names
