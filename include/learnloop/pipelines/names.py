"""What Airflow calls a pipeline and the tasks of it that are no stages."""

from __future__ import annotations

PREFIX = "pipeline."
"""No other DAG's id begins so: a dot is in none of ours."""
PIN, RELEASE = "pin_inputs", "release_inputs"
MAKE, REMOVE = "make_mounts", "remove_mounts"
"""A stage's name is a DNS label, which has no underscore."""
NO_STAGES = frozenset({PIN, RELEASE, MAKE, REMOVE})


def dag_id_of(name: str) -> str:
    """The DAG of a pipeline."""
    return PREFIX + name


def pipeline_of(dag_id: str) -> str | None:
    """The pipeline of a DAG; None for a DAG that is none's."""
    return dag_id.removeprefix(PREFIX) if dag_id.startswith(PREFIX) else None
