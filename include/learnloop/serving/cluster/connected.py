"""The cluster of this deployment, by its settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Deployment, session
from learnloop.models import registry
from learnloop.serving.cluster.live import noting_of, read_live
from learnloop.serving.cluster.objects import Objects, connect
from learnloop.serving.cluster.served import ServedModels
from learnloop.serving.cluster.template import load_template
from learnloop.settings import settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Log = Callable[[str], None]
Sessions = Callable[[], AbstractContextManager[Session]]


def served_models(
    client: ApiClient | None = None, log: Log | None = None, sessions: Sessions = session
) -> ServedModels:
    """Model versions as pods of the template's namespace.

    Args:
        client: of the cluster; None: as `connect` finds it.

    Raises:
        InvalidInput: there is no template, or it cannot be used.
        NoCluster: nothing says where the cluster is.
    """
    template = load_template(settings().serving_template)
    objects = Objects(client or connect(), template.namespace)
    noting = lambda model: noting_of(sessions, model)  # noqa: E731
    return ServedModels(objects, template, registry.source_of, settings().models, log, noting)


def read_live_requests(
    client: ApiClient | None = None, log: Log | None = None, *, sessions: Sessions = session, model: str | None = None
) -> dict[str, Any]:
    """`read_live` of the pods that serve; nothing where none do. Raises as `served_models` and `Objects`."""
    if settings().serving_runner != "kubernetes":
        return {"rows": 0, "samples": 0, "failed": []}
    objects = Objects(client or connect(), load_template(settings().serving_template).namespace)
    return read_live(sessions, objects, model, log)


def rows_of(sessions: Sessions, model: str) -> list[Deployment]:
    with sessions() as db:
        rows = list(db.scalars(select(Deployment).where(Deployment.model_name == model)))
        db.expunge_all()
        return rows


def follow(sessions: Sessions, model: str, client: ApiClient | None = None, log: Log | None = None) -> list[str]:
    """Have the cluster serve what the rows of ``model`` say, without waiting; nothing where none serves.

    Raises:
        LearnloopError: as `ServedModels.follow`. The next pass of ``platform_maintenance`` does it again.
    """
    if settings().serving_runner != "kubernetes":
        return []
    return served_models(client, log, sessions).follow(model, rows_of(sessions, model))
