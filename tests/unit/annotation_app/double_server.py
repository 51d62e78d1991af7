"""What all routes of the double do: who calls, whose task it is, and that a write is done once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from double import Double
from fastapi import FastAPI, Request

from learnloop.errors import Gone, NotAuthenticated, NotFound, PermissionDenied, Unavailable
from learnloop.permissions import Principal, authorize


class Server:
    def __init__(self, double: Double) -> None:
        self.app = FastAPI()
        self.double = double

    def caller(self, request: Request, permission: str) -> str:
        self.double.hold.wait(30)
        if self.double.down:
            raise Unavailable("the database does not answer; try again in a moment")
        self.double.on_request(request.url.path)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = self.double.user_of(token)
        if not token or token in self.double.revoked or user not in self.double.users:
            raise NotAuthenticated("the session has ended: log in again")
        authorize(Principal(user, frozenset({self.double.users[user][1]})), permission)
        return user

    def held(self, task_id: int, user: str) -> dict[str, Any]:
        if any(task["id"] == task_id for task in self.double.open):
            raise Gone(f"the lease of task {task_id} has lapsed and the task is back in the queue: claim again")
        holder, task = self.double.claims.get(task_id, (None, None))
        if task is None:
            raise NotFound(f"there is no task {task_id}")
        if holder != user:
            raise PermissionDenied(f"task {task_id} is {holder}'s: claim a task of your own")
        return task

    def once(self, request: Request, write: Callable[[], Any]) -> Any:
        key = request.headers["idempotency-key"]  # the page always sends one
        if key not in self.double.replies:
            self.double.replies[key] = write()
        if self.double.lose_reply:
            raise Unavailable("the connection was lost")
        return self.double.replies[key]

    def described(self, name: str) -> dict[str, Any]:
        classes = self.double.datasets[name]
        return {
            "name": name,
            "task_type": "image_classification",
            "description": "",
            "classes": classes,
            "head": None,
        }

    def leased(self, task: dict[str, Any]) -> dict[str, Any]:
        return task | {
            "lease_expires_at": (datetime.now(UTC) + timedelta(seconds=self.double.lease_seconds)).isoformat()
        }
