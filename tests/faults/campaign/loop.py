"""Rounds of the loop, one after the other, as a scientist and an operator do them: ask again, clear what failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from learnloop.stack.demo import digits

from .login import Login
from .seen import Seen

BUDGET = 60
ROUND_LABELS = 40
ROUND_SECONDS = 900.0
"""How long a run may take before it is called slow, on a machine that has nothing else to do."""
PATIENCE = 10
"""How many times as long as the base model's training a run may take before it is called slow."""
POOL_ROUNDS = 20
MOST_CLEARED = 8


class Loop(threading.Thread):
    """Goes round until ``end``; ``dataset`` is the one that is annotated now."""

    def __init__(
        self,
        url: str,
        login: Login,
        folder: Path,
        seen: Seen,
        end: threading.Event,
        hand_over: Callable[[Path], str] = str,
    ) -> None:
        """``hand_over``: gives the platform a folder of data; where the platform sees it."""
        super().__init__(name="loop", daemon=True)
        self._http = httpx.Client(base_url=url, auth=login, timeout=30)
        self._folder, self._seen, self._end, self._hand_over = folder, seen, end, hand_over
        self.rounds = 0
        self.cleared: list[str] = []
        self.failed: list[str] = []
        self.slow: list[str] = []
        self.patience = ROUND_SECONDS
        self.dataset = ""
        self.truth: dict[str, str] = {}
        self.row: list[float] = []
        self._begun = 0
        self._in_dataset = 0

    @property
    def longest(self) -> float:
        """Seconds after which a run that has not ended never will."""
        return 3 * self.patience

    def begin(self) -> None:
        """A base model that is served, so that annotators have something to do."""
        self._begun += 1
        name = f"digits-{self._begun}"
        data = digits.write(self._folder / name, name, BUDGET, seed=self._begun)
        config = yaml.safe_load((data.dataset / "dataset.yaml").read_text())
        config["loop"] = {
            "query": {"budget": BUDGET},
            "policy": {"labels": ROUND_LABELS},
            "quality": {"check": "none", "lease_seconds": 20},
            "structure": {"trials": 2},
        }
        (data.dataset / "dataset.yaml").write_text(yaml.safe_dump(config))
        began = time.monotonic()
        self._run("base_model_training", f"base-{name}", {"path": self._hand_over(data.dataset)})
        # On a machine with much else to do it takes as much longer, and so do rounds.
        self.patience = max(self.patience, PATIENCE * (time.monotonic() - began))
        self.truth.update(data.truth)
        self.row = [float(value) for value in data.pixels[data.test[0]].ravel()]
        self.dataset, self._pool, self._in_dataset = name, self._hand_over(data.pool), 0

    def go_on_from(self, other: Loop) -> None:
        """With the dataset of another, whose stack was backed up."""
        self.dataset, self.truth, self.row = other.dataset, other.truth, other.row
        self._pool, self._begun, self._in_dataset = other._pool, other._begun, other._in_dataset

    def run(self) -> None:
        try:
            while not self._end.is_set():
                self._round()
                if self._in_dataset >= POOL_ROUNDS and not self._end.is_set():
                    self.begin()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report has to have it
            self._seen.faults.append(f"the loop could not go on: {error!r}")

    def _round(self) -> None:
        number = self._in_dataset + 1
        conf = {"dataset": self.dataset, "path": self._pool if number == 1 else "", "batch": "pool"}
        self._run("score_incoming_data", f"score-{self.dataset}-{number}", conf)
        while not self._trained(f"round-{self.dataset}-{number}"):
            # The round is closed and its labels are in the pool again: a person starts the next.
            self.failed.append(f"round-{self.dataset}-{number}")
            number += 1
            self._start(number)
        self._in_dataset, self.rounds = number, self.rounds + 1

    def _trained(self, run: str) -> bool:
        return self._ended("incremental_training", run) == "success"

    def _start(self, number: int) -> None:
        """By hand, as the API has it; when the round is there, what was asked before has been heard."""
        url = f"/learnloop/api/v1/datasets/{self.dataset}/rounds"
        while not any(one["number"] >= number for one in self._ask("GET", url).json().get("items", ())):
            self._ask("POST", url, json={"reason": "the one before failed"})
            time.sleep(1)

    def _run(self, dag: str, run: str, conf: dict[str, Any]) -> None:
        given = {"dag_run_id": run, "logical_date": None, "conf": conf}
        answer = self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", json=given)
        if answer.status_code not in (200, 201, 409):  # 409: an earlier try did it, whose answer got lost
            raise RuntimeError(f"{dag} was not started: {answer.status_code} {answer.text[:300]}")
        self._wait(dag, run)

    def _wait(self, dag: str, run: str) -> None:
        """Until the run has succeeded; what failed in it is cleared, as an operator does."""
        while self._ended(dag, run) == "failed":
            self.cleared.append(run)
            if self.cleared.count(run) > MOST_CLEARED:
                raise RuntimeError(f"{run} fails again and again")
            self._ask("POST", f"/api/v2/dags/{dag}/dagRuns/{run}/clear", json={"dry_run": False, "only_failed": True})
            time.sleep(1)

    def _ended(self, dag: str, run: str) -> str:
        began, slow = time.monotonic(), False
        while True:
            answer = self._ask("GET", f"/api/v2/dags/{dag}/dagRuns/{run}")
            state = answer.json()["state"] if answer.status_code == 200 else f"not there ({answer.status_code})"
            if state in ("success", "failed"):
                return str(state)
            waited = time.monotonic() - began
            if waited > self.patience and not slow:
                slow = True
                self.slow.append(f"{run} was {state} after {waited:.0f} s")
            if waited > self.longest:
                raise RuntimeError(f"{run} is {state} after {waited:.0f} s")
            time.sleep(0.5)

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        while True:
            try:
                answer = self._http.request(method, path, **given)
                # Made by a server whose clock is ahead, a token is refused by another until that time has come.
                not_yet = answer.status_code == 401 and self._seen.token_may_not_count()
                if answer.status_code < 500 and answer.status_code != 429 and not not_yet:
                    return answer
            except httpx.HTTPError:
                self._seen.did["Airflow did not answer"] += 1
            time.sleep(0.5)
