"""Datasets and their figures. Routes of the double, as the API has them."""

from __future__ import annotations

from typing import Any

from double import API
from double_server import Server
from fastapi import Request


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
        user = server.caller(request, "annotation:claim")
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
