"""A client of Learnloop's HTTP API: what the page, the CLI and scripts use.

client = LearnloopClient.login("http://127.0.0.1:8080", "annotator", password)
task = client.claim("digits")
client.submit(task.id, "7")
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any, Self

import httpx
from pydantic import BaseModel

from learnloop import errors
from learnloop.client_data import DataMethods, Progress, part
from learnloop.client_events import EventMethods, server_sent
from learnloop.client_exchange import ExchangeMethods
from learnloop.client_models import ModelMethods
from learnloop.client_pipelines import PipelineMethods
from learnloop.client_review import ReviewMethods
from learnloop.errors import InvalidInput, LearnloopError, NotAuthenticated, PermissionDenied, Unavailable
from learnloop.traces import context

API = "/learnloop/api/v1"
TRIES = 4
BACKOFF_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10
RETRIED = {429, 502, 503, 504}


class SessionInfo(BaseModel):
    """Who is logged in, and what they may do."""

    name: str
    roles: list[str]
    permissions: list[str]


class DatasetInfo(BaseModel):
    """A dataset; ``head`` is the name of its newest shared version."""

    name: str
    task_type: str
    description: str
    classes: list[str]
    head: str | None


class Prediction(BaseModel):
    """What the model says of a sample; ``uncertainty`` is from 0 to 1."""

    label: str
    confidence: float
    uncertainty: float
    probabilities: dict[str, float]
    model_version: int


class Task(BaseModel):
    """An annotation task, its sample by ``content_url``, and what the model predicts."""

    id: int
    dataset: str
    sample_id: str
    task_type: str
    path: str
    content_type: str
    content_url: str
    prediction: Prediction
    classes: list[str]
    chosen_by: dict[str, Any]
    lease_expires_at: str | None


class ProgressInfo(BaseModel):
    """How far a dataset is from its next training: ``waiting`` of ``needed`` labels, and why it trains or does not."""

    confirmed: int
    waiting: int
    needed: int
    reason: str
    open_tasks: int
    pending: int
    answered_by_me: int
    round: dict[str, Any] | None
    in_review: int = 0


class LearnloopClient(DataMethods, EventMethods, ExchangeMethods, ModelMethods, PipelineMethods, ReviewMethods):
    """Acts as the user whose token it bears. May be shared by threads.

    Every method raises what the API says: ``NotAuthenticated``, ``PermissionDenied``, ``NotFound``, ``InvalidInput``,
    ``Conflict``, ``Gone``, or ``Unavailable`` when it does not answer. Reads, and writes that carry an
    ``Idempotency-Key``, are tried again when the connection breaks; other writes are not.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        # Within a job or a build that is traced, what the client asks for belongs to that trace.
        headers = {**context.headers(), **({"Authorization": f"Bearer {token}"} if token else {})}
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=30)

    @classmethod
    def login(cls, base_url: str, username: str, password: str) -> Self:
        """Get a token from Airflow for a user of Airflow's.

        Raises:
            NotAuthenticated: wrong name or password.
            Unavailable: nothing answers there, or what answers is not well.
        """
        with cls(base_url) as anonymous:
            credentials = {"username": username, "password": password}
            try:
                answer = anonymous._checked("POST", "/auth/token", retry=True, json=credentials)
            except NotAuthenticated as error:
                raise NotAuthenticated("the user name or the password is wrong") from error
        return cls(base_url, answer.json()["access_token"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def logout(self) -> None:
        """Have the token revoked: nobody can use it any more, here or at Airflow."""
        self._checked("POST", f"{API}/session/logout", retry=False)
        self.close()

    def refresh(self) -> str:
        """Exchange the token for a new one, which this client then bears; the old one ends. Returns the new one."""
        token: str = self._checked("POST", f"{API}/session/refresh", retry=False).json()["access_token"]
        self.token = token
        self._http.headers["Authorization"] = f"Bearer {token}"
        return token

    def session(self) -> SessionInfo:
        """Who this client acts as."""
        return SessionInfo.model_validate(self._get("/session"))

    def health(self) -> dict[str, str]:
        """``status`` and ``version``; Unavailable when the API cannot read its database."""
        return dict(self._get("/health"))

    def dataset(self, name: str) -> DatasetInfo:
        """One dataset."""
        return DatasetInfo.model_validate(self._get(f"/datasets/{part(name)}"))

    def datasets(self) -> list[DatasetInfo]:
        """All datasets."""
        return [DatasetInfo.model_validate(item) for item in self._all("/datasets")]

    def versions(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's shared versions and one's own personal ones, newest first."""
        return self._all(f"/datasets/{part(dataset)}/versions")

    def batches(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's batches, newest first."""
        return self._all(f"/datasets/{part(dataset)}/batches")

    def rounds(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's rounds with their figures, newest first."""
        return self._all(f"/datasets/{part(dataset)}/rounds")

    def start_round(self, dataset: str, reason: str = "") -> dict[str, Any]:
        """Start a round by hand, whatever the training policy says."""
        return dict(self._write(f"/datasets/{part(dataset)}/rounds", {"reason": reason}).json())

    def progress(self, dataset: str) -> ProgressInfo:
        """How far a dataset is from its next training."""
        return ProgressInfo.model_validate(self._get(f"/datasets/{part(dataset)}/progress"))

    def loop(self, dataset: str) -> dict[str, Any]:
        """The seven ``steps``, the number of the one a dataset is at (``now``), ``needs`` of a person, ``progress``."""
        return dict(self._get(f"/datasets/{part(dataset)}/loop"))

    def balance(self, dataset: str) -> list[dict[str, Any]]:
        """Of each class: ``label``, ``confirmed`` labels, and how many of them are ``waiting`` for a round."""
        return list(self._get(f"/datasets/{part(dataset)}/balance")["items"])

    def claim(self, dataset: str, *, beside: int | None = None) -> Task | None:
        """Lease the next task; None when there is none. Claiming again gives the task one holds: it may be retried.

        With ``beside``, the id of the task one holds, the one to follow it is leased in advance.
        """
        params = {} if beside is None else {"beside": beside}
        answer = self._checked("POST", f"{API}/datasets/{part(dataset)}/tasks/claim", retry=True, params=params)
        return None if answer.status_code == 204 else Task.model_validate(answer.json())

    def choose(self, task_id: int) -> Task:
        """Lease a task that `tasks` lists, also one that was skipped; what one holds goes back to the queue.

        Raises:
            Conflict: somebody else is answering it, one has answered it, or nothing is left to do for it.
        """
        return Task.model_validate(self._checked("POST", f"{API}/tasks/{task_id}/claim", retry=True).json())

    def task(self, task_id: int) -> Task:
        """One annotation task."""
        return Task.model_validate(self._get(f"/tasks/{task_id}"))

    def content(self, task_id: int) -> bytes:
        """The sample's bytes."""
        return self._checked("GET", f"{API}/tasks/{task_id}/content", retry=True).content

    def submit(
        self, task_id: int, label: str, *, seconds: float | None = None, comment: str = "", key: str | None = None
    ) -> None:
        """Answer a task; the same ``key`` again (or a retry) counts once."""
        body = {"label": label, "seconds": seconds, "comment": comment}
        self._write(f"/tasks/{task_id}/annotation", body, key)

    def submit_and_claim(
        self, task_id: int, label: str, *, seconds: float | None = None, comment: str = "", key: str | None = None
    ) -> Task | None:
        """`submit` and then `claim` in one request; None when there is no next task.

        With an error nothing was answered. The same ``key`` again (or a retry) counts once.
        """
        body = {"label": label, "seconds": seconds, "comment": comment}
        following = self._write(f"/tasks/{task_id}/annotation?next=true", body, key).json()["next"]
        return None if following is None else Task.model_validate(following)

    def skip(self, task_id: int, reason: str = "", *, key: str | None = None) -> None:
        """Give a task back; the same ``key`` again (or a retry) counts once."""
        self._write(f"/tasks/{task_id}/skip", {"reason": reason}, key)

    def undo(self, dataset: str, *, key: str | None = None) -> Task | None:
        """Take the last answer or skip back and get its task again; None when somebody else is answering it just now.

        Raises:
            Conflict: something followed from the answer already.
        """
        task = self._write(f"/datasets/{part(dataset)}/tasks/undo", {}, key).json()["task"]
        return None if task is None else Task.model_validate(task)

    def release(self, task_id: int) -> None:
        """Give a task back unanswered: others may have it at once."""
        self._delete(f"/tasks/{task_id}/claim")

    def renew(self, task_id: int) -> None:
        """Keep a task for another lease."""
        self._checked("POST", f"{API}/tasks/{task_id}/renew", retry=True)

    def audit(
        self, *, user: str | None = None, action: str | None = None, since: str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The newest ``limit`` events of the audit log that match; ``since`` is an ISO time with its zone."""
        wanted = {"user": user, "action": action, "since": since}
        return self._all("/audit", limit, **{name: value for name, value in wanted.items() if value is not None})

    def offboard(
        self, name: str, *, to: str | None = None, archive: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        """Somebody leaves; what is theirs goes to ``to`` or into the archive. Again does no harm."""
        body = {"name": name, "to": to, "archive": archive, "dry_run": dry_run}
        return self._stream("/users/offboard", body, None)

    def _stream(
        self,
        path: str,
        body: dict[str, Any] | bytes,
        progress: Progress | None,
        method: str = "POST",
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Long work of the API's: tells ``progress`` as it goes and returns the result. Not tried again by itself.

        A body of bytes is sent as a file.
        """
        options: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            options = {"content": body, "headers": {"Content-Type": "application/octet-stream"}}
        try:
            timeout = httpx.Timeout(30, read=None)
            with self._http.stream(method, API + path, params=params, timeout=timeout, **options) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _error(answer)
                for line in answer.iter_lines():
                    told = json.loads(line)
                    if "result" in told:
                        return dict(told["result"])
                    if "problem" in told:
                        raise _of_problem(told["problem"])
                    if progress is not None:
                        progress(told["done"], told["total"])
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error
        raise Unavailable(f"{self.base_url} broke off; doing it again does no harm")

    def _follow(self, path: str, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
        """The events of one answer of server-sent events, until it ends."""
        try:
            timeout = httpx.Timeout(30, read=60)  # the server says something every 15 seconds
            with self._http.stream("GET", API + path, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _error(answer)
                for event in server_sent(answer.iter_lines()):
                    if event["event"] == "problem":
                        raise _of_problem(event["data"])
                    yield event
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error

    def _download(self, path: str, params: dict[str, Any]) -> Iterator[bytes]:
        """An answer's content as it comes, for it may be large."""
        try:
            timeout = httpx.Timeout(30, read=None)  # a large one takes long to make
            with self._http.stream("GET", API + path, params=params, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _error(answer)
                for chunk in answer.iter_bytes():  # noqa: UP028 - the client for asyncio is made of this
                    yield chunk
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error

    def _delete(self, path: str, if_match: str | None = None, **params: Any) -> dict[str, Any]:
        headers = {} if if_match is None else {"If-Match": if_match}
        return dict(self._checked("DELETE", API + path, retry=False, params=params, headers=headers).json())

    def _get(self, path: str, **params: Any) -> Any:
        return self._checked("GET", API + path, retry=True, params=params).json()

    def _show(self, path: str) -> dict[str, Any]:
        """Something with its ``etag``."""
        answer = self._checked("GET", API + path, retry=True)
        return {**answer.json(), "etag": answer.headers["ETag"]}

    def _text(self, path: str) -> str:
        return self._checked("GET", API + path, retry=True).text

    def _all(self, path: str, most: int | None = None, **params: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page, or the first ``most``."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while most is None or len(items) < most:
            size = 200 if most is None else min(200, most - len(items))
            found = self._get(path, limit=size, **params, **({"cursor": cursor} if cursor else {}))
            items += found["items"]
            cursor = found["next"]
            if cursor is None:
                break
        return items

    def _post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A write that is not tried again: done twice, it would be two."""
        return dict(self._checked("POST", API + path, retry=False, json=body).json())

    def _put(self, path: str, body: dict[str, Any], if_match: str | None = None) -> Any:
        headers = {} if if_match is None else {"If-Match": if_match}
        # After an answer that got lost, the same again would be refused.
        return self._checked("PUT", API + path, retry=if_match is None, json=body, headers=headers).json()

    def _write(
        self, path: str, body: dict[str, Any], key: str | None = None, if_match: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        if if_match is not None:  # after an answer that got lost, the same again would be refused
            return self._checked("POST", API + path, retry=False, json=body, headers={"If-Match": if_match})
        return self._checked("POST", API + path, retry=True, json=body, headers=headers)

    def _checked(self, method: str, path: str, *, retry: bool, **options: Any) -> httpx.Response:
        wait = 0.0
        for attempt in range(TRIES if retry else 1):
            if attempt:
                time.sleep(max(wait, BACKOFF_SECONDS * 2**attempt))
            last = attempt == (TRIES if retry else 1) - 1
            try:
                answer = self._send(method, path, **options)
            except Unavailable:
                if last:
                    raise
                continue
            if answer.status_code < 400:
                return answer
            after = answer.headers.get("retry-after", "")
            wait = float(after) if after.isdecimal() else 0.0
            if last or answer.status_code not in RETRIED or wait > LONGEST_WAIT_SECONDS:
                raise _error(answer)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error


_BY_TYPE: dict[str, type[LearnloopError]] = {
    found.type: found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, LearnloopError)
}


def _error(answer: httpx.Response) -> LearnloopError:
    """The exception that a problem document (or another error answer) stands for."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):  # not ours: a proxy, or Airflow before it has started
        body = {}
    detail = body.get("detail") or f"{answer.url.path}: {answer.status_code} {answer.reason_phrase}"
    return _of_problem({**body, "detail": detail, "status": answer.status_code})


def _of_problem(body: dict[str, Any]) -> LearnloopError:
    kind = _BY_TYPE.get(str(body.get("type", "")).removeprefix("urn:learnloop:problem:"))
    if kind is None:
        known = {401: NotAuthenticated, 403: PermissionDenied, 404: errors.NotFound, 422: InvalidInput}
        kind = known.get(int(body["status"]), Unavailable if int(body["status"]) >= 500 else LearnloopError)
    detail, problems = str(body["detail"]), [str(problem) for problem in body.get("problems", ())]
    if issubclass(kind, InvalidInput):
        return kind(detail, problems)
    return kind("\n".join([detail, *(f"  - {problem}" for problem in problems)]))
