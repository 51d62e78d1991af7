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

from .login import Login
from .seen import Hold, Seen

API = "/learnloop/api/v1"
_PATIENCE = 20.0
_TIMEOUT = httpx.Timeout(_PATIENCE, connect=5)


class Annotator(threading.Thread):
    """Claims and answers ``dataset()`` until ``end``."""

    def __init__(
        self, url: str, login: Login, dataset: Callable[[], str], truth: dict[str, str], seed: int, seen: Seen,
        end: threading.Event,
    ) -> None:  # fmt: skip
        super().__init__(name=login.name, daemon=True)
        self._http = httpx.Client(base_url=url + API, auth=login, timeout=_TIMEOUT)
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
        arrived = time.time()
        expires = datetime.fromisoformat(task["lease_expires_at"]).timestamp() - self._seen.clock
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
            if time.time() < expires - 1 and tries == 1 and not self._seen.clock_set_since(arrived - _PATIENCE):
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
                elif answer.status_code == 401 and self._seen.token_may_not_count():
                    self._seen.did["not logged in, a clock being set"] += 1
                elif answer.status_code < 500:
                    return answer, tries
                else:
                    self._seen.did[f"answered with {answer.status_code}"] += 1
            time.sleep(0.5)
            if self._end.is_set() and method == "POST" and path.endswith("/claim"):
                return None, tries
        return None, tries


def infer(model: str) -> str:
    """Where the model that is served now is asked."""
    return f"/v2/models/{model}:current/infer"


def question(row: list[float]) -> dict[str, Any]:
    """About one digit."""
    return {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": row}]}


class Application(threading.Thread):
    """Asks the model server all the time; what fails while it is not the one that was hurt is remembered."""

    def __init__(
        self,
        url: str,
        model: Callable[[], str],
        row: list[float],
        hurt: Callable[[], bool],
        breaks_off: Callable[[], bool],
        seen: Seen,
        end: threading.Event,
    ) -> None:
        """``hurt``: whether it is. ``breaks_off``: whether a server was killed beside another that answers."""
        super().__init__(name="application", daemon=True)
        self._breaks_off = breaks_off
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(30, connect=2))
        self._model, self._row, self._hurt, self._seen, self._end = model, row, hurt, seen, end

    def run(self) -> None:
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001 - whatever it is, the report has to have it
            self._seen.faults.append(f"the application could not go on: {error!r}")
        finally:
            self._http.close()

    def _go_on(self) -> None:
        while not self._end.wait(0.1):
            hurt = self._hurt()
            try:
                answer = self._ask()
                ok, why = answer.status_code == 200, f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                ok, why = False, repr(error)
            if ok:
                self._seen.did["predicted"] += 1
            elif hurt or self._hurt():
                self._seen.did["not predicted, the server being hurt"] += 1
            else:
                self._seen.faults.append(f"a request to the model server failed: {why}")

    def _ask(self) -> httpx.Response:
        """Once more where an answer broke off, since its server died in the middle of it: no proxy can mend that."""
        url, body = infer(self._model()), question(self._row)
        try:
            return self._http.post(url, json=body)
        except httpx.RemoteProtocolError:
            if not self._breaks_off():
                raise
            self._seen.did["an answer broke off, a model server being killed"] += 1
            return self._http.post(url, json=body)
