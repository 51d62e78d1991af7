"""A structure search with a mapped task and a pod a trial finds what it finds on one machine, also when a pod is killed.

The same data under two names: one search has processes as jobs, the other, in Airflow, pods. The trials are those that a
search always begins with: what Optuna proposes after them goes by measured latencies, too.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from cluster_tools import ROOT
from pod_stack import TRAINING, PodStack, running_stack
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from waits import eventually

from learnloop.database import Dataset, Decision, StructureSearch, StructureTrial
from learnloop.stack.__main__ import running_environment
from learnloop.stack.demo import digits
from learnloop.stack.places import Places

pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]

DAG = "structure_optimization"
MORE = 140  # labels than the demo begins with, so that there is something to find
TRIED = ["mlp 4", "mlp 8", "mlp 8, grown", "logistic", "sgd"]
MODULE = "learnloop.training.trial"
HERE = """
import sys
sys.path.insert(0, sys.argv[1])
from run_dags import run
run("base_model_training", path=sys.argv[2], message="a small network")
run("structure_optimization", dataset=sys.argv[3], when="always")
"""


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodStack]:
    with running_stack(image, tmp_path_factory.mktemp("search"), few_rights=True) as made:
        yield made


def test_pods_find_what_processes_find_and_a_killed_trial_is_resumed(stack: PodStack, tmp_path: Path) -> None:
    search_here(stack, write(stack.data / "here", "digits-here"), "digits-here", tmp_path)
    assert stack.cluster.pods() == []
    stack.airflow.run(TRAINING, {"path": str(write(stack.data / "pods", "digits-pods")), "message": "a small network"})
    run_id = stack.airflow.trigger(DAG, {"dataset": "digits-pods", "when": "always"})
    killed = kill_one_in_the_middle(stack)
    stack.airflow.wait(DAG, run_id, 900)
    log = stack.log_of(run_id, "trial", DAG, map_index=killed)
    assert "the job's pod was deleted before it ended: it is made again" in log
    trials = stack.get(f"/dags/{DAG}/dagRuns/{run_id}/taskInstances").json()["task_instances"]
    tries = [(task["map_index"], task["state"], task["try_number"]) for task in trials if task["task_id"] == "trial"]
    assert sorted(tries) == [(number, "success", 1) for number in range(len(TRIED))]
    here, in_pods = found(stack, "digits-here"), found(stack, "digits-pods")
    assert in_pods == here
    assert [trial["described"] for trial in here["trials"]] == TRIED
    assert here["state"] == "changed"
    assert here["accuracy"] > here["before"]
    assert stack.cluster.pods() == []


def write(folder: Path, name: str) -> Path:
    """Digits with 200 labels, whose structure is a network that is too small."""
    made = digits.write(folder, name, budget=20)
    rows = pq.read_table(made.dataset / "annotations.parquet").to_pylist()
    for scan in sorted(made.pool.glob("*.png"))[:MORE]:
        shutil.copy(scan, made.dataset / "images")
        row = {"path": f"images/{scan.name}", "label": made.truth[scan.stem], "split": "train"}
        rows.append({"sample_id": scan.stem, **row})
    pq.write_table(pa.Table.from_pylist(rows), made.dataset / "annotations.parquet")
    config = yaml.safe_load((made.dataset / "dataset.yaml").read_text())
    config["loop"]["trainer"] = {"name": "mlp", "hidden": [4]}
    config["loop"]["structure"] = {"trials": len(TRIED), "families": ["mlp", "logistic", "sgd"]}
    (made.dataset / "dataset.yaml").write_text(yaml.safe_dump(config))
    return made.dataset


def search_here(stack: PodStack, dataset: Path, name: str, folder: Path) -> None:
    """By `dag.test()`, with an Airflow database of its own: the stack's scheduler would run the same tasks."""
    environment = {
        **running_environment(Places(stack.cluster.home)),
        "LEARNLOOP_JOB_RUNNER": "local",
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
    }
    script = [sys.executable, "-c", HERE, str(ROOT / "tests" / "integration" / "stack"), str(dataset), name]
    for command in ([str(Path(sys.executable).parent / "airflow"), "db", "migrate"], script):
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert ran.returncode == 0, f"{ran.stderr[-4000:]}\n{ran.stdout[-4000:]}"


def found(stack: PodStack, name: str) -> dict[str, Any]:
    """What came of a dataset's search, but for what is not the structures': measured times, and the sizes of files, in which
    skops writes addresses of memory."""
    made = create_engine(json.loads((stack.cluster.home / "stack.json").read_text())["database_url"])
    with Session(made) as db:
        search = db.scalars(select(StructureSearch).join(Dataset).where(Dataset.name == name)).one()
        of = select(StructureTrial).where(StructureTrial.search_id == search.id).order_by(StructureTrial.number)
        trials = [
            {
                "described": trial.described,
                "state": trial.state,
                "candidate": trial.candidate,
                **{name: trial.result[name] for name in ("accuracies", "labels")},
            }
            for trial in db.scalars(of)
        ]
        gate = db.scalars(select(Decision).where(Decision.kind == "structure", Decision.run_id == search.run_id)).one()
        scored = {
            "accuracy": gate.comparison["candidate"]["accuracy"],
            "before": gate.comparison["current"]["accuracy"],
        }
        result = {"state": search.state, "chosen": search.chosen, "space": search.space, "trials": trials, **scored}
    made.dispose()
    return result


def kill_one_in_the_middle(stack: PodStack) -> int:
    """Deletes the pod of a trial that has some of its folds and not all; the number of the trial."""
    stopped: list[dict[str, Any]] = []
    eventually(lambda: stopped.extend(stopped_pods(stack)) or stopped, 300)
    pod = stopped[0]
    stack.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    return int(json.loads(pod["metadata"]["annotations"]["learnloop/task"])["map_index"])


def stopped_pods(stack: PodStack) -> list[dict[str, Any]]:
    """A pod whose trial stands still in the middle, if there is one now: the node's processes are this machine's."""
    for process in psutil.process_iter():
        try:
            if process.cmdline()[-1:] != [MODULE]:
                continue
            group = Path(f"/proc/{process.pid}/cgroup").read_text()
        except (psutil.Error, OSError):
            continue  # it has just ended
        for pod in stack.cluster.pods():
            if pod["metadata"]["uid"].replace("-", "") not in group.replace("-", "").replace("_", ""):
                continue
            results = stack.cluster.home / "namespaces" / own_results(pod)
            if not (results / "progress.jsonl").exists():
                continue
            process.send_signal(signal.SIGSTOP)
            if not (results / "result.json").exists():
                return [pod]
            process.send_signal(signal.SIGCONT)
    return []


def own_results(pod: dict[str, Any]) -> str:
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    return next(mount["subPath"] for mount in mounts if str(mount.get("subPath")).startswith("results/"))
