"""Datasets and their figures. Routes of the double, as the API has them."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from double import API
from double_server import Server
from fastapi import Request, Response

from learnloop.errors import LearnloopError, PreconditionFailed


def add(server: Server) -> None:
    app, double = server.app, server.double

    @app.get(f"{API}/datasets")
    def datasets(request: Request) -> Any:
        server.caller(request, "dataset:read")
        return {"items": [server.described(name) for name in double.datasets], "next": None}

    @app.get(f"{API}/datasets/{{name}}")
    def dataset(name: str, request: Request) -> Any:
        server.caller(request, "dataset:read")
        return server.described(name)

    @app.get(f"{API}/datasets/{{name}}/batches")
    def batches(name: str, request: Request) -> Any:
        server.caller(request, "batch:read")
        return {"items": [{"name": "batch_7"}], "next": None}

    @app.get(f"{API}/datasets/{{name}}/progress")
    def progress(name: str, request: Request) -> Any:
        user = server.caller(request, "dataset:read")
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

    @app.get(f"{API}/datasets/{{name}}/quality/me")
    def my_quality(name: str, request: Request) -> Any:
        return my_figures(server.caller(request, "annotation:claim"))

    @app.get(f"{API}/datasets/{{name}}/quality")
    def quality(name: str, request: Request) -> Any:
        server.caller(request, "annotation:review")
        people = [my_figures(who) for who in ("anna", "ben")]
        return {
            "policy": {},
            "people": people,
            "agreement": {"samples": 12, "krippendorff_alpha": 0.81, "fleiss_kappa": None, "pairs": []},
            "check": None if double.reliability is None else {"answers": 40, "reliability": double.reliability},
        }

    @app.get(f"{API}/datasets/{{name}}/annotations/export")
    def export(name: str, format: str, request: Request) -> Any:
        server.caller(request, "annotation:export")
        return Response(double.exported + format.encode(), media_type="application/octet-stream")

    @app.post(f"{API}/datasets/{{name}}/tasks/upload")
    async def upload(name: str, request: Request) -> Any:
        server.caller(request, "annotation:import")
        double.uploads.append((request.url.query, await request.body()))
        if isinstance(double.upload_answer, LearnloopError):
            raise double.upload_answer
        return Response(json.dumps(double.upload_answer) + "\n", media_type="application/x-ndjson")

    def day_of(user: str) -> dict[str, Any]:
        return {
            "annotator": user,
            "day": date.today().isoformat(),
            "answers": 9,
            "skipped": 1,
            "timed": 9,
            "seconds": 30,
        }

    @app.get(f"{API}/datasets/{{name}}/answers/me")
    def my_answers(name: str, request: Request, outcome: str) -> Any:
        server.caller(request, "annotation:claim")
        return {"items": [row for row in double.decided if row["outcome"] == outcome], "next": None}

    @app.get(f"{API}/datasets/{{name}}/throughput/me")
    def my_throughput(name: str, request: Request, days: int) -> Any:
        return {"items": [day_of(server.caller(request, "annotation:claim"))]}

    @app.get(f"{API}/datasets/{{name}}/throughput")
    def throughput(name: str, request: Request, days: int) -> Any:
        server.caller(request, "annotation:review")
        return {"items": [day_of("anna"), day_of("ben")]}

    @app.get(f"{API}/datasets/{{name}}/balance")
    def balance(name: str, request: Request) -> Any:
        server.caller(request, "round:read")
        classes = double.datasets[name]
        return {"items": [{"label": each, "confirmed": 3 + n, "waiting": 1} for n, each in enumerate(classes)]}

    @app.get(f"{API}/datasets/{{name}}/rounds")
    def rounds(name: str, request: Request) -> Any:
        server.caller(request, "round:read")
        return {"items": double.rounds[::-1], "next": None}

    @app.get(f"{API}/datasets/{{name}}/guide")
    def guide(name: str, request: Request, response: Response) -> Any:
        server.caller(request, "dataset:read")
        found = double.guides.get(name, {"instructions": "", "classes": {}, "by": None})
        response.headers["ETag"] = f'"{len(double.guides_written)}"'
        blank = {"color": None, "key": None}
        return {
            "instructions": found["instructions"],
            "classes": [{"label": each, **blank, **found["classes"].get(each, {})} for each in double.datasets[name]],
            "updated_by": found["by"],
            "updated_at": None if found["by"] is None else "2026-05-01T08:30:00+00:00",
        }

    @app.put(f"{API}/datasets/{{name}}/guide")
    def put_guide(name: str, body: dict[str, Any], request: Request) -> Any:
        user = server.caller(request, "dataset:write")
        seen = request.headers.get("if-match")
        if seen not in (None, f'"{len(double.guides_written)}"'):
            raise PreconditionFailed(f"the guide of {name} changed since you looked: look at it again, and decide anew")
        double.write_guide(name, body["instructions"], {each.pop("label"): each for each in body["classes"]}, user)
        return {}


def my_figures(user: str) -> dict[str, Any]:
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
        "slow": 0,
    }
