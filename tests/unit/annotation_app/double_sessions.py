"""Logging in and out. Routes of the double, as the API has them."""

from __future__ import annotations

from typing import Any

from double import API
from double_server import Server
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from learnloop.errors import Unavailable
from learnloop.permissions import Principal


def add(server: Server) -> None:
    app, double = server.app, server.double

    @app.post("/auth/token", status_code=201)
    def token(body: dict[str, str]) -> Any:
        user = body["username"]
        if double.users.get(user, ("",))[0] != body["password"]:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        double.revoked.discard(double.token(user))
        return {"access_token": double.token(user)}

    @app.post("/learnloop/api/v1/session/refresh")
    def refresh(request: Request) -> Any:
        user = server.caller(request, "session:write")
        if double.refusing:
            raise Unavailable("not now")
        double.revoked.add(request.headers["authorization"].removeprefix("Bearer "))
        double.life = None if double.life is None else (0, 3600)
        double.refreshed += 1
        double.on_refreshed()
        return {"access_token": double.token(user), "expires_at": ""}

    @app.post("/learnloop/api/v1/session/logout")
    def logout(request: Request) -> Response:
        carried = request.cookies.get("_token") or request.headers.get("authorization", "").removeprefix("Bearer ")
        double.revoked.add(carried)
        return Response(status_code=200)

    @app.get(f"{API}/session")
    def session(request: Request) -> Any:
        user = server.caller(request, "session:read")
        role = double.users[user][1]
        permissions = sorted(Principal(user, frozenset({role})).permissions)
        return {"name": user, "roles": [role], "permissions": permissions}
