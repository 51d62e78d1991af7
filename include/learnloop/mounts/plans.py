"""Plans as rows: stored before a run's mounts are made, shown with it."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import MountPlan
from learnloop.events.progress import TaskName
from learnloop.mounts.made import Scope
from learnloop.mounts.plan import Plan


def store(db: Session, plan: Plan, scope: Scope, task: TaskName) -> None:
    """Keep the plan of ``task``, in place of what an earlier try planned."""
    changed = {
        "owner": scope.user,
        "pipeline": scope.pipeline,
        "currency": plan.currency,
        "cost": plan.cost,
        "plan": plan.model_dump(mode="json"),
        "created_at": func.now(),
    }
    whose = {"dag_id": task.dag_id, "run_id": task.run_id, "task_id": task.task_id, "map_index": task.map_index}
    made = insert(MountPlan).values({**whose, **changed})
    db.execute(made.on_conflict_do_update(index_elements=list(whose), set_=changed))


def of_run(db: Session, dag_id: str, run_id: str) -> list[MountPlan]:
    """The plans of a run's tasks, the first first."""
    wanted = select(MountPlan).where(MountPlan.dag_id == dag_id, MountPlan.run_id == run_id)
    return list(db.scalars(wanted.order_by(MountPlan.id)))
