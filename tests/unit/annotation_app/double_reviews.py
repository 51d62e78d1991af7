"""Reviews. Routes of the double, as the API has them."""

from __future__ import annotations

from typing import Any

from double import API
from double_server import Server
from fastapi import Request

from learnloop.errors import Conflict, InvalidInput


def add(server: Server) -> None:
    app, double = server.app, server.double

    @app.get(f"{API}/datasets/{{name}}/reviews")
    def reviews(name: str, request: Request) -> Any:
        server.caller(request, "annotation:review")
        return {"items": double.reviews[::-1], "next": None}

    @app.get(f"{API}/reviews/{{review_id}}")
    def review(review_id: int, request: Request) -> Any:
        server.caller(request, "annotation:review")
        return next(row for row in [*double.reviews, *double.decisions] if row["id"] == review_id)

    @app.post(f"{API}/reviews/{{review_id}}/decision")
    def decide(review_id: int, body: dict[str, Any], request: Request) -> Any:
        user = server.caller(request, "annotation:review")

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

        return server.once(request, write)
