"""When the applications are made that Airflow's API server mounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from learnloop_airflow.mounted import MadeAtStart, Mounted


def test_our_applications_are_made_before_the_server_says_that_it_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def making(name: str) -> Mounted:
        def create() -> PlainTextResponse:
            order.append(name)
            return PlainTextResponse(name)

        return Mounted(create)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        order.append("started")
        yield

    monkeypatch.setattr(Mounted, "all", [])
    api = making("api")
    making("views")
    app = Starlette(lifespan=lifespan)
    app.mount("/api", api)
    app.add_middleware(MadeAtStart)
    with TestClient(app) as client:
        assert order == ["api", "views", "started"]
        assert client.get("/api/x").text == "api"
    assert order == ["api", "views", "started"]


def test_a_server_starts_though_ours_cannot_be_made_and_says_so_when_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise LookupError("a setting is missing")

    monkeypatch.setattr(Mounted, "all", [])
    api = Mounted(broken)
    app = Starlette()
    app.mount("/api", api)
    app.add_middleware(MadeAtStart)
    with TestClient(app) as client:
        assert "a setting is missing" in caplog.text
        with pytest.raises(LookupError, match="a setting is missing"):
            client.get("/api/x")
