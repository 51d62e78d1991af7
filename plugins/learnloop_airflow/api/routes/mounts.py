"""What mounts cost: before there is a run, and as a run's tasks planned them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from learnloop.database import reading
from learnloop.errors import InvalidInput
from learnloop.jobs.mount import MOST, Mount
from learnloop.mounts.plan import Plan, choose, parse_mounts
from learnloop.mounts.plans import of_run
from learnloop.pipelines.graph import Graph
from learnloop_airflow.api.fields import Body
from learnloop_airflow.api.routes.runs import Id
from learnloop_airflow.api.routing import Routes
from learnloop_airflow.api.shapes.mounts import MountEstimate, RunMounts
from learnloop_airflow.mounts.home import table

routes = Routes()


if TYPE_CHECKING:
    MountNeed = Body
else:
    # The fields of a `Mount`, without what only makes sense of several together: the document can say no more of those than
    # that the application refuses them.
    MountNeed = create_model(
        "MountNeed", __base__=Body, **{name: (field.annotation, field) for name, field in Mount.model_fields.items()}
    )


class MountNeeds(Body):
    mounts: Annotated[list[MountNeed], Field(min_length=1, max_length=MOST)]


@routes.add("POST", "/mounts/estimate", "pipeline:read", response_model=MountEstimate)
def estimate_mounts(wanted: MountNeeds) -> dict[str, Any]:
    """Which storage classes would be chosen for these mounts, what they would cost, and why. Nothing is made."""
    return shown(choose(parse_mounts([need.model_dump() for need in wanted.mounts]), table()))


def pipeline_estimate(graph: Graph) -> dict[str, Any]:
    """``{estimate, cannot}``: what the mounts of a pipeline's next run would cost, None without any; or why they cannot
    be. Mounts that are there already, and claims, are not known here: those stay where they are.
    """
    wanted = [mount for mount in parse_mounts(list(graph.mounts.values())) if not mount.claim]
    if not wanted:
        return {"estimate": None, "cannot": None}
    try:
        return {"estimate": shown(choose(wanted, table())), "cannot": None}
    except InvalidInput as error:  # this deployment has other storage classes by now
        return {"estimate": None, "cannot": str(error)}


@routes.add("GET", "/runs/{dag_id}/{run_id}/mounts", "pipeline:read", response_model=RunMounts)
def list_run_mounts(dag_id: Id, run_id: Id) -> dict[str, Any]:
    """What the run's tasks chose for their mounts, estimated before they made them. Empty for a run without any."""
    with reading() as db:
        found = of_run(db, dag_id, run_id)
    return {
        "items": [
            {
                "task_id": row.task_id,
                "map_index": row.map_index,
                "owner": row.owner,
                "pipeline": row.pipeline,
                "created_at": row.created_at,
                **shown(Plan.model_validate(row.plan)),
            }
            for row in found
        ]
    }


def shown(plan: Plan) -> dict[str, Any]:
    """A plan as answers tell it."""
    return {
        "currency": plan.currency,
        "cost": plan.cost,
        "explanation": plan.lines(),
        "choices": [
            {
                "mount": choice.mount.name,
                "storage_class": choice.storage_class.name,
                "cost": choice.cost,
                "next_best": choice.next_best and choice.next_best.model_dump(),
                "refused": choice.refused,
            }
            for choice in plan.choices
        ],
    }
