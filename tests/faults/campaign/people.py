"""Fifteen annotators and an application, who go on whatever breaks: they ask again until they know."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx

from .seen import Hold, Seen

API = "/learnloop/api/v1"
_TIMEOUT = httpx.Timeout(20, connect=5)


class Annotator(threading.Thread):
    """Claims and answers ``dataset()`` until ``end``."""

    def __init__(
        self, url: str, name: str, token: str, dataset: Callable[[], str], truth: dict[str, str], seed: int, seen: Seen,
        end: threading.Event,
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self._http = httpx.Client(base_url=url + API, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT)
        self._dataset, self._truth, self._seen, self._end = dataset, truth, seen, end
        self._chance = random.Random(seed)

    def run(self) -> None:
        try:
            while not self._end.is_set():
                self._once()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report has to have it
            self._seen.faults.append(f"{self.name} could not go on: {error!r}")
        finally:
            self._http.close()

    def _once(self) -> None:
        answer, _ = self._until_known("POST", f"/datasets/{self._dataset()}/tasks/claim")
        if answer is None:
            return
        if answer.status_code == 204:
            self._end.wait(0.5)
            return
        if answer.status_code != 200:
            self._end.wait(0.5)
            self._seen.did[f"claim answered with {answer.status_code}"] += 1
            return
        task = answer.json()
        arrived, expires = time.time(), datetime.fromisoformat(task["lease_expires_at"]).timestamp()
        if self._chance.random() < 0.05:  # goes away: somebody else gets it when the lease has lapsed
            self._seen.holds.append(Hold(task["id"], self.name, arrived, expires))
            self._seen.did["went away"] += 1
            return
        self._end.wait(self._chance.uniform(0.05, 0.8))
        label = self._truth[task["sample_id"]]
        sent = time.time()
        self._seen.holds.append(Hold(task["id"], self.name, arrived, min(sent, expires)))
        key = {"Idempotency-Key": uuid.uuid4().hex}
        answer, tries = self._until_known("POST", f"/tasks/{task['id']}/annotation", json={"label": label}, headers=key)
        if answer is None:
            # Stopped without knowing: it may be stored or not.
            self._seen.did["not known"] += 1
        elif answer.status_code < 300:
            self._seen.accepted[task["id"], self.name] = label
            self._seen.did["answered"] += 1
        elif answer.status_code in (403, 404, 409, 410):
            self._seen.did["refused"] += 1
            if time.time() < expires - 1 and tries == 1:
                self._seen.faults.append(
                    f"{self.name} held task {task['id']} and was told {answer.status_code}: {answer.text[:200]}"
                )
        else:
            self._seen.faults.append(
                f"{self.name}: an answer was answered with {answer.status_code}: {answer.text[:200]}"
            )

    def _until_known(self, method: str, path: str, **given: Any) -> tuple[httpx.Response | None, int]:
        """Ask until there is an answer that says something; None when the campaign ends before."""
        given_up = time.monotonic() + 240
        tries = 0
        while not (self._end.is_set() and time.monotonic() > given_up):
            tries += 1
            try:
                answer = self._http.request(method, path, **given)
            except httpx.HTTPError as error:
                self._seen.did[f"no answer: {type(error).__name__}"] += 1
            else:
                if answer.status_code == 429:
                    self._seen.did["too many"] += 1
                elif answer.status_code < 500:
                    return answer, tries
                else:
                    self._seen.did[f"answered with {answer.status_code}"] += 1
            time.sleep(0.5)
            if self._end.is_set() and method == "POST" and path.endswith("/claim"):
                return None, tries
        return None, tries


class Application(threading.Thread):
    """Asks the model server all the time; what fails while it is not the one that was hurt is remembered."""

    def __init__(
        self,
        url: str,
        model: Callable[[], str],
        row: list[float],
        hurt: Callable[[], bool],
        seen: Seen,
        end: threading.Event,
    ) -> None:
        super().__init__(name="application", daemon=True)
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(30, connect=2))
        self._model, self._row, self._hurt, self._seen, self._end = model, row, hurt, seen, end

    def run(self) -> None:
        while not self._end.wait(0.1):
            hurt = self._hurt()
            try:
                answer = self._http.post(
                    f"/v2/models/{self._model()}:current/infer",
                    json={"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 64], "data": self._row}]},
                )
                ok, why = answer.status_code == 200, f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                ok, why = False, repr(error)
            if ok:
                self._seen.did["predicted"] += 1
            elif hurt or self._hurt():
                self._seen.did["not predicted, the server being hurt"] += 1
            else:
                self._seen.faults.append(f"a request to the model server failed: {why}")
        self._http.close()
