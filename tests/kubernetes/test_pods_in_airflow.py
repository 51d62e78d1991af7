"""The same DAGs in a real Airflow whose jobs are pods: runs end well whatever is killed, and leave no pod.

The template's node selector is a gate: pods wait to be scheduled, and their tasks are deferred, until the node is labelled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from otlp_receiver import Receiver, receiving
from pod_stack import GATE, PodStack, running_stack
from waits import eventually

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Takes the traces of all that runs here."""
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def stack(image: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodStack]:
    folder, told = tmp_path_factory.mktemp("digits"), receiver.environment()
    with running_stack(image, folder, selector={GATE: ""}, told=told) as made:
        yield made


def test_a_run_ends_well_and_its_tasks_show_what_their_pods_said(stack: PodStack) -> None:
    run_id = stack.start()
    eventually(lambda: "not scheduled yet" in stack.log_of(run_id))
    with stack.open_gate():
        stack.airflow.wait("base_model_training", run_id)
    log = stack.log_of(run_id)
    assert "staged dataset: 3 files" in log
    assert "trained mlp on" in log
    assert stack.cluster.pods() == []


def test_a_trace_goes_into_the_pod_and_its_phases_come_back(stack: PodStack, receiver: Receiver) -> None:
    before = {span.trace for span in receiver.spans()}
    run_id = stack.start()
    with stack.open_gate():
        stack.airflow.wait("base_model_training", run_id)

    def trained() -> set[str]:
        return {span.trace for span in receiver.spans() if span.name == "task_run.train"} - before

    eventually(trained)  # a span is sent some seconds after its end
    (trace,) = trained()
    task, job, fit = (receiver.span(name, trace) for name in ("task_run.train", "job learnloop.training.train", "fit"))
    assert (job.parent, fit.parent) == (task.id, job.id)
    assert job.attributes["learnloop.job.runner"] == "kubernetes"
    assert job.begun <= fit.begun <= fit.ended <= job.ended


@pytest.mark.parametrize("victim", ["triggerer", "scheduler"])
def test_a_run_ends_well_when_the_part_that_waits_is_killed(stack: PodStack, victim: str) -> None:
    """The scheduler's end is that of every worker, for these are its children."""
    run_id = stack.start()
    stack.kill(victim)
    with stack.open_gate():
        stack.airflow.wait("base_model_training", run_id)
    assert stack.cluster.pods() == []


def test_a_task_that_is_marked_failed_leaves_no_pod(stack: PodStack) -> None:
    run_id = stack.start()
    stack.mark_failed(run_id)
    eventually(lambda: not stack.pods_of(run_id))
    assert stack.state_of(run_id) == "failed"


def test_a_task_that_is_cleared_gets_another_pod_and_the_first_is_gone(stack: PodStack) -> None:
    run_id = stack.start()
    (first,) = stack.pods_of(run_id)
    stack.clear(run_id)
    eventually(lambda: stack.pods_of(run_id) not in ([], [first]), 90)
    with stack.open_gate():
        stack.airflow.wait("base_model_training", run_id)
    assert stack.cluster.pods() == []


def test_maintenance_removes_a_pod_whose_task_was_ended_while_no_triggerer_ran(stack: PodStack) -> None:
    kept, ended = stack.start(), stack.start()
    triggerer = stack.component("triggerer")
    os.kill(triggerer, signal.SIGSTOP)
    stack.mark_failed(ended)
    stack.kill("triggerer")
    assert stack.pods_of(ended)
    stack.airflow.run("platform_maintenance", {})
    eventually(lambda: not stack.pods_of(ended))
    assert stack.pods_of(kept)
    with stack.open_gate():
        stack.airflow.wait("base_model_training", kept)
    assert stack.cluster.pods() == []
