"""Which roles somebody bears, as Airflow's auth manager has it at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk.bases.hook import BaseHook

if TYPE_CHECKING:
    import httpx

    from learnloop.permissions import Principal


class PeopleHook(BaseHook):
    """Asks Airflow's own API, since a task may not read Airflow's database.

    :param conn_id: an HTTP connection to Airflow's API server (host with its scheme) with the login and password of
        a user who may read users.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "learnloop_people"
    hook_name = "Learnloop people"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def principal(self, name: str) -> Principal:
        """``name`` with their roles; the service identity is known without asking.

        Raises:
            PermissionDenied: Airflow knows nobody of that name, or they may not log in any more.
            Unavailable: Airflow does not answer, or does not let us ask. Nobody is let through then.
        """
        import httpx

        from learnloop.errors import PermissionDenied, Unavailable
        from learnloop.permissions import SERVICE, Principal

        if name == SERVICE.name:
            return SERVICE
        connection = self.get_connection(self.conn_id)
        try:
            with httpx.Client(base_url=_base_url(connection), timeout=30) as client:
                login = {"username": connection.login, "password": connection.password}
                token = _answer(client.post("/auth/token", json=login))["access_token"]
                asked = client.get(
                    f"/auth/fab/v1/users/{quote(name, safe='')}", headers={"Authorization": f"Bearer {token}"}
                )
                user = {} if asked.status_code == httpx.codes.NOT_FOUND else _answer(asked)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"who {name} is could not be asked through the connection {self.conn_id!r}: {error}"
            ) from error
        if not user.get("active"):
            raise PermissionDenied(f"{name} is nobody who may log in")
        return Principal(name, frozenset(role["name"] for role in user.get("roles") or ()))


def _base_url(connection: Any) -> str:
    host = connection.host or ""
    scheme = "" if "://" in host else f"{connection.schema or 'http'}://"
    return f"{scheme}{host}{f':{connection.port}' if connection.port else ''}"


def _answer(response: httpx.Response) -> dict[str, Any]:
    response.raise_for_status()
    return dict(response.json())
