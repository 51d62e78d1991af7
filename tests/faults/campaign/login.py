"""Who is logged in, as a person is: whose token counts no more logs in again."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from learnloop.client import LearnloopClient

from .seen import Seen


class Login(httpx.Auth):
    """Raises what `LearnloopClient.login` does."""

    requires_response_body = True

    def __init__(self, url: str, name: str, password: str, seen: Seen) -> None:
        self.url, self.name, self._password, self._seen = url, name, password, seen
        self.renew()

    def renew(self) -> None:
        self.token = str(LearnloopClient.login(self.url, self.name, self._password).token)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self.token}"
        answer = yield request
        if answer.status_code != 401 or not self._seen.token_may_not_count():
            return
        body = {"username": self.name, "password": self._password}
        made = yield httpx.Request("POST", f"{self.url}/auth/token", json=body)
        if made.status_code == 201:
            self.token = made.json()["access_token"]
            self._seen.did["logged in again"] += 1
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request
