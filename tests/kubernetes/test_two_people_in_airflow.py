"""Two people train on one dataset at once, in pods, through `workspace_training`: section 5.1 of the specification.

Pods wait at the gate until both have theirs, so that the two trainings are there at the same time whatever the machine does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pod_stack import GATE, TRAINING, Person, PodStack, running_stack
from waits import eventually

from learnloop.datasets.store import Store
from learnloop.stack.demo import digits
from learnloop.stack.demo.airflow import RunFailed

pytestmark = pytest.mark.timeout(900)

DAG = "workspace_training"
NAME = "digits"


@dataclass(frozen=True)
class Shared:
    """The dataset that both train on: its first version with features, and samples that may be labelled anew."""

    stack: PodStack
    version: str
    samples: list[str]

    def labels(self, name: str, samples: list[str], label: str) -> str:
        path = self.stack.data / f"{name}.parquet"
        pq.write_table(pa.table({"sample_id": samples, "label": [label] * len(samples)}), path)
        return str(path)

    def ask(self, person: Person, name: str, samples: list[str], label: str) -> str:
        """A run of ``person``'s on the shared version, up to where its pod waits at the gate."""
        conf = {"annotations": self.labels(name, samples, label), "message": f"{person.name}: {label}"}
        run_id = self.start(person, trainer={"hidden": [16]}, **conf)
        eventually(lambda: self.stack.pods_of(run_id) or self.stack.run_state(run_id, DAG) == "failed", 120)
        return run_id

    def start(self, person: Person, **conf: Any) -> str:
        return person.airflow.trigger(DAG, {"dataset": NAME, "version": self.version, **conf})

    def failure(self, person: Person, task_id: str, **conf: Any) -> str:
        """The log of the task at which a run of ``person``'s fails."""
        run_id = self.start(person, **conf)
        with pytest.raises(RunFailed, match=f"failed at: .*{task_id}"):
            person.airflow.wait(DAG, run_id)
        return self.stack.log_of(run_id, task_id, DAG)


@pytest.fixture(scope="module")
def shared(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    data = tmp_path_factory.mktemp("digits")
    with running_stack(image, data, selector={GATE: ""}, people=("ann", "bob"), few_rights=True) as stack:
        folder = digits.write(data / NAME, NAME, budget=20).dataset
        with stack.open_gate():
            stack.airflow.run(TRAINING, {"path": str(folder), "message": "shared by two"})
        version = stack.people["ann"].loop.dataset(NAME).head
        rows = pq.read_table(folder / "annotations.parquet").to_pylist()
        assert version is not None
        others = [row for row in rows if row["split"] == "train" and row["label"] not in ("3", "5", "7")]
        yield Shared(stack, version, [row["sample_id"] for row in others])


def test_two_people_train_at_once_and_both_results_become_versions(shared: Shared) -> None:
    stack, ann, bob = shared.stack, shared.stack.people["ann"], shared.stack.people["bob"]
    before = ann.loop.dataset(NAME).head
    runs = {
        person.name: shared.ask(person, person.name, shared.samples[:3], label)  # 1, 2: of the same samples
        for person, label in ((ann, "3"), (bob, "7"))
    }
    # 7-21: nobody waited for the other; each has a copy of the same version, and a pod that can reach its own folders.
    assert [stack.state_of(run_id, "train", DAG) for run_id in runs.values()] == ["deferred", "deferred"]
    assert [lock["owner"] for lock in locks(ann)] == ["ann", "bob"]
    for person in (ann, bob):
        made = stack.returned(DAG, runs[person.name], "workspace")
        assert made["version"] == shared.version
        assert [one["name"] for one in person.loop.workspaces()] == [made["workspace"]]
        assert f"/data/{person.name}/workspaces/" in made["path"]
        assert reach_of(stack, person.name) == {f"{kind}/{person.name}" for kind in ("results", "models")}
        own = stack.returned(DAG, runs[person.name], "commit")["version"]
        assert own.startswith(f"{shared.version}_{person.name}_")
        assert own in names_for(person)
        assert own not in names_for(bob if person is ann else ann)
    with stack.open_gate():
        for person in (ann, bob):
            person.airflow.wait(DAG, runs[person.name])
    # 26-49: progress, results in folders of their own, kept as snapshots; and what is given back.
    store = Store(stack.cluster.home / "store")
    for person in (ann, bob):
        run_id = runs[person.name]
        (train,) = (task for task in person.loop.run_progress(DAG, run_id)["tasks"] if task["task_id"] == "train")
        assert train["progress"]["epoch"] > 0
        models = Path(stack.returned(DAG, run_id, "train")["models_dir"])
        assert models.is_relative_to(stack.cluster.home / "namespaces" / "models" / person.name)
        assert "model/MLmodel" in store.read_tree(stack.returned(DAG, run_id, "snapshot_results")["model"])
        assert person.loop.workspaces() == []
        eventually(lambda: told_of(person, run_id) == {"admitted", "finished"}, 90)  # noqa: B023 - awaited here
    assert told_of(ann, runs["bob"]) == told_of(bob, runs["ann"]) == set()
    assert locks(ann) == []
    assert stack.cluster.pods() == []
    # One of the two was merged; the other contradicts it, so that a person is asked, who takes it all the same.
    ends = {name: stack.returned(DAG, run_id, "merge_or_branch") for name, run_id in runs.items()}
    assert sorted(end["state"] for end in ends.values()) == ["merged", "open"]
    first, second = sorted(ends, key=lambda name: ends[name]["state"])
    assert ann.loop.dataset(NAME).head == ends[first]["version"]
    assert ends[second]["version"] in names_for(stack.people[first])  # a branch is everybody's to see
    assert ends[second]["merge"] in [waiting["id"] for waiting in ann.loop.merges(NAME)]
    assert ends[second]["conflicts"] == 3
    done = stack.people[second].loop.answer_merge(ends[second]["merge"], {}, strategy="theirs")
    assert ann.loop.dataset(NAME).head == done["version"]
    label = {"ann": "3", "bob": "7"}[second]
    assert new_labels(ann, before, done["version"]) == dict.fromkeys(shared.samples[:3], label)


def test_an_increment_of_one_is_no_hindrance_for_the_other(shared: Shared) -> None:
    """58-66: on the first version, though the head has gone on since; what nobody contradicts is merged."""
    stack, ann, bob = shared.stack, shared.stack.people["ann"], shared.stack.people["bob"]
    run_id = shared.ask(ann, "more", shared.samples[3:6], "5")
    bob.loop.create_workspace(shared.version, "meanwhile")
    target = stack.data / "restored"
    bob.loop.restore(shared.version, str(target))
    assert (target / "dataset.yaml").exists()
    held = bob.loop.lock(NAME)
    assert bob.loop.unlock(NAME, held["token"])
    assert bob.loop.discard_workspace("meanwhile")
    before = bob.loop.dataset(NAME).head
    with stack.open_gate():
        ann.airflow.wait(DAG, run_id)
    end = stack.returned(DAG, run_id, "merge_or_branch")
    assert end["state"] == "merged"
    assert bob.loop.dataset(NAME).head == end["version"] != before
    assert new_labels(bob, before, end["version"]) == dict.fromkeys(shared.samples[3:6], "5")


def test_nobody_comes_to_anothers_files_by_a_run(shared: Shared) -> None:
    ann, bob = shared.stack.people["ann"], shared.stack.people["bob"]
    ann.loop.create_workspace(shared.version, "hers")
    try:
        place = shared.stack.cluster.home / "namespaces" / "data" / "ann" / "workspaces" / "hers"
        before = sorted(path.name for path in place.iterdir())
        assert "bob has no workspace 'hers'" in shared.failure(bob, "workspace", workspace="hers")
        log = shared.failure(bob, "commit", annotations=str(place / "annotations.parquet"))
        assert "inside the platform's or another person's files" in log
        own = next(name for name in names_for(ann) if "_ann_" in name)
        assert f"there is no dataset version '{own}'" in shared.failure(bob, "read_lease", version=own)
        assert sorted(path.name for path in place.iterdir()) == before
        assert shared.stack.cluster.pods() == []
        assert locks(bob) == bob.loop.workspaces() == []
    finally:
        ann.loop.discard_workspace("hers")


def names_for(person: Person) -> list[str]:
    return [version["name"] for version in person.loop.versions(NAME)]


def locks(person: Person) -> list[dict[str, Any]]:
    return sorted(person.loop.locks(NAME)["locks"], key=lambda lock: lock["owner"])


def told_of(person: Person, run_id: str) -> set[str]:
    return {event["kind"] for event in person.loop.events(200) if event["run_id"] == run_id}


def new_labels(person: Person, before: str | None, after: str) -> dict[str, str]:
    """Of the samples that have another label in ``after``."""
    tables = person.loop.diff(str(before), after)["tables"]
    changed = next(table["changed"] for table in tables if table["path"] == "annotations.parquet")
    return {record["key"]: record["fields"]["label"][1] for record in changed if "label" in record["fields"]}


def reach_of(stack: PodStack, user: str) -> set[str]:
    """Whose folders of the shared volume a container of ``user``'s pods mounts, by kind."""
    pods = [pod for pod in stack.cluster.pods() if pod["metadata"]["labels"]["learnloop/user"] == user]
    spec = pods[0]["spec"]
    assert pods[0]["metadata"]["labels"]["learnloop/dataset"] == NAME
    every = [mount for one in (*spec["containers"], *spec["initContainers"]) for mount in one["volumeMounts"]]
    places = {"/".join(mount["mountPath"].split("/")[:3]) for mount in spec["containers"][0]["volumeMounts"]}
    assert places == {f"/data/{user}", f"/results/{user}", f"/models/{user}", "/tmp"}
    return {"/".join(mount["subPath"].split("/")[:2]) for mount in every if mount["name"] == "namespaces"}
