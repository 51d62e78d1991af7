"""Who answered a task's form, and what they may do: vouched for by the API server, asked about by the task."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Responder
from learnloop.errors import PermissionDenied
from learnloop.permissions import Principal


def vouch_for(session: Session, principal: Principal, *, dag_id: str, run_id: str, task_id: str) -> None:
    """Keep which roles somebody bears who is about to answer the form of a task; the last time counts."""
    roles = {"names": sorted(principal.roles)}
    row = insert(Responder).values(dag_id=dag_id, run_id=run_id, task_id=task_id, owner=principal.name, roles=roles)
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Responder.dag_id, Responder.run_id, Responder.task_id, Responder.owner],
            set_={"roles": roles, "created_at": func.clock_timestamp()},
        )
    )


def responder(session: Session, name: str, *, dag_id: str, run_id: str, task_id: str) -> Principal:
    """The person called ``name`` who answered the form of a task, with the roles they bore then.

    Raises:
        PermissionDenied: nobody vouched for them: the answer did not come through Learnloop's API server.
    """
    roles = session.scalar(
        select(Responder.roles).where(
            Responder.dag_id == dag_id,
            Responder.run_id == run_id,
            Responder.task_id == task_id,
            Responder.owner == name,
        )
    )
    if roles is None:
        raise PermissionDenied(
            f"it is not known which roles {name} bears, so that their answer to {task_id} of {run_id} does not count:"
            " is Learnloop's plugin loaded in the API server?"
        )
    return Principal(name, frozenset(roles["names"]))
