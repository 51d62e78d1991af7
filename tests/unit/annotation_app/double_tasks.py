"""Tasks and answers. Routes of the double, as the API has them."""

from __future__ import annotations

from typing import Any

from double import API, digit
from double_server import Server
from fastapi import Request
from fastapi.responses import Response

from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.permissions import Principal, authorize


def add(server: Server) -> None:
    app, double = server.app, server.double

    @app.post(f"{API}/datasets/{{name}}/tasks/claim")
    def claim(name: str, request: Request, beside: int | None = None) -> Any:
        user = server.caller(request, "annotation:claim")
        held = [task for who, task in double.claims.values() if who == user and task["dataset"] == name]
        mine = [task for task in held if task["id"] != beside]
        open_ones = [task for task in double.open if task["dataset"] == name]
        if not mine and not open_ones:
            return Response(status_code=204)
        task = (mine or open_ones)[0]
        if not mine:
            double.open.remove(task)
            double.claimed_total += 1
        double.claims[task["id"]] = (user, server.leased(task))
        return double.claims[task["id"]][1]

    @app.get(f"{API}/datasets/{{name}}/tasks")
    def tasks(name: str, request: Request, state: str, limit: int) -> Any:
        user = server.caller(request, "annotation:read")
        given = request.query_params
        skipped = {
            answer["task"]: answer["reason"]
            for answer in double.answers
            if answer["user"] == user and "label" not in answer
        }
        if state not in ("open", "skipped"):
            authorize(Principal(user, frozenset({double.users[user][1]})), "annotation:review")
        found = {
            "open": double.open,
            "skipped": [task for task in double.known.values() if task["id"] in skipped],
            "claimed": [double.known[number] for number in double.claims],
        }.get(state, [])
        items = [
            {
                "id": task["id"],
                "sample_id": task["sample_id"],
                "label": task["prediction"]["label"],
                "confidence": task["prediction"]["confidence"],
                "batch": "batch_7" if state == "open" else None,
                "created_at": "2026-05-01T08:30:00+00:00" if state == "open" else None,
                "skip_reason": skipped.get(task["id"]),
            }
            for task in found
            if task["dataset"] == name and given.get("label") in (None, task["prediction"]["label"])
        ]
        return {"items": items[:limit], "next": "more" if len(items) > limit else None}

    @app.post(f"{API}/tasks/{{task_id}}/claim")
    def choose(task_id: int, request: Request) -> Any:
        user = server.caller(request, "annotation:claim")
        task = double.known.get(task_id)
        if task is None:
            raise NotFound(f"there is no task {task_id}")
        if double.claims.get(task_id, (user,))[0] != user:
            raise Conflict(f"somebody else is answering task {task_id} just now: choose another")
        for number, (who, other) in list(double.claims.items()):
            if who == user and number != task_id:
                double.open.insert(0, double.claims.pop(number)[1] | other)
        double.open = [other for other in double.open if other["id"] != task_id]
        double.claims[task_id] = (user, server.leased(task))
        return double.claims[task_id][1]

    @app.delete(f"{API}/tasks/{{task_id}}/claim")
    def release(task_id: int, request: Request) -> Any:
        user = server.caller(request, "annotation:claim")
        if double.claims.get(task_id, ("",))[0] == user:
            double.open.insert(0, double.claims.pop(task_id)[1])
        return {"released": True}

    @app.get(f"{API}/tasks/{{task_id}}")
    def show(task_id: int, request: Request) -> Any:
        return server.held(task_id, server.caller(request, "annotation:read"))

    @app.get(f"{API}/tasks/{{task_id}}/content")
    def content(task_id: int, request: Request) -> Response:
        user = server.caller(request, "annotation:read")
        if double.users[user][1] != "reviewer":
            server.held(task_id, user)
        if double.content_gone:
            raise NotFound(f"the sample of task {task_id} is not in the store any more: skip it as damaged")
        return Response(double.content or digit(task_id), media_type="image/png")

    @app.post(f"{API}/tasks/{{task_id}}/annotation")
    def annotate(task_id: int, body: dict[str, Any], request: Request) -> Any:
        user = server.caller(request, "annotation:claim")

        def write() -> Any:
            task = server.held(task_id, user)
            if body["label"] not in task["classes"]:
                raise InvalidInput(f"{body['label']!r} is no class of {task['dataset']}")
            del double.claims[task_id]
            double.answers.append({"user": user, "task": task_id, **body})
            double.last[user] = task
            return {"id": len(double.answers), "task_id": task_id, "received": True}

        return server.once(request, write)

    @app.post(f"{API}/tasks/{{task_id}}/skip")
    def skip(task_id: int, body: dict[str, Any], request: Request) -> Any:
        user = server.caller(request, "annotation:claim")
        double.last[user] = server.held(task_id, user)
        del double.claims[task_id]
        double.answers.append({"user": user, "task": task_id, **body})
        return {"task_id": task_id, "skipped": True}

    @app.post(f"{API}/datasets/{{name}}/tasks/undo")
    def undo(name: str, request: Request) -> Any:
        user = server.caller(request, "annotation:claim")

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
            double.claims[task["id"]] = (user, server.leased(task))
            return {"task": double.claims[task["id"]][1]}

        return server.once(request, write)

    @app.post(f"{API}/tasks/{{task_id}}/renew")
    def renew(task_id: int, request: Request) -> Any:
        user = server.caller(request, "annotation:claim")
        double.claims[task_id] = (user, server.leased(server.held(task_id, user)))
        return {"task_id": task_id, "lease_expires_at": double.claims[task_id][1]["lease_expires_at"]}
