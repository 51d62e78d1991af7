"""A client whose token is exchanged for a new one in good time, while other threads (errands) go on using it.

Pure of Streamlit.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import httpx
import jwt

from learnloop.client import LearnloopClient
from learnloop.errors import Unavailable

SHARE = 0.5
"""A token is exchanged once this share of its life has passed: the rest is for an API that does not answer."""
AGAIN_SECONDS = 30.0
"""An exchange that did not come through is not tried again before."""


class LastingClient(LearnloopClient):
    """A request that meets the exchange of its token is sent once more, with the new one: nothing is done twice, for who
    is refused with 401 has done nothing.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        super().__init__(base_url, token)
        self._exchange = threading.RLock()
        self._not_before = -math.inf

    def keep(self) -> bool:
        """Exchange the token if it is time to; whether it was exchanged.

        Raises:
            NotAuthenticated: it has ended.
        """
        with self._exchange:
            if not self.is_due() or time.monotonic() < self._not_before:
                return False
            self._not_before = time.monotonic() + AGAIN_SECONDS
            try:
                self.refresh()
            except Unavailable:
                return False  # there is time
            self._not_before = -math.inf
            return True

    def is_due(self) -> bool:
        """Whether the token's time to be exchanged has come. One that does not say when it ends is never exchanged."""
        try:
            claims = jwt.decode(self.token or "", options={"verify_signature": False, "verify_exp": False})
            born, ends = float(claims["iat"]), float(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            return False
        return time.time() >= born + SHARE * (ends - born)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        token = self.token
        answer = super()._send(method, path, **_bearing(token, options))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            with self._exchange:  # one that is under way ends first
                new = self.token
            if new != token:
                answer = super()._send(method, path, **_bearing(new, options))
        return answer


def _bearing(token: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The request's options with this token, whatever the client's is by the time it is sent."""
    if token is None:
        return options
    return {**options, "headers": {**(options.get("headers") or {}), "Authorization": f"Bearer {token}"}}
