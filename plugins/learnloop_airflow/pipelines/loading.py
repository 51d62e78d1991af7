"""From a pipeline's file to its DAG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import DAG

from learnloop.pipelines.names import MAKE, PIN, RELEASE, REMOVE, dag_id_of
from learnloop_airflow.notifiers.events import EventNotifier, RunFinishedNotifier
from learnloop_airflow.operators.mounts import RemoveMountsOperator
from learnloop_airflow.operators.pipeline import (
    PinInputsOperator,
    ReleaseInputsOperator,
    StageMountsOperator,
    StageOperator,
)

if TYPE_CHECKING:
    from learnloop.pipelines.stored import Shown


def tag_of(version: int) -> str:
    """In the DAG as Airflow keeps it, so that each version of a pipeline is a version of the DAG, whatever has changed."""
    return f"version {version}"


def dag_of(loader: str) -> DAG:
    """The DAG of the pipeline whose file lies beside ``loader``. It shows the stages' names and the description alone."""
    from learnloop.pipelines import files

    return make_dag(files.read(Path(loader).with_name(files.DECLARATION)))


def make_dag(shown: Shown) -> DAG:
    from learnloop.pipelines.graph import Graph

    graph = Graph.model_validate(shown.graph)
    with DAG(
        dag_id_of(shown.name),
        description=graph.description,
        # No text of anybody's here: Airflow takes one that ends in .md for the name of a file to show.
        doc_md=f"Version {shown.version} of a pipeline: `learnloop pipeline show {shown.name}` says what was declared.",
        schedule=None,
        catchup=False,
        max_active_runs=16,
        tags=["learnloop", "pipeline", tag_of(shown.version)],
        default_args={"on_failure_callback": EventNotifier("failed")},
    ) as dag:
        pin = PinInputsOperator(task_id=PIN, version=shown.version, graph=graph)
        told = RunFinishedNotifier(list(graph.stages))
        release = ReleaseInputsOperator(task_id=RELEASE, pins=PIN, on_success_callback=told).as_teardown(setups=pin)
        begin, end = [pin], [release]
        if graph.mounts:
            make = StageMountsOperator(task_id=MAKE, graph=graph)
            end.append(RemoveMountsOperator(task_id=REMOVE, mounts=make.output).as_teardown(setups=make))
            pin >> make
            begin = [make]
        stages = {name: StageOperator(task_id=name, stage=stage, pins=PIN) for name, stage in graph.stages.items()}
        needed = {before for stage in graph.stages.values() for before in stage.needs}
        for name, stage in graph.stages.items():
            for before in stage.needs:
                stages[before] >> stages[name]
            if not stage.needs:
                begin >> stages[name]
            if name not in needed:
                stages[name] >> end
    return dag
