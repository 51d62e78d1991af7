"""A client of the model server."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from learnloop.errors import (
    Conflict,
    InvalidInput,
    LearnloopError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from learnloop.traces import context

CONNECT_RETRIES = 2
POLL_SECONDS = 0.05
JSON_SIZE = "Inference-Header-Content-Length"
BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Prediction:
    """The answer of one model version: ``probabilities`` float32 ``[n, k]``, the likeliest class of each row."""

    probabilities: NDArray[np.float32]
    labels: list[str]
    model_version: int


class ModelClient:
    """Talks to the model server at ``base_url``; keeps its connections, and may be shared by threads.

    A name is ``digits`` (what is current) or ``digits:realtime``. All methods raise ``Unavailable`` when the
    server does not answer, and what its answer says otherwise: ``NotFound``, ``InvalidInput``, and for what needs a
    ``token`` (`pull` and those after it) ``NotAuthenticated``, ``PermissionDenied``.
    """

    def __init__(self, base_url: str, *, token: str | None = None, timeout: float = 30.0) -> None:
        # Only connecting is tried again: what may have been answered already is for the caller to repeat.
        transport = httpx.HTTPTransport(retries=CONNECT_RETRIES)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport, headers=headers)
        self._base_url = base_url

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def infer(self, name: str, features: NDArray[Any], version: int | None = None) -> Prediction:
        """Predict ``features`` ``[n, d]`` (at most 10,000 rows), with exactly ``version`` when it is given."""
        if features.ndim != 2:
            raise InvalidInput(f"features have shape {features.shape}; they must be [rows, columns]")
        single = features.dtype == np.float32
        data = np.ascontiguousarray(features, dtype="<f4" if single else "<f8").tobytes()
        datatype = "FP32" if single else "FP64"
        return self._infer(
            name, version, {"name": "features", "datatype": datatype, "shape": list(features.shape)}, data
        )

    def infer_samples(self, name: str, samples: Sequence[bytes], version: int | None = None) -> Prediction:
        """Predict samples, each as its file's bytes: an image, UTF-8 text, or a row as a JSON object."""
        data = b"".join(struct.pack("<I", len(sample)) + sample for sample in samples)
        return self._infer(name, version, {"name": "sample", "datatype": "BYTES", "shape": [len(samples)]}, data)

    def _infer(self, name: str, version: int | None, tensor: dict[str, Any], data: bytes) -> Prediction:
        """Numbers go as binary tensor data: neither side writes or reads them as text."""
        asked = {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}],
        }
        head = orjson.dumps(asked)
        response = self._send(
            "POST", f"{_path(name, version)}/infer", head + data, {JSON_SIZE: str(len(head)), **BINARY}
        )
        size = int(response.headers[JSON_SIZE])
        answer = orjson.loads(response.content[:size])
        probabilities, labels = answer["outputs"]
        return Prediction(
            np.frombuffer(response.content[size:], dtype="<f4").reshape(probabilities["shape"]),
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

    def running(self) -> list[dict[str, Any]]:
        """The versions in memory, with their use."""
        loaded: list[dict[str, Any]] = self._ask("GET", "/api/ps")["models"]
        return loaded

    def show(self, name: str) -> dict[str, Any]:
        """What is known of a model in memory."""
        return self._ask("POST", "/api/show", orjson.dumps({"model": name}))

    def pull(self, name: str, keep_alive: str | float | None = None) -> None:
        """Have every server load a version (``digits:3``) and keep it for ``keep_alive`` (``"1h"``, seconds; 5 minutes)."""
        self._ask("POST", "/api/pull", orjson.dumps({"model": name, "keep_alive": keep_alive, "stream": False}))

    def stop(self, name: str) -> None:
        """Unload a version; what has an alias comes back with the next request for it."""
        self._ask("POST", "/api/stop", orjson.dumps({"model": name}))

    def copy(self, source: str, destination: str) -> list[dict[str, Any]]:
        """Serve what ``source`` names as ``destination`` (``digits:realtime``) too, and as ``current``."""
        asked = orjson.dumps({"source": source, "destination": destination})
        moved: list[dict[str, Any]] = self._ask("POST", "/api/copy", asked)["moved"]
        return moved

    def delete(self, name: str) -> None:
        """Take an alias away (``digits:realtime``), or let a pulled version go (``digits:3``)."""
        self._ask("DELETE", "/api/delete", orjson.dumps({"model": name}))

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
        answer: dict[str, Any] = orjson.loads(self._send(method, path, body).content)
        return answer

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, content=body, headers={**context.headers(), **(headers or {})})
        except httpx.TransportError as error:
            raise Unavailable(f"the model server at {self._base_url} does not answer: {error!r}") from error
        if response.is_success:
            return response
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
    known = {401: NotAuthenticated, 403: PermissionDenied, 404: NotFound, 409: Conflict}.get(response.status_code)
    if known is not None:
        return known(said)
    return InvalidInput(said) if response.status_code < 500 else Unavailable(said)
