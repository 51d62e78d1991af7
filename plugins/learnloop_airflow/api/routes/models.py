"""Models: their versions, side by side; what is served, and why; promotion and rollback."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path, Response
from fastapi.responses import HTMLResponse
from pydantic import Field
from sqlalchemy import bindparam, select

from learnloop.database import Decision, Deployment, PolicyEvaluation, reading, session
from learnloop.datasets.versions import dataset_id
from learnloop.errors import LearnloopError, NotFound
from learnloop.models import registry
from learnloop.models.comparison import scores_of, side_by_side
from learnloop.models.promotion import canary, promote, roll_back, take_away
from learnloop.models.registered import KEY_TAG, LAST_VERSION, RegisteredVersion
from learnloop.models.report import FILE, POLICY
from learnloop.models.retention import keep, let_go
from learnloop.settings import settings
from learnloop_airflow.api.auth import Caller
from learnloop_airflow.api.fields import TEXT, WHOLE, Body
from learnloop_airflow.api.paging import Cursor, Limit, name_after, newest_first, number_after, page, paged
from learnloop_airflow.api.routing import Lines, Routes
from learnloop_airflow.api.shapes.models import (
    DeploymentItem,
    ModelName,
    ModelVersionDetails,
    ModelVersionItem,
    MovedAliases,
    SideBySide,
)
from learnloop_airflow.api.shapes.paging import Page
from learnloop_airflow.api.shapes.rounds import DecisionItem, EvaluationItem
from learnloop_airflow.api.streaming import Progress, stream

routes = Routes()
log = logging.getLogger(__name__)

Version = Annotated[int, Path(ge=1, lt=2**31)]
Number = Annotated[int, Field(ge=1, lt=2**31), WHOLE]
Reason = Annotated[str, Field(max_length=2000, pattern=TEXT)]


_DECISIONS = newest_first(
    select(
        Decision.id,
        Decision.kind,
        Decision.run_id,
        Decision.accepted,
        Decision.reason,
        Decision.comparison,
        Decision.owner,
        Decision.created_at,
    ).where(Decision.dataset_id == bindparam("dataset")),
    Decision.id,
)
_EVALUATIONS = newest_first(
    select(
        PolicyEvaluation.id,
        PolicyEvaluation.due,
        PolicyEvaluation.reason,
        PolicyEvaluation.facts,
        PolicyEvaluation.created_at,
    ).where(PolicyEvaluation.dataset_id == bindparam("dataset")),
    PolicyEvaluation.id,
)
_DEPLOYMENTS = newest_first(
    select(
        Deployment.id,
        Deployment.model_name,
        Deployment.alias,
        Deployment.model_version,
        Deployment.previous_version,
        Deployment.canary_version,
        Deployment.canary_percent,
        Deployment.generation,
        Deployment.owner,
        Deployment.updated_at,
    ),
    Deployment.id,
)


class Promotion(Body):
    """``version`` is what the alias, and ``current``, shall serve."""

    version: Number
    reason: Reason = ""


class Rollback(Body):
    """``seen``: the version that is served now and shall be no longer; a call that comes twice then rolls back once."""

    seen: Number | None = None
    reason: Reason = ""


class Canary(Body):
    """``version`` is what answers ``percent`` of an alias's requests; None: the alias's own version answers all."""

    version: Number | None = None
    percent: Annotated[int, Field(ge=0, le=99), WHOLE] = 0
    reason: Reason = ""


class Keep(Body):
    """Why a version shall stay."""

    reason: Reason = ""


@routes.add("GET", "/models", "model:read", response_model=Page[ModelName])
def list_models(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The models that have a version, by name: a dataset's models bear its name."""
    found = registry.names(after=name_after(cursor), limit=limit + 1)
    return paged([{"name": name} for name in found], limit, "name")


@routes.add("GET", "/models/{name}/versions", "model:read", response_model=Page[ModelVersionItem])
def list_versions(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """The versions of a model, the newest first: aliases, metrics, what each was trained from."""
    found = registry.list_versions(name, before=number_after(cursor, LAST_VERSION), limit=limit + 1)
    if not found and cursor is None:
        raise NotFound(f"there is no model {name!r}")
    return paged([_version(version) for version in found], limit, "version")


@routes.add("GET", "/models/{name}/versions/{version}", "model:read", response_model=ModelVersionDetails)
def show_version(name: str, version: Version) -> dict[str, Any]:
    """One version, with all that its evaluation measured."""
    found = registry.get_version(name, version)
    with reading() as db:
        return {**_version(found), "scores": scores_of(db, found)}


@routes.add("GET", "/models/{name}/versions/{version}/report", "model:read", response_class=HTMLResponse)
def show_report(name: str, version: Version) -> Response:
    """The report of a version: learning curve, confusion, calibration, slices, lineage."""
    return HTMLResponse(registry.file_of(name, version, FILE), headers={"Content-Security-Policy": POLICY})


@routes.add("PUT", "/models/{name}/versions/{version}/keep", "model:write", response_model=ModelVersionItem)
def keep_version(name: str, version: Version, wanted: Keep, caller: Caller) -> dict[str, Any]:
    """Have a version stay, although a search did not choose it: its tag ``keep`` says who wants it, and why."""
    return _version(keep(name, version, wanted.reason, by=caller.name))


@routes.add("DELETE", "/models/{name}/versions/{version}/keep", "model:write", response_model=ModelVersionItem)
def let_version_go(name: str, version: Version) -> dict[str, Any]:
    """Have a version stay no longer than anything else needs it."""
    return _version(let_go(name, version))


@routes.add("GET", "/models/{name}/compare/{before}/{after}", "model:read", response_model=SideBySide)
def compare_versions(name: str, before: Version, after: Version) -> dict[str, Any]:
    """Two versions side by side: figures, accuracy by class, confusion, and what the second changes."""
    old, new = registry.get_version(name, before), registry.get_version(name, after)
    with reading() as db:
        return {"model": name, **side_by_side(db, old, new)}


@routes.add("GET", "/models/{name}/decisions", "model:read", response_model=Page[DecisionItem])
def list_decisions(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """What the gate, structure optimisation and people decided about a dataset's models, with their reasons."""
    with reading() as db:
        return page(db, _DECISIONS, limit, cursor, dataset=dataset_id(db, name))


@routes.add("GET", "/datasets/{name}/policy/evaluations", "round:read", response_model=Page[EvaluationItem])
def list_evaluations(name: str, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Each time the training policy was asked whether a round is due: what it said, and why. Newest first."""
    with reading() as db:
        return page(db, _EVALUATIONS, limit, cursor, dataset=dataset_id(db, name))


@routes.add("GET", "/deployments", "deployment:read", response_model=Page[DeploymentItem])
def list_deployments(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """What should be served: alias, version, generation."""
    with reading() as db:
        return page(db, _DEPLOYMENTS, limit, cursor)


@routes.add("PUT", "/deployments/{name}/{alias}", "model:deploy", result=MovedAliases)
def put_deployment(name: str, alias: str, wanted: Promotion, caller: Caller) -> Lines:
    """Promote: serve a version under an alias, and as ``current``; answers when every server has it. Again does no harm."""

    def work(progress: Progress) -> dict[str, Any]:
        moved = promote(session, name, alias, wanted.version, by=caller.name, reason=wanted.reason)
        return {"moved": [asdict(one) for one in moved]}

    return stream(work)


@routes.add("POST", "/deployments/{name}/{alias}/rollback", "model:deploy", result=MovedAliases)
def post_rollback(name: str, alias: str, wanted: Rollback, caller: Caller) -> Lines:
    """Serve again what was served before under an alias; answers when every server does."""

    def work(progress: Progress) -> dict[str, Any]:
        moved = roll_back(session, name, alias, by=caller.name, reason=wanted.reason, seen=wanted.seen)
        return {"moved": [asdict(one) for one in moved]}

    return stream(work)


@routes.add("PUT", "/deployments/{name}/{alias}/canary", "model:deploy", response_model=DeploymentItem)
def put_canary(name: str, alias: str, wanted: Canary, caller: Caller) -> dict[str, Any]:
    """Have another version answer a share of an alias's requests, or end that. Servers follow within seconds."""
    with session() as db:
        answer = _deployment(
            canary(db, name, alias, wanted.version, percent=wanted.percent, by=caller.name, reason=wanted.reason)
        )
    _follow(name)
    return answer


@routes.add("DELETE", "/deployments/{name}/{alias}", "model:deploy", response_model=DeploymentItem)
def delete_deployment(name: str, alias: str, caller: Caller) -> dict[str, Any]:
    """Serve nothing under an alias any more; answers with what was there. Versions stay in the registry."""
    with session() as db:
        answer = _deployment(take_away(db, name, alias, by=caller.name))
    _follow(name)
    return answer


def _follow(model: str) -> None:
    """Have pods follow, where models are pods; what that cannot do now is platform_maintenance's."""
    if settings().serving_runner != "kubernetes":
        return
    from learnloop.serving.cluster.connected import follow

    try:
        follow(session, model)
    except LearnloopError as error:
        log.warning("The pods of %s are left to platform_maintenance: %s", model, error)


def _version(found: RegisteredVersion) -> dict[str, Any]:
    tags = {name: value for name, value in found.tags.items() if name != KEY_TAG}
    return {
        "name": found.name,
        "version": found.version,
        "aliases": list(found.aliases),
        "metrics": found.metrics,
        "tags": tags,
        "created_at": found.created_at,
    }


def _deployment(row: Deployment) -> dict[str, Any]:
    return {
        "model_name": row.model_name,
        "alias": row.alias,
        "model_version": row.model_version,
        "previous_version": row.previous_version,
        "canary_version": row.canary_version,
        "canary_percent": row.canary_percent,
        "generation": row.generation,
        "owner": row.owner,
        "updated_at": row.updated_at,
    }
