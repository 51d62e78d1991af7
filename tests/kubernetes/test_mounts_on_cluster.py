"""Mounts as claims on a real cluster: bound and usable before a job, adopted, kept where they are not ours, removed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_tools import Cluster
from mount_contract import Run, write_table
from waits import eventually

from learnloop.errors import Conflict, InvalidInput, JobFailed, NotFound, PermissionDenied
from learnloop.settings import settings
from learnloop_airflow.mounts.check_pod import CheckPod
from learnloop_airflow.mounts.home import home
from learnloop_airflow.mounts.orphans import sweep
from learnloop_airflow.operators.mounts import MountsOperator

LOOK = """
import json, os
from pathlib import Path
from learnloop.jobs.contract import Job
place = Path(os.environ["MOUNT_SPACE"])
seen = sorted(os.listdir(place))
try:
    (place / "x").write_text("x")
    writable = True
except OSError:
    writable = False
owner = place.stat()
Job.current().finish({
    "path": str(place), "seen": seen, "writable": writable,
    "mine": owner.st_uid == os.getuid(), "mode": oct(owner.st_mode & 0o777),
})
"""


@pytest.fixture
def classes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes ``storage_class`` of the cluster the only one that there is."""

    def use(storage_class: str) -> None:
        path = cluster.home / "storage-classes.yaml"
        write_table(path, "nfs", storage_class, "")
        monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(path))
        settings.cache_clear()

    use("shared-nfs")
    return use


def claim(cluster: Cluster, name: str, labels: dict[str, str] | None = None) -> None:
    """A claim that is somebody else's."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "shared-nfs",
                "resources": {"requests": {"storage": "8Mi"}},
            },
        }
    )


def claims(cluster: Cluster) -> dict[str, dict[str, Any]]:
    found = json.loads(cluster.kubectl("get", "pvc", "-o", "json"))["items"]
    return {one["metadata"]["name"]: one for one in found if "deletionTimestamp" not in one["metadata"]}


def test_a_claim_is_bound_and_laid_out_and_a_pod_uses_it(cluster: Cluster, classes: Any) -> None:
    run = Run(1, "python")
    (made,) = run.prepare(access="read_write_many", size="16Mi")
    one = claims(cluster)[made["place"]]
    assert one["status"]["phase"] == "Bound"
    assert one["spec"]["accessModes"] == ["ReadWriteMany"]
    assert one["spec"]["resources"]["requests"]["storage"] == str(16 * 2**20)
    assert one["metadata"]["labels"]["learnloop/user"] == "ann"
    assert run.job(LOOK) == {"path": "/mnt/space", "seen": [], "writable": True, "mine": True, "mode": "0o700"}
    assert cluster.pods() == []
    run.remove()
    eventually(lambda: claims(cluster) == {})


def test_what_is_not_ours_is_used_by_who_may_and_never_removed(cluster: Cluster, classes: Any) -> None:
    for name, labels in {
        "anns": {"learnloop/user": "ann"},
        "everybodys": {"learnloop/shared": "true"},
        "platforms": {},
    }.items():
        claim(cluster, name, labels)
    run = Run(1, "python")
    with pytest.raises(PermissionDenied, match=r"no label that lets ann use it; .* learnloop/user=ann, or"):
        run.prepare(claim="platforms", lifetime="user")
    with pytest.raises(NotFound, match=r"to be claim nobodys, and namespace .* has none"):
        run.prepare(claim="nobodys", lifetime="user")
    run.prepare(claim="anns", lifetime="user")
    assert run.write("kept")["seen"] == []
    shared = Run(2, "python", user="bob")
    shared.prepare(claim="everybodys", lifetime="user", access="read_only_many")
    assert shared.job(LOOK)["writable"] is False
    run.remove()
    shared.remove()
    done = sweep(home(), lambda *_: False)
    assert done.removed == []
    assert done.foreign == ["anns", "everybodys", "platforms"]
    assert set(claims(cluster)) == {"anns", "everybodys", "platforms"}


def test_maintenance_removes_claims_of_ended_runs_and_tells_of_others(cluster: Cluster, classes: Any) -> None:
    """What only looks like ours, by labels that somebody copied, is left."""
    ended, going, kept = Run(1, "python"), Run(2, "python"), Run(1, "python")
    for run in (ended, going):
        run.prepare()
    kept.prepare(name="kept", path="/mnt/kept", lifetime="user")
    copied = claims(cluster)[ended.made[0]["place"]]["metadata"]
    claim(cluster, "looks-like-ours", copied["labels"])
    claim(cluster, "copied-all", copied["labels"])
    note = copied["annotations"]["learnloop/mount"]
    cluster.kubectl("annotate", "pvc", "copied-all", f"learnloop/mount={note}")
    done = sweep(home(), lambda dag_id, run_id: run_id == going.run_id)
    assert done.removed == [ended.made[0]["place"]]
    assert sorted(done.unknown) == ["copied-all", "looks-like-ours"]
    left = {going.made[0]["place"], kept.made[0]["place"], "copied-all", "looks-like-ours"}
    eventually(lambda: set(claims(cluster)) == left)


def test_a_claim_in_the_way_is_told_and_left(cluster: Cluster, classes: Any) -> None:
    run = Run(1, "python")
    run.prepare(lifetime="user")
    place = run.made[0]["place"]
    with pytest.raises(Conflict, match="mount space is there with 8388608, and 1Gi are asked for"):
        run.prepare(lifetime="user", size="1Gi")
    with pytest.raises(Conflict, match="is there as ReadWriteOnce, which is not enough for read_write_many"):
        run.prepare(lifetime="user", access="read_write_many")
    cluster.kubectl("delete", "pvc", place)
    claim(cluster, place, {"learnloop/user": "ann"})
    with pytest.raises(Conflict, match="one of that name is there that we did not make"):
        run.prepare(lifetime="user")
    assert list(claims(cluster)) == [place]


@pytest.mark.parametrize(
    ("storage_class", "quota", "error", "reason"),
    [
        ("no-such-class", None, JobFailed, r"not usable in time: .*space \(claim .* of class only is Pending\)"),
        ("shared-nfs", "0", InvalidInput, r"takes no claim for mount space: .*exceeded quota"),
    ],
)
def test_what_cannot_be_bound_fails_before_the_job_and_leaves_nothing(
    cluster: Cluster, classes: Any, storage_class: str, quota: str | None, error: type[Exception], reason: str
) -> None:
    classes(storage_class)
    if quota is not None:
        cluster.kubectl("create", "quota", "few", f"--hard=persistentvolumeclaims={quota}")
        eventually(
            lambda: "persistentvolumeclaims" in cluster.kubectl("get", "quota", "few", "-o", "jsonpath={.status.used}")
        )
    started = time.monotonic()
    with pytest.raises(error, match=reason):
        Run(1, "python").prepare(ready_seconds=3)
    assert time.monotonic() - started < 60
    eventually(lambda: claims(cluster) == {} and cluster.pods() == [])


def test_what_is_bound_and_cannot_be_written_fails_before_the_job(cluster: Cluster) -> None:
    """A volume that belongs to root, of a class that cannot change that: a folder of this machine."""
    folder = cluster.home / "roots"
    folder.mkdir(mode=0o755)
    name = cluster.namespace
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "8Mi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": name,
                "hostPath": {"path": str(folder)},
            },
        }
    )
    try:
        table = cluster.home / "storage-classes.yaml"
        write_table(table, "ssd", name, "")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LEARNLOOP_STORAGE_CLASSES", str(table))
            settings.cache_clear()
            if Path("/proc/self").stat().st_uid != 0:
                pytest.skip("the folder would be the jobs' own")
            with pytest.raises(JobFailed, match=r"bound and not usable: .*mount space cannot be used by user \d+"):
                Run(1, "python").prepare()
        eventually(lambda: claims(cluster) == {})
        assert yaml.safe_load(cluster.kubectl("get", "pv", name, "-o", "yaml"))["metadata"]["name"] == name
    finally:
        cluster.kubectl("delete", "pv", name, "--wait=false")


class WorkerDies(BaseException):
    """In the place of SIGKILL, which would take the test with it."""


def killed(run: Run) -> None:
    """The worker dies when the mounts have been checked; nothing that would tidy up runs."""

    def die(*_: object) -> None:
        raise WorkerDies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckPod, "_judge", die)
        for owner, name in ((CheckPod, "remove"), (MountsOperator, "_undo")):
            patch.setattr(owner, name, lambda *_: None)
        with pytest.raises(WorkerDies):
            run.prepare()


@pytest.mark.long
def test_what_a_killed_worker_left_is_taken_up_or_removed_with_its_run(cluster: Cluster, classes: Any) -> None:
    """A pod that checks, and a claim."""
    run = Run(1, "python")
    killed(run)
    assert len(cluster.pods()) == len(claims(cluster)) == 1
    assert sweep(home(), lambda *_: True).removed == []
    assert run.prepare()[0]["adopted"] is True
    eventually(lambda: cluster.pods() == [])
    killed(Run(2, "python"))
    assert len(sweep(home(), lambda *_: False).removed) == 3
    eventually(lambda: cluster.pods() == [] and claims(cluster) == {})
