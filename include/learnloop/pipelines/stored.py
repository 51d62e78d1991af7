"""Pipelines as rows: applied, found, removed. A version is a row that never changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from learnloop.database import Pipeline, PipelineVersion
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.pipelines.checking import Limits, check, invalid
from learnloop.pipelines.extending import lay_over
from learnloop.pipelines.graph import LABEL, Graph, StageInput
from learnloop.pipelines.reading import read_declaration

_BASE = re.compile(r"(?P<name>[a-z0-9-]{1,63})(@(?P<number>[1-9][0-9]{0,8}))?")
_LOCK = "learnloop pipelines"


@dataclass(frozen=True)
class Checked:
    """A declaration that nothing is wrong with."""

    text: str
    graph: Graph
    base: PipelineVersion | None


def check_text(
    session: Session, declaration: str, *, user: str, limits: Limits, missing: Callable[[StageInput], str | None]
) -> Checked:
    """Read, lay over its base, and check; changes nothing.

    Raises:
        InvalidInput: with a list of what is wrong.
    """
    declared = read_declaration(declaration)
    base = None
    if "extends" in declared:
        base = _base(session, declared.pop("extends"), user)
        declared = lay_over(Graph.model_validate(base.graph), declared)
    extends = None if base is None else f"{base.pipeline.name}@{base.number}"
    graph = check(declared, limits, extends=extends, missing=missing)
    return Checked(declaration, graph, base)


def apply(
    session: Session,
    checked: Checked,
    *,
    user: str,
    message: str = "",
    personal: bool = False,
    provenance: dict[str, Any] | None = None,
) -> PipelineVersion:
    """Keep it as the pipeline's newest version; the newest one itself when it says the same.

    Raises:
        Conflict: the name is another's, or a pipeline's that is shared where this is personal, or the other way round.
    """
    # One after the other: a version is in the bundle's state by its id, so they must be committed in the order of ids.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": _LOCK})
    name, graph = checked.graph.name, checked.graph.model_dump(mode="json")
    pipeline = session.scalars(select(Pipeline).where(Pipeline.name == name)).one_or_none()
    if pipeline is None:
        pipeline = Pipeline(name=name, owner=user, personal_to=user if personal else None)
        session.add(pipeline)
        session.flush()
    elif pipeline.personal_to not in (None, user):
        raise Conflict(f"the name {name} is taken: choose another")
    elif (pipeline.personal_to is not None) != personal:
        is_, asked = ("shared", "personal") if personal else ("personal", "shared")
        raise Conflict(f"pipeline {name} is {is_}, and cannot become {asked}: choose another name")
    last = _last(session, pipeline)
    if last is not None and not last.removed and last.graph == graph:
        return last
    made = PipelineVersion(
        pipeline_id=pipeline.id,
        number=1 if last is None else last.number + 1,
        declaration=checked.text,
        graph=graph,
        base_id=None if checked.base is None else checked.base.id,
        message=message,
        provenance=provenance or {},
        owner=user,
    )
    made.pipeline, made.base = pipeline, checked.base
    session.add(made)
    session.flush()
    return made


def remove(session: Session, name: str, *, user: str) -> PipelineVersion:
    """Take the pipeline out of Airflow. Its versions and runs stay; applied again, it goes on with the next number."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": _LOCK})
    last = find(session, name, user=user)
    made = PipelineVersion(
        pipeline_id=last.pipeline_id,
        number=last.number + 1,
        declaration="",
        graph={},
        message="removed",
        removed=True,
        provenance={},
        owner=user,
    )
    session.add(made)
    session.flush()
    return made


def find(session: Session, name: str, number: int | None = None, *, user: str) -> PipelineVersion:
    """A version, or the newest, of a pipeline that ``user`` may see.

    Raises:
        NotFound: there is none, or it was removed and no number is given.
    """
    pipeline = visible(session, name, user=user)
    if number is None:
        found = _last(session, pipeline)
    else:
        wanted = PipelineVersion.pipeline_id == pipeline.id, PipelineVersion.number == number
        found = session.scalars(select(PipelineVersion).where(*wanted)).one_or_none()
    if found is None or found.removed:
        if number is None:
            raise NotFound(f"pipeline {name!r} was removed; apply it again to have it back")
        raise NotFound(f"pipeline {name!r} has no version {number}")
    return found


def visible(session: Session, name: str, *, user: str) -> Pipeline:
    """A pipeline that ``user`` may see, also one that was removed; raises NotFound."""
    pipeline = session.scalars(select(Pipeline).where(Pipeline.name == name)).one_or_none()
    if pipeline is None or pipeline.personal_to not in (None, user):
        raise NotFound(f"there is no pipeline {name!r}")
    return pipeline


def graph_of(version: PipelineVersion) -> Graph:
    return Graph.model_validate(version.graph)


def _last(session: Session, pipeline: Pipeline) -> PipelineVersion | None:
    of = select(PipelineVersion).where(PipelineVersion.pipeline_id == pipeline.id)
    return session.scalars(of.order_by(PipelineVersion.number.desc()).limit(1)).one_or_none()


def _base(session: Session, extends: Any, user: str) -> PipelineVersion:
    named = _BASE.fullmatch(extends) if isinstance(extends, str) else None
    if named is None or not LABEL.fullmatch(named["name"]):
        raise invalid(["extends: must be the name of a pipeline, perhaps with a version: animals, animals@2"])
    try:
        return find(session, named["name"], int(named["number"]) if named["number"] else None, user=user)
    except NotFound as error:
        raise invalid([f"extends: {error}"]) from error


# --- the state that the bundle shows ---


@dataclass(frozen=True)
class Shown:
    """The newest version of one pipeline, as its file in the bundle says it."""

    name: str
    version: int
    graph: dict[str, Any]


def state(session: Session, at: int | None = None) -> tuple[int, list[Shown]]:
    """What there was when the version with id ``at`` was the newest of all (None: now), and that id; 0 before the first."""
    newest = session.scalar(select(func.max(PipelineVersion.id))) or 0
    if at is not None and not 0 <= at <= newest:
        raise InvalidInput(f"there was no state {at} of the pipelines; the newest is {newest}")
    reached = newest if at is None else at
    rows = session.execute(
        select(Pipeline.name, PipelineVersion.number, PipelineVersion.graph, PipelineVersion.removed)
        .join(Pipeline, Pipeline.id == PipelineVersion.pipeline_id)
        .where(PipelineVersion.id <= reached)
        .ext(distinct_on(PipelineVersion.pipeline_id))
        .order_by(PipelineVersion.pipeline_id, PipelineVersion.id.desc())
    ).all()
    return reached, [Shown(*row[:3]) for row in rows if not row.removed]
