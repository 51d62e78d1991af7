"""What only Airflow's own database knows: what a run was started with, and which runs wait for somebody's answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from learnloop.database import reading
from learnloop.errors import NotFound
from learnloop.loop.rounds import find

MOST = 200


@dataclass(frozen=True)
class Question:
    """A form of a run that nobody has answered yet."""

    dag_id: str
    run_id: str
    subject: str
    dataset: str | None


def dataset_of(dag_id: str, run_id: str) -> str | None:
    """The dataset that a run is about: the one it was started for, else that of its round; None when neither says.

    Raises:
        NotFound: Airflow has no such run.
    """
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as airflow:
        found = airflow.execute(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    if found is None:
        raise NotFound(f"DAG {dag_id!r} has no run {run_id!r}")
    return _named(found.conf) or _of_round(run_id)


def questions() -> list[Question]:
    """What runs ask people, oldest first."""
    from airflow.models.dagrun import DagRun
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    asked = (
        select(TaskInstance.dag_id, TaskInstance.run_id, HITLDetail.subject, DagRun.conf)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
        .where(HITLDetail.responded_at.is_(None), TaskInstance.state == "awaiting_input")
        .order_by(HITLDetail.created_at)
        .limit(MOST)
    )
    with create_session() as airflow:
        found = airflow.execute(asked).all()
    return [Question(row.dag_id, row.run_id, row.subject, _named(row.conf) or _of_round(row.run_id)) for row in found]


Questions = Annotated[list[Question], Depends(questions)]


def _named(conf: object) -> str | None:
    name = conf.get("dataset") if isinstance(conf, dict) else None
    return name if isinstance(name, str) and name else None


def _of_round(run_id: str) -> str | None:
    with reading() as db:
        try:
            return find(db, run_id).dataset.name
        except NotFound:
            return None
