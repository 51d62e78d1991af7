"""Who is calling, decided by Airflow's own code (no token is ever made here: all of these must be refused)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from route_places import PLACES
from starlette.testclient import TestClient

from learnloop_airflow.api import auth

BEARER = {"Authorization": "Bearer "}


@pytest.fixture
def anybody(app) -> TestClient:
    return TestClient(app, base_url="http://loop.example", raise_server_exceptions=False)


def test_every_route_asks_who_is_calling(app, anybody) -> None:
    paths = [*app.openapi()["paths"].items(), ("/openapi.json", {"get": {}})]
    asked = 0
    for path, operations in paths:
        for method in operations:
            answer = anybody.request(method, path.format_map(PLACES), json={"label": "cat"})
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.json()["type"] == "urn:learnloop:problem:not-authenticated"
            asked += 1
    assert asked > 15


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect", "/datasets/", "/session/"])
def test_there_is_nothing_beside_the_routes(anybody, path: str) -> None:
    assert anybody.get(path, follow_redirects=False).status_code == 404


@pytest.mark.parametrize("headers", [BEARER, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
def test_what_is_no_token_is_nobody(anybody, headers) -> None:
    assert anybody.get("/session", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://loop.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://loop.example.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": "http://loop.example"}, 404),
        ({"Authorization": "Bearer token"}, 404),
    ],
)
def test_other_sites_cannot_write_with_the_login_cookie(anybody, monkeypatch, headers, status: int) -> None:
    """Only the token's check is replaced: that it is valid is what makes the other site dangerous."""
    from airflow.api_fastapi.core_api import security

    async def valid(token: str | None) -> object:
        class User:
            role = "admin"

            def get_name(self) -> str:
                return "rob"

        assert token == "token"
        return User()

    monkeypatch.setattr(security, "resolve_user_from_token", valid)
    anybody.cookies.set("_token", "token")
    assert anybody.get("/session", headers=headers).json()["name"] == "rob"  # reading is safe: no site sees the answer
    answer = anybody.post("/datasets/nobody/tasks/claim", headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("user", "roles"),
    [
        ({"role": "OP"}, {"engineer"}),
        ({"role": "user"}, {"scientist"}),
        ({"role": "ADMIN"}, {"admin"}),
        ({"role": "annotator"}, {"annotator"}),
        ({"role": None}, set()),
        ({"role": "service"}, set()),
        ({"roles": ["Op", "viewer"]}, {"Op", "viewer"}),
        ({"roles": ["Service", "service"]}, set()),
        ({"roles": [], "role": "admin"}, set()),
    ],
)
def test_role_names_come_from_either_auth_manager(user, roles) -> None:
    assert auth._roles(SimpleNamespace(**user)) == roles


def test_nobody_is_the_platform_itself(anybody, monkeypatch) -> None:
    from airflow.api_fastapi.core_api import security

    async def valid(token: str | None) -> object:
        return SimpleNamespace(get_name=lambda: "service:learnloop", roles=["admin"])

    monkeypatch.setattr(security, "resolve_user_from_token", valid)
    answer = anybody.get("/session", headers={"Authorization": "Bearer token"})
    assert answer.status_code == 401
    assert "the platform's own" in answer.json()["detail"]
