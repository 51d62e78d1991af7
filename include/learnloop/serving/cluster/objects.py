"""The API server, asked for objects of any kind as plain dictionaries, with its answers as our errors.

`kubernetes`' typed client has one class for each version of a kind, and not those of older clusters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from learnloop.errors import Conflict, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

MANAGER = "learnloop"
APPLY = "application/apply-patch+yaml"
PLURALS = {
    "Service": "services",
    "Pod": "pods",
    "Deployment": "deployments",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
}

Object = dict[str, Any]


class ApiAway(Unavailable):
    """The API server does not answer (now)."""


class NoCluster(Unavailable):
    """Nothing says where the cluster is."""


def connect() -> ApiClient:
    """The cluster that this process runs in, else the one that KUBECONFIG names.

    Raises:
        NoCluster: neither is so.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=configuration)
        elif os.environ.get("KUBECONFIG"):
            config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
        else:
            raise NoCluster("there is no way to a cluster: this process runs in none, and KUBECONFIG names none")
    except config.ConfigException as error:
        raise NoCluster(f"there is no way to a cluster: {error}") from error
    return ApiClient(configuration)


class Objects:
    """The objects of one namespace."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    def get(self, api_version: str, kind: str, name: str) -> Object | None:
        """One object; None: there is none of that name."""
        found: Object | None = self._ask("GET", self._path(api_version, kind, name))
        return found

    def all_of(self, api_version: str, kind: str, labels: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self._ask("GET", self._path(api_version, kind), query=[("labelSelector", selector)])
        return list(found["items"]) if found else []

    def apply(self, manifest: Object, seen: Object | None) -> Object:
        """Have an object be as ``manifest`` says; what that does not mention stays as it is (server-side apply).

        Args:
            seen: what was there when it was decided to; None: nothing was.

        Raises:
            Conflict: another has changed it since.
        """
        about = manifest["metadata"]
        if seen is not None:
            about = {**about, "resourceVersion": seen["metadata"]["resourceVersion"]}
        path = self._path(manifest["apiVersion"], manifest["kind"], about["name"])
        query = [("fieldManager", MANAGER), ("force", "true")]
        applied = self._ask("PATCH", path, query=query, body={**manifest, "metadata": about})
        if applied is None:
            raise Conflict(f"{manifest['kind']} {about['name']} was changed by another just now: do it again")
        return dict(applied)

    def delete(self, api_version: str, found: Object) -> None:
        """Delete an object that was seen, and no other that has its name by now."""
        about = found["metadata"]
        body = {"propagationPolicy": "Background", "preconditions": {"uid": about["uid"]}}
        self._ask("DELETE", self._path(api_version, found["kind"], about["name"]), body=body)

    def has(self, api_version: str) -> bool:
        """Whether the API server serves that version of a group."""
        return self._ask("GET", f"/apis/{api_version}") is not None

    def through(
        self, pod: str, port: int, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], most: int
    ) -> bytes | None:
        """What a pod answers there, by way of the API server; None: it has no such path, or is not there (any more).

        Args:
            most: bytes of the answer that are taken.

        Raises:
            ApiAway: the API server or the pod does not answer.
            PermissionDenied: one of them does not allow it.
            Conflict: it is a larger answer.
        """
        whole = self._path("v1", "Pod", f"{pod}:{port}/proxy{path}")
        answer = self._ask("GET", whole, query=list(query.items()), headers=headers, raw=True)
        if answer is None:
            return None
        try:
            found: bytes = answer.read(most + 1)
        finally:
            answer.release_conn()
        if len(found) > most:
            raise Conflict(f"pod {pod} answers {path} with more than {most} bytes")
        return found

    def _path(self, api_version: str, kind: str, name: str = "") -> str:
        root = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
        path = f"{root}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return f"{path}/{name}" if name else path

    def _ask(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        raw: bool = False,
    ) -> Any:
        """The answer, with ``raw`` to be read; None for what is not there, or, by 409, is another by now.

        Raises:
            ApiAway: it does not answer, or asks to be left alone for now.
            PermissionDenied: it does not allow that.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        kind = APPLY if method == "PATCH" else "application/json"
        try:
            return self._client.call_api(
                path,
                method,
                query_params=query or [],
                header_params={"Accept": "application/json", "Content-Type": kind, **(headers or {})},
                body=body,
                response_types_map=dict.fromkeys((200, 201, 202), "object"),
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=not raw,
                _request_timeout=30,
            )
        except ApiException as error:
            if error.status in (404, 409):
                return None
            said = f"the Kubernetes API server says {error.status}: {_message(error.body)}"
            if error.status == 429 or (error.status or 500) >= 500:
                raise ApiAway(said) from error
            if error.status in (401, 403):
                raise PermissionDenied(said) from error
            raise Conflict(f"{said} ({method} {path})") from error
        except HTTPError as error:
            raise ApiAway(f"the Kubernetes API server does not answer: {error}") from error


def _message(body: str | bytes | None) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason given"
