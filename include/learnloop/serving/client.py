"""A client of the model server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from learnloop.errors import InvalidInput, LearnloopError, NotFound, Unavailable

CONNECT_RETRIES = 2
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Prediction:
    """The answer of one model version: ``probabilities`` float32 ``[n, k]``, the likeliest class of each row."""

    probabilities: NDArray[np.float32]
    labels: list[str]
    model_version: int


class ModelClient:
    """Talks to the model server at ``base_url``; keeps its connections, and may be shared by threads.

    A name is ``digits`` (what is current) or ``digits:realtime``. All methods raise ``Unavailable`` when the
    server does not answer, and what its answer says otherwise: ``NotFound``, ``InvalidInput``.
    """

    def __init__(self, base_url: str, *, timeout: float = 30.0) -> None:
        # Only connecting is tried again: what may have been answered already is for the caller to repeat.
        transport = httpx.HTTPTransport(retries=CONNECT_RETRIES)
        self._http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport)
        self._base_url = base_url

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def infer(self, name: str, features: NDArray[Any], version: int | None = None) -> Prediction:
        """Predict ``features`` ``[n, d]`` (at most 10,000 rows), with exactly ``version`` when it is given."""
        if features.ndim != 2:
            raise InvalidInput(f"features have shape {features.shape}; they must be [rows, columns]")
        single = features.dtype == np.float32
        data = np.ascontiguousarray(features, dtype=np.float32 if single else np.float64).ravel()
        tensor = {
            "name": "features",
            "datatype": "FP32" if single else "FP64",
            "shape": list(features.shape),
            "data": data,
        }
        body = orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = self._ask("POST", f"{_path(name, version)}/infer", body)
        probabilities, labels = answer["outputs"]
        return Prediction(
            np.array(probabilities["data"], dtype=np.float32).reshape(probabilities["shape"]),
            labels["data"],
            int(answer["model_version"]),
        )

    def metadata(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The protocol's metadata; ``["parameters"]["classes"]`` names the columns of the probabilities."""
        return self._ask("GET", _path(name, version))

    def models(self) -> list[dict[str, Any]]:
        """The aliases that are served, each with the version it points at."""
        served: list[dict[str, Any]] = self._ask("GET", "/api/tags")["models"]
        return served

    def ready(self) -> bool:
        """Whether the server is up and has tried all that it should serve."""
        try:
            self._ask("GET", "/v2/health/ready")
        except Unavailable:
            return False
        return True

    def wait_ready(self, name: str, version: int | None = None, *, timeout: float = 30.0) -> None:
        """Wait until the server has a version that was just leased (or an alias that was just deployed).

        Raises:
            Unavailable: it has not within ``timeout`` seconds; the message has its last answer.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._ask("GET", f"{_path(name, version)}/ready")
            except (NotFound, Unavailable) as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self._base_url} has no {name} after {timeout:.0f} s: {error}") from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, content=body)
        except httpx.TransportError as error:
            raise Unavailable(f"the model server at {self._base_url} does not answer: {error!r}") from error
        if response.is_success:
            answer: dict[str, Any] = orjson.loads(response.content)
            return answer
        raise _error(self._base_url, response)


def _path(name: str, version: int | None) -> str:
    path = f"/v2/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{version}"


def _error(base_url: str, response: httpx.Response) -> LearnloopError:
    try:
        message = str(orjson.loads(response.content)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = response.text[:200]  # not our server: a proxy in front of it
    said = f"the model server at {base_url} says {response.status_code}: {message}"
    if response.status_code == 404:
        return NotFound(said)
    return InvalidInput(said) if response.status_code < 500 else Unavailable(said)
