"""What several operators need: who acts, and where the store is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learnloop.datasets.store import Store


def run_owner(context: Any) -> str:
    """The person who triggered the run, or the service identity for runs that nobody triggered by hand."""
    from learnloop.permissions import SERVICE

    return getattr(context["dag_run"], "triggering_user_name", None) or SERVICE.name


def is_true(value: object) -> bool:
    """A boolean, or the text that a template makes of one."""
    return value is True or value == "True"


def readable(path: str, user: str) -> Path:
    """A folder that ``user`` may have read: within the allowed roots, and so are its links."""
    from learnloop.datasets.allowed import allowed_folder, refuse_links_out
    from learnloop.settings import settings

    where = settings().whose(user)
    folder = allowed_folder(path, **where)
    refuse_links_out(folder, **where)
    return folder


def writable(path: str, user: str) -> Path:
    """A folder that ``user`` may have written to."""
    from learnloop.datasets.allowed import allowed_folder
    from learnloop.settings import settings

    return allowed_folder(path, **settings().whose(user))


def store() -> Store:
    from learnloop.datasets.store import Store
    from learnloop.settings import settings

    return Store(settings().store)


def model_name_of(dataset: str) -> str:
    """A dataset's models are versions of one registered model of the same name."""
    return dataset


def cluster_client() -> Any:
    """The client of the cluster that serves models, by Airflow's connection ``kubernetes_default``; None: none does."""
    from learnloop.settings import settings

    if settings().serving_runner != "kubernetes":
        return None
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    return KubernetesHook(conn_id="kubernetes_default").get_conn()
