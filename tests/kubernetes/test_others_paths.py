"""Nobody's job can mount or read what is another person's: not when it asks for it, and not by what it does in its pod.

Links that a job leaves in the place of its own files: test_pod_rights.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster_tools import Cluster
from job_sources import spec
from job_tasks import Task
from mount_contract import Run, write_table

from learnloop.errors import InvalidInput, PermissionDenied
from learnloop.jobs.namespace import user_folder
from learnloop.settings import settings

LOOK = """
import json, os, ssl, urllib.error, urllib.request
from learnloop.jobs.contract import Job

SYSTEM = ("/proc", "/sys", "/usr", "/opt", "/dev")
job = Job.current()
(job.places.results / "secret-of-ann").write_text("her own, which is found")
found, folders = [], []
for place, below, names in os.walk("/", followlinks=False):
    below[:] = [name for name in below if not os.path.join(place, name).startswith(SYSTEM)]
    found += [os.path.join(place, name) for name in names if name.startswith("secret-of-")]
    folders += [os.path.join(place, name) for name in below if name in ("bob", job.params["bobs_folder"])]
above = [os.path.normpath(os.path.join(os.path.realpath(place), "../../bob")) for place in
         (job.places.results, job.places.models, job.places.data)]

def api(path, body=None):
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    asked = urllib.request.Request(f"https://{host}:{port}{path}", body and json.dumps(body).encode(),
                                   {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(asked, context=ssl._create_unverified_context(), timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code

pods = f"/api/v1/namespaces/{job.params['namespace']}/pods"
job.finish({
    "found": found, "folders": folders, "above": [path for path in above if os.path.exists(path)],
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "user": os.getuid(), "capabilities": open("/proc/self/status").read().split("CapEff:")[1].split()[0],
    "lists": api(pods), "makes": api(pods, job.params["pod"]),
})
"""


def keep(cluster: Cluster, kind: str, name: str = "job") -> Path:
    """Something of bob's below the namespaces."""
    folder = cluster.home / "namespaces" / kind / "bob" / name
    folder.mkdir(parents=True)
    (folder / "secret-of-bob").write_text("bob's")
    return folder


@pytest.mark.parametrize(
    ("kind", "name"), [("data", "workspaces"), ("results", "job"), ("models", "job"), ("tmp", "job"), ("mounts", "x")]
)
def test_another_persons_folder_is_refused_as_an_input(cluster: Cluster, kind: str, name: str) -> None:
    folder = keep(cluster, kind, name)
    ways = [
        folder,
        folder.parent / ".." / "bob" / name,
        cluster.home / "namespaces" / kind / "ann" / ".." / "bob" / name,
    ]
    for way in ways:
        job = spec(inputs={"parent": {"kind": "url", "source": f"file://{way}"}})
        with pytest.raises(InvalidInput, match=r"input 'parent': .* cannot be staged for a pod of ann; it must be"):
            Task(job).begin()
    assert cluster.pods() == []


def test_another_persons_mount_is_refused_however_it_is_named(cluster: Cluster, monkeypatch: Any) -> None:
    table = cluster.home / "storage-classes.yaml"
    write_table(table, "nfs", "shared-nfs", "")
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(table))
    settings.cache_clear()
    bob, ann = Run(1, "python", user="bob"), Run(2, "python")
    (made,) = bob.prepare(lifetime="user")
    bob.write("secret-of-bob")
    with pytest.raises(PermissionDenied, match=rf"claim {made['place']} has no label that lets ann use it"):
        ann.prepare(claim=made["place"], lifetime="user")
    forged = {**made, "user": "ann", "record": {**made["record"], "user": "ann"}}
    below_it = {**made, "how": "folder", "place": str(keep(cluster, "mounts", "x"))}
    upwards = {**below_it, "place": str(cluster.home / "namespaces" / "mounts" / "ann" / ".." / "bob" / "x")}
    for output in (made, forged, below_it, upwards):
        ann.made = [output]
        with pytest.raises(PermissionDenied, match=r"mount space: .* is not .*ann's"):
            ann.list()
    # Under the same name and for the same need she gets a claim of her own, which is empty.
    assert ann.prepare(lifetime="user")[0]["place"] != made["place"]
    assert ann.list() == []
    assert cluster.pods() == []


def test_within_its_pod_a_job_finds_no_way_to_another_persons_files(cluster: Cluster) -> None:
    """No folder of theirs, no step upwards from its own, no token, and no right to make a pod that would mount them."""
    folders = [keep(cluster, kind) for kind in ("data", "results", "models")]
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "thief-"},
        "spec": {
            "containers": [{"name": "x", "image": "busybox:1.35"}],
            "volumes": [{"name": "all", "hostPath": {"path": str(cluster.home / "namespaces")}}],
        },
    }
    params = {"namespace": cluster.namespace, "pod": manifest, "bobs_folder": user_folder("bob")}
    found = Task(spec(LOOK, outputs=[], params=params)).run()["result"]
    assert [Path(path).name for path in found["found"]] == ["secret-of-ann"]
    assert (found["folders"], found["above"]) == ([], [])
    assert (found["token"], int(found["capabilities"], 16)) == (False, 0)
    assert found["user"] != 0
    assert found["lists"] in (401, 403)
    assert found["makes"] in (401, 403)
    assert cluster.pods() == []
    assert all((folder / "secret-of-bob").read_text() == "bob's" for folder in folders)
