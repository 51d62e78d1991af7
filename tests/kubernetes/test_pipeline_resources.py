"""`DELETE /pipelines/{name}/resources` on a real cluster, by a real API server that has just the rights that it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_tools import Cluster
from mount_contract import write_table
from pod_stack import GATE, Person, PodStack, running_stack
from waits import eventually

from learnloop.errors import Conflict, LearnloopError, NotFound
from learnloop.stack.demo.airflow import RunFailed

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

LEAVES = """
import os
from pathlib import Path
from learnloop.jobs.contract import Job
job = Job.current()
places = {name: Path(place) for name, place in os.environ.items() if name.startswith("MOUNT_")}
found = {name: sorted(path.name for path in place.iterdir()) for name, place in places.items()}
for place in places.values():
    (place / "left").touch()
job.finish(found)
"""
MOUNTS = [
    {"name": "scratch", "path": "/mnt/scratch", "size": "8Mi"},
    {"name": "kept", "path": "/mnt/kept", "size": "8Mi", "lifetime": "pipeline"},
    {"name": "own", "path": "/mnt/own", "size": "8Mi", "lifetime": "user"},
]
STAGE = {"command": ["python", "-c", LEAVES], "resources": {"cpu": 0.1, "memory": "128Mi"}, "mounts": MOUNTS}


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodStack]:
    folder = tmp_path_factory.mktemp("pipelines")
    write_table(folder / "classes.yaml", "nfs", "shared-nfs", "")
    settings = {"STORAGE_CLASSES": str(folder / "classes.yaml")}
    with running_stack(image, folder, selector={GATE: ""}, people=("ann", "bob"), few_rights=True, **settings) as made:
        yield made


def pipeline(stack: PodStack, name: str, code: str = LEAVES) -> str:
    stage = {**STAGE, "command": ["python", "-c", code]}
    stack.people["admin"].loop.apply_pipeline({"name": name, "stages": {"work": stage}})
    return name


def run(stack: PodStack, person: Person, name: str) -> dict[str, Any]:
    """What the stage of a run of ``person``'s found in its mounts."""
    with stack.open_gate():
        run_id = person.loop.run_pipeline(name)["run_id"]
        person.airflow.wait(f"pipeline.{name}", run_id)
    return found_by(person, name, run_id)


def found_by(person: Person, name: str, run_id: str) -> dict[str, Any]:
    (stage,) = person.loop.pipeline_run(name, run_id)["stages"]
    return dict(stage["result"])


def claims(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Those that are not on their way out."""
    found = json.loads(cluster.kubectl("get", "pvc", "-o", "json"))["items"]
    return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}


def held(cluster: Cluster) -> dict[tuple[str, str, str], str]:
    """The claims of ours, by lifetime, user and pipeline."""
    records = {name: one["metadata"]["annotations"].get("learnloop/mount") for name, one in claims(cluster).items()}
    read = {name: json.loads(text) for name, text in records.items() if text}
    return {(one["lifetime"], one["user"], one["pipeline"]): name for name, one in read.items()}


def test_what_a_pipeline_holds_goes_and_what_others_hold_stays(stack: PodStack) -> None:
    ann, bob = stack.people["ann"], stack.people["bob"]
    first, other = pipeline(stack, "holds"), pipeline(stack, "holds-too")
    for person, name in ((ann, first), (ann, other), (bob, first)):
        assert run(stack, person, name)["MOUNT_KEPT"] == []
    assert run(stack, ann, first) == {"MOUNT_SCRATCH": [], "MOUNT_KEPT": ["left"], "MOUNT_OWN": ["left"]}
    before = held(stack.cluster)
    assert {(lifetime, user) for lifetime, user, _ in before} == {
        (lifetime, user) for lifetime in ("pipeline", "user") for user in ("ann", "bob")
    }
    somebody_elses(stack.cluster, "platforms", {"learnloop/user": "ann"})
    copied = claims(stack.cluster)[before["pipeline", "ann", "pipeline.holds"]]["metadata"]
    somebody_elses(
        stack.cluster, "copied", copied["labels"], {"learnloop/mount": copied["annotations"]["learnloop/mount"]}
    )

    assert ann.loop.release_pipeline(first) == {"read_leases": 0, "mounts": 2}
    left = {key: name for key, name in before.items() if key[0] == "user" or key[2] == "pipeline.holds-too"}
    eventually(lambda: set(claims(stack.cluster)) == {*left.values(), "platforms", "copied"})
    assert ann.loop.release_pipeline(first) == {"read_leases": 0, "mounts": 0}  # and again does no harm
    assert run(stack, ann, first) == {"MOUNT_SCRATCH": [], "MOUNT_KEPT": [], "MOUNT_OWN": ["left"]}
    assert run(stack, ann, other)["MOUNT_KEPT"] == ["left"]


def test_a_claim_of_somebody_elses_with_the_same_name_is_left(stack: PodStack) -> None:
    ann, name = stack.people["ann"], pipeline(stack, "taken")
    run(stack, ann, name)
    place = held(stack.cluster)["pipeline", "ann", "pipeline.taken"]
    stack.cluster.kubectl("delete", "pvc", place)
    somebody_elses(stack.cluster, place, {"learnloop/user": "ann"})
    uid = claims(stack.cluster)[place]["metadata"]["uid"]
    assert ann.loop.release_pipeline(name) == {"read_leases": 0, "mounts": 0}
    assert claims(stack.cluster)[place]["metadata"]["uid"] == uid


def test_while_a_run_is_under_way_nothing_goes(stack: PodStack) -> None:
    ann, name = stack.people["ann"], pipeline(stack, "going")
    run(stack, ann, name)
    place = held(stack.cluster)["pipeline", "ann", "pipeline.going"]
    run_id = ann.loop.run_pipeline(name)["run_id"]
    with pytest.raises(
        Conflict, match=rf"{run_id.replace('+', '.')} of pipeline going is under way: cancel it or wait"
    ):
        stack.people["bob"].loop.release_pipeline(name)
    assert place in claims(stack.cluster)
    ann.loop.cancel_pipeline_run(name, run_id)
    eventually(lambda: stack.run_state(run_id, f"pipeline.{name}") == "failed", 90)
    assert ann.loop.release_pipeline(name)["mounts"] == 1
    eventually(lambda: place not in claims(stack.cluster))


def test_what_a_pod_uses_goes_when_it_has_ended_and_the_next_run_waits_for_that(stack: PodStack) -> None:
    """The pod is somebody's who looks at what a pipeline left."""
    ann, name = stack.people["ann"], pipeline(stack, "used")
    run(stack, ann, name)
    place = held(stack.cluster)["pipeline", "ann", "pipeline.used"]
    stack.cluster.apply(looker(place))
    eventually(lambda: phase(stack.cluster) == "Running")
    assert ann.loop.release_pipeline(name)["mounts"] == 1
    assert place not in claims(stack.cluster)
    assert stack.cluster.kubectl("exec", "looker", "--", "ls", "/claim/files").split() == ["left"]
    with stack.open_gate():
        run_id = ann.loop.run_pipeline(name)["run_id"]
        eventually(lambda: stack.state_of(run_id, "make_mounts", f"pipeline.{name}") == "running", 60)
        stack.cluster.kubectl("delete", "pod", "looker", "--grace-period=1")
        ann.airflow.wait(f"pipeline.{name}", run_id)
    assert found_by(ann, name, run_id)["MOUNT_KEPT"] == []
    assert place in claims(stack.cluster)


def test_who_may_not_and_what_is_not_there(stack: PodStack) -> None:
    ann, bob = stack.people["ann"], stack.people["bob"]
    stack.people["admin"].loop.apply_pipeline({"name": "alone", "stages": {"work": STAGE}}, personal=True)
    with pytest.raises(NotFound, match="no pipeline 'alone'"):
        ann.loop.release_pipeline("alone")
    with pytest.raises(NotFound, match="no pipeline 'none'"):
        ann.loop.release_pipeline("none")
    name = pipeline(stack, "forbidden")
    run(stack, bob, name)
    place = held(stack.cluster)["pipeline", "bob", "pipeline.forbidden"]
    binding = stack.cluster.kubectl("get", "rolebinding", "learnloop-jobs", "-o", "json")
    stack.cluster.kubectl("delete", "rolebinding", "learnloop-jobs")
    try:
        with pytest.raises(LearnloopError, match=r"403: persistentvolumeclaims is forbidden"):
            ann.loop.release_pipeline(name)
    finally:
        stack.cluster.kubectl("create", "-f", "-", stdin=binding)
    assert place in claims(stack.cluster)
    assert ann.loop.release_pipeline(name)["mounts"] == 1


def test_a_stage_that_is_run_again_gets_what_went_with_the_run_anew(stack: PodStack) -> None:
    fails_once = """
if not os.path.exists(os.environ["MOUNT_KEPT"] + "/tried"):
    open(os.environ["MOUNT_KEPT"] + "/tried", "w").close()
    raise SystemExit(3)
"""
    ann, name = stack.people["ann"], pipeline(stack, "again", LEAVES.replace("job = Job", f"{fails_once}job = Job", 1))
    with pytest.raises(RunFailed, match="failed at: work"):
        run(stack, ann, name)
    (failed,) = ann.loop.pipeline_runs(name)
    eventually(lambda: ("run", "ann", "pipeline.again") not in held(stack.cluster))
    assert ann.loop.rerun_pipeline(name, failed["run_id"]) == ["work"]
    with stack.open_gate():
        eventually(lambda: stack.run_state(failed["run_id"], f"pipeline.{name}") in ("success", "failed"), 120)
    found = found_by(ann, name, failed["run_id"])
    assert (found["MOUNT_SCRATCH"], found["MOUNT_KEPT"]) == ([], ["tried"])


def somebody_elses(
    cluster: Cluster, name: str, labels: dict[str, str], annotations: dict[str, str] | None = None
) -> None:
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "shared-nfs",
                "resources": {"requests": {"storage": "8Mi"}},
            },
        }
    )


def looker(place: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "looker"},
        "spec": {
            "containers": [
                {
                    "name": "sh",
                    "image": "busybox:1.35",
                    "command": ["sleep", "600"],
                    "volumeMounts": [{"name": "claim", "mountPath": "/claim"}],
                }
            ],
            "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": place}}],
        },
    }


def phase(cluster: Cluster) -> str:
    return cluster.kubectl("get", "pod", "looker", "-o", "jsonpath={.status.phase}")
