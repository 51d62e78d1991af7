"""A small HTTP server with the API's routes and its state in memory, for the page to talk to over a real socket.

The page against the real API is tests/browser; here a test can lapse a lease or take the server down at a chosen
moment.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from sklearn.datasets import load_digits
from streamlit.testing.v1 import AppTest

from learnloop.errors import (
    Conflict,
    Gone,
    InvalidInput,
    LearnloopError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from learnloop.permissions import Principal, authorize
from learnloop.settings import settings

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT))  # the page's package is not installed: Streamlit runs it from its folder

DIGITS = [str(digit) for digit in range(10)]
API = "/learnloop/api/v1"


@dataclass
class Double:
    """What the server knows, for tests to read and to upset."""

    users: dict[str, tuple[str, str]]  # name: (password, role)
    url: str = ""
    datasets: dict[str, list[str]] = field(default_factory=lambda: {"digits": DIGITS})
    open: list[dict[str, Any]] = field(default_factory=list)
    claims: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)  # task id: (who, task)
    answers: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, Any] = field(default_factory=dict)  # Idempotency-Key: what was answered
    revoked: set[str] = field(default_factory=set)
    down: bool = False
    lose_reply: bool = False  # write, but answer as if nobody were there
    content: bytes | None = None  # instead of the digit
    urls: list[str] = field(default_factory=list)  # as they were asked for
    lease_seconds: float = 300
    claimed_total: int = 0
    last: dict[str, Any] = field(default_factory=dict)  # user: the task they answered last and may take back
    reviews: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    def put(self, count: int, dataset: str = "digits") -> None:
        """Open ``count`` more tasks; the model guesses the number modulo the classes, then its neighbours."""
        classes = self.datasets[dataset]
        for _ in range(count):
            number = len(self.open) + self.claimed_total + 1
            guesses = [classes[(number + step) % len(classes)] for step in range(3)]
            self.open.append(
                {
                    "id": number,
                    "dataset": dataset,
                    "sample_id": f"batch_7/{number:04d}",
                    "task_type": "image_classification",
                    "path": f"images/batch_7/{number:04d}.png",
                    "content_type": "image/png",
                    "content_url": f"{API}/tasks/{number}/content",
                    "prediction": {
                        "label": guesses[0],
                        "confidence": 0.52,
                        "uncertainty": 0.48,
                        "probabilities": dict(zip(guesses, (0.52, 0.36, 0.07), strict=True)),
                        "model_version": 3,
                    },
                    "classes": classes,
                    "chosen_by": {"strategy": "diverse_mini_batch", "rank": number, "margin": 0.16},
                }
            )

    def differ(self, *labels: str | None, confirmed: str | None = None) -> dict[str, Any]:
        """One more sample that people differ on: p0 says the first label, p1 the second, ..."""
        number = len(self.reviews) + len(self.decisions) + 1
        answers = [
            {
                "annotator": f"p{index}",
                "label": label,
                "comment": "" if label is None else f"<{label}>",
                "seconds": 1.5,
                "outcome": "pending",
                "outcome_reason": "Damaged" if label is None else "",
                "review": None,
            }
            for index, label in enumerate(labels)
        ]
        self.put(1)
        task = self.open.pop()
        self.claimed_total += 1
        self.reviews.append(
            {key: task[key] for key in ("dataset", "sample_id", "content_type", "prediction", "classes")}
            | {
                "id": number,
                "task_id": task["id"],
                "kind": "disagreement" if confirmed is None else "suspicion",
                "reason": f"{len(labels)} people differ",
                "confirmed_label": confirmed,
                "decision": None,
                "label": None,
                "answers": answers,
            }
        )
        return self.reviews[-1]

    def give(self, task_id: int, user: str) -> None:
        """Let the lease of a claimed task lapse and ``user`` claim it."""
        self.claims[task_id] = (user, self.claims[task_id][1])

    def reopen(self, task_id: int) -> None:
        """Let the lease of a claimed task lapse."""
        self.open.append(self.claims.pop(task_id)[1])

    def token(self, user: str) -> str:
        return f"token-of-{user}"


def build(double: Double) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def note(request: Request, call_next: Callable[[Request], Any]) -> Any:
        double.urls.append(str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""))
        return await call_next(request)

    @app.exception_handler(LearnloopError)
    async def problem(request: Request, error: LearnloopError) -> JSONResponse:
        body = {"type": f"urn:learnloop:problem:{error.type}", "status": error.status, "detail": str(error)}
        return JSONResponse(body, error.status, media_type="application/problem+json")

    def caller(request: Request, permission: str) -> str:
        if double.down:
            raise Unavailable("the database does not answer; try again in a moment")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = token.removeprefix("token-of-")
        if not token or token in double.revoked or user not in double.users:
            raise NotAuthenticated("the session has ended: log in again")
        authorize(Principal(user, frozenset({double.users[user][1]})), permission)
        return user

    def held(task_id: int, user: str) -> dict[str, Any]:
        if any(task["id"] == task_id for task in double.open):
            raise Gone(f"the lease of task {task_id} has lapsed and the task is back in the queue: claim again")
        holder, task = double.claims.get(task_id, (None, None))
        if task is None:
            raise NotFound(f"there is no task {task_id}")
        if holder != user:
            raise PermissionDenied(f"task {task_id} is {holder}'s: claim a task of your own")
        return task

    def once(request: Request, write: Callable[[], Any]) -> Any:
        key = request.headers["idempotency-key"]  # the page always sends one
        if key not in double.replies:
            double.replies[key] = write()
        if double.lose_reply:
            raise Unavailable("the connection was lost")
        return double.replies[key]

    @app.post("/auth/token", status_code=201)
    def token(body: dict[str, str]) -> Any:
        user = body["username"]
        if double.users.get(user, ("",))[0] != body["password"]:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        double.revoked.discard(double.token(user))
        return {"access_token": double.token(user)}

    @app.post("/learnloop/api/v1/session/logout")
    def logout(request: Request) -> Response:
        carried = request.cookies.get("_token") or request.headers.get("authorization", "").removeprefix("Bearer ")
        double.revoked.add(carried)
        return Response(status_code=200)

    @app.get(f"{API}/session")
    def session(request: Request) -> Any:
        user = caller(request, "session:read")
        role = double.users[user][1]
        permissions = sorted(Principal(user, frozenset({role})).permissions)
        return {"name": user, "roles": [role], "permissions": permissions}

    def described(name: str) -> dict[str, Any]:
        classes = double.datasets[name]
        return {
            "name": name,
            "task_type": "image_classification",
            "description": "",
            "classes": classes,
            "head": None,
        }

    @app.get(f"{API}/datasets")
    def datasets(request: Request) -> Any:
        caller(request, "dataset:read")
        return {"items": [described(name) for name in double.datasets], "next": None}

    @app.get(f"{API}/datasets/{{name}}/progress")
    def progress(name: str, request: Request) -> Any:
        user = caller(request, "dataset:read")
        mine = [answer for answer in double.answers if answer["user"] == user]
        waiting = len(double.answers)
        return {
            "confirmed": 60 + waiting,
            "waiting": waiting,
            "needed": 40,
            "reason": f"{40 - waiting} more labels needed",
            "open_tasks": sum(task["dataset"] == name for task in double.open),
            "pending": min(len(mine), 2),
            "answered_by_me": len(mine),
            "round": None,
        }

    @app.post(f"{API}/datasets/{{name}}/tasks/claim")
    def claim(name: str, request: Request) -> Any:
        user = caller(request, "annotation:claim")
        mine = [task for who, task in double.claims.values() if who == user and task["dataset"] == name]
        open_ones = [task for task in double.open if task["dataset"] == name]
        if not mine and not open_ones:
            return Response(status_code=204)
        task = (mine or open_ones)[0]
        if not mine:
            double.open.remove(task)
            double.claimed_total += 1
        double.claims[task["id"]] = (user, leased(task))
        return double.claims[task["id"]][1]

    def leased(task: dict[str, Any]) -> dict[str, Any]:
        return task | {"lease_expires_at": (datetime.now(UTC) + timedelta(seconds=double.lease_seconds)).isoformat()}

    @app.get(f"{API}/tasks/{{task_id}}")
    def show(task_id: int, request: Request) -> Any:
        return held(task_id, caller(request, "annotation:read"))

    @app.get(f"{API}/tasks/{{task_id}}/content")
    def content(task_id: int, request: Request) -> Response:
        user = caller(request, "annotation:read")
        if double.users[user][1] != "reviewer":
            held(task_id, user)
        return Response(double.content or digit(task_id), media_type="image/png")

    @app.post(f"{API}/tasks/{{task_id}}/annotation")
    def annotate(task_id: int, body: dict[str, Any], request: Request) -> Any:
        user = caller(request, "annotation:claim")

        def write() -> Any:
            task = held(task_id, user)
            if body["label"] not in task["classes"]:
                raise InvalidInput(f"{body['label']!r} is no class of {task['dataset']}")
            del double.claims[task_id]
            double.answers.append({"user": user, "task": task_id, **body})
            double.last[user] = task
            return {"id": len(double.answers), "task_id": task_id, "received": True}

        return once(request, write)

    @app.post(f"{API}/tasks/{{task_id}}/skip")
    def skip(task_id: int, body: dict[str, Any], request: Request) -> Any:
        user = caller(request, "annotation:claim")
        double.last[user] = held(task_id, user)
        del double.claims[task_id]
        double.answers.append({"user": user, "task": task_id, **body})
        return {"task_id": task_id, "skipped": True}

    @app.post(f"{API}/datasets/{{name}}/tasks/undo")
    def undo(name: str, request: Request) -> Any:
        user = caller(request, "annotation:claim")

        def write() -> Any:
            task = double.last.pop(user, None)
            if task is None:
                raise Conflict("the last answer can no longer be taken back: it was confirmed")
            double.answers = [answer for answer in double.answers if answer["task"] != task["id"]]
            for number, (who, other) in list(double.claims.items()):
                if who == user:
                    double.open.insert(0, double.claims.pop(number)[1] | other)
            if task in double.open:
                return {"task": None}
            double.claims[task["id"]] = (user, leased(task))
            return {"task": double.claims[task["id"]][1]}

        return once(request, write)

    @app.get(f"{API}/datasets/{{name}}/quality/me")
    def my_quality(name: str, request: Request) -> Any:
        user = caller(request, "annotation:claim")
        return {
            "annotator": user,
            "answers": 34,
            "skipped": 2,
            "confirmed": 27,
            "rejected": 3,
            "accepted": 0.9,
            "gold_answered": 5,
            "gold_right": 4,
            "median_seconds": 3.24,
            "fast": 0,
        }

    @app.get(f"{API}/datasets/{{name}}/reviews")
    def reviews(name: str, request: Request) -> Any:
        caller(request, "annotation:review")
        return {"items": double.reviews[::-1], "next": None}

    @app.get(f"{API}/reviews/{{review_id}}")
    def review(review_id: int, request: Request) -> Any:
        caller(request, "annotation:review")
        return next(row for row in [*double.reviews, *double.decisions] if row["id"] == review_id)

    @app.post(f"{API}/reviews/{{review_id}}/decision")
    def decide(review_id: int, body: dict[str, Any], request: Request) -> Any:
        user = caller(request, "annotation:review")

        def write() -> Any:
            found = next((row for row in double.reviews if row["id"] == review_id), None)
            if found is None:
                raise Conflict(f"review {review_id} is decided: ron chose confirm 1")
            given = {answer["label"] for answer in found["answers"]}
            if not body["reason"] and body["label"] not in given:
                raise InvalidInput("say why")
            double.reviews.remove(found)
            double.decisions.append(found | body | {"decided_by": user})
            return double.decisions[-1]

        return once(request, write)

    @app.post(f"{API}/tasks/{{task_id}}/renew")
    def renew(task_id: int, request: Request) -> Any:
        user = caller(request, "annotation:claim")
        double.claims[task_id] = (user, leased(held(task_id, user)))
        return {"task_id": task_id, "lease_expires_at": double.claims[task_id][1]["lease_expires_at"]}

    return app


@cache
def digit(number: int) -> bytes:
    """An 8 x 8 grey picture of the number's last digit, as PNG bytes."""
    digits = load_digits()
    index = int((digits.target == number % 10).nonzero()[0][number % 7])
    written = io.BytesIO()
    Image.fromarray((digits.images[index] * 15.9).astype("uint8")).save(written, "PNG")
    return written.getvalue()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnloop.client.BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr("annotation_app.desk.AGAIN_SECONDS", 0.0)


@pytest.fixture
def double() -> Iterator[Double]:
    """The server, running, with ten open tasks and one user a role."""
    state = Double(
        {"anna": ("secret-a", "annotator"), "vera": ("secret-v", "viewer"), "rita": ("secret-r", "reviewer")}
    )
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    state.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    state.put(10)
    server = uvicorn.Server(uvicorn.Config(build(state), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield state
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def cookies() -> dict[str, str]:
    """What the browser sends along; a test puts Airflow's ``_token`` in."""
    return {}


@pytest.fixture
def page(double: Double, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The page, not run yet. Streamlit's harness has no browser, so its cookies are put in here."""
    monkeypatch.setenv("LEARNLOOP_API_URL", double.url)
    monkeypatch.setattr("streamlit.runtime.context._get_client_context", lambda: SimpleNamespace(cookies=cookies))
    settings.cache_clear()
    yield AppTest.from_file(str(ROOT / "annotation_app" / "app.py"), default_timeout=10)
    settings.cache_clear()
