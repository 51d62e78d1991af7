"""Who asks a model server to load, unload or move something: whoever Airflow says their token is.

The server asks our API, which asks Airflow; its answer holds for a few seconds. Without an answer nobody may do anything.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass

from starlette.requests import Request

from learnloop.client import LearnloopClient
from learnloop.errors import NotAuthenticated, PermissionDenied

HOLDS_SECONDS = 10.0
MOST = 1000


@dataclass(frozen=True)
class Caller:
    name: str
    permissions: frozenset[str]
    token: str


class Callers:
    """Asks the API at ``api_url`` who bears a token."""

    def __init__(self, api_url: str) -> None:
        self.api_url = api_url
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Caller]] = {}

    def may(self, request: Request, permission: str) -> Caller:
        """The caller, who has ``permission``. It asks over the network: call it in a thread.

        Raises:
            NotAuthenticated: there is no token, or it is not good (any more).
            PermissionDenied: the caller's roles do not grant it.
            Unavailable: the API does not answer.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticated(
                f"this needs the permission {permission}: send Authorization: Bearer TOKEN (learnloop login gives one)"
            )
        caller = self._caller(token.strip())
        if permission not in caller.permissions:
            raise PermissionDenied(f"{caller.name} may not {permission}: it needs a role that grants it")
        return caller

    def _caller(self, token: str) -> Caller:
        digest = hashlib.sha256(token.encode()).digest()
        now = time.monotonic()
        with self._lock:
            found = self._known.get(digest)
        if found is not None and now < found[0]:
            return found[1]
        with LearnloopClient(self.api_url, token) as api:
            who = api.session()
        caller = Caller(who.name, frozenset(who.permissions), token)
        with self._lock:
            if len(self._known) >= MOST:
                self._known = {key: known for key, known in self._known.items() if now < known[0]}
            self._known[digest] = (now + HOLDS_SECONDS, caller)
        return caller
