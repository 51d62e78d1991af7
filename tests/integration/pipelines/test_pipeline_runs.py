"""A pipeline's tasks: what a run fixed stays, stages hand on what they made, what was run is kept, nothing is rendered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dataset_folders import write_dataset
from pipeline_runs import JOB, Run, bundle, dags_of, put, python
from sqlalchemy import func, select

from learnloop.database import Lock, PipelineRun, StageRun, session
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import JobFailed, PermissionDenied
from learnloop.pipelines.holdings import release
from learnloop.pipelines.names import NO_STAGES
from learnloop.pipelines.runs import find_run, forget_results
from learnloop.pipelines.stored import visible
from learnloop.settings import settings
from learnloop_airflow.mounts.home import remove_pipeline_mounts


def dag_of(name: str) -> Any:
    dags, errors = dags_of(bundle())
    assert not errors
    return dags[f"pipeline.{name}"]


def count(table: Any) -> int:
    with session() as db:
        return db.scalar(select(func.count()).select_from(table)) or 0


def two_stages() -> dict[str, Any]:
    train = python(
        params={"accuracy": 0.9}, inputs={"data": {"kind": "dataset", "source": "lamps"}}, outputs=["models/model"]
    )
    return {
        "name": "lamp-training",
        "stages": {"look": python(inputs={"model": {"kind": "stage", "source": "train/models/model"}}), "train": train},
    }


def test_a_run_from_end_to_end(place: Path, lamps: Any) -> None:
    put(two_stages())
    done = Run(dag_of("lamp-training")).all()
    assert done["train"]["result"] == {"accuracy": 0.9, "data": ["data"]}
    assert done["look"]["result"]["data"] == ["model"]
    assert done["pin_inputs"]["pins"]["train"]["data"]["name"] == lamps.name
    assert done["release_inputs"] == 1
    assert count(Lock) == 0
    with session() as db:
        (run,) = db.scalars(select(PipelineRun))
        assert (run.owner, run.version.number, run.run_id) == ("ana", 1, "manual__1")
        stages = {row.stage: row for row in db.scalars(select(StageRun))}
    assert stages["train"].spec["pins"]["dataset_version"] == lamps.name
    assert stages["train"].result == done["train"]["result"]
    assert "learning" in (Path(stages["train"].results_dir) / "job.log").read_text()


def test_a_run_that_is_tried_again_reads_what_it_read_and_trains_once(db: Any, place: Path, lamps: Any) -> None:
    put(two_stages())
    run = Run(dag_of("lamp-training"))
    run.do("pin_inputs")
    first = run.do("train")
    folder = write_dataset(place / "mine" / "lamps", 6)
    assert snapshot(db, Store(settings().store), folder, owner="ana").name != lamps.name
    db.commit()
    began = (Path(first["results_dir"]) / "job.log").stat().st_mtime_ns
    run.do("pin_inputs")
    assert run.returned["pin_inputs"]["pins"]["train"]["data"]["name"] == lamps.name
    assert run.do("train") == first
    assert (Path(first["results_dir"]) / "job.log").stat().st_mtime_ns == began
    other = Run(dag_of("lamp-training"), run_id="manual__2")
    other.do("pin_inputs")
    assert other.returned["pin_inputs"]["pins"]["train"]["data"]["name"] != lamps.name
    assert other.do("train")["results_dir"] != first["results_dir"]


def test_a_failed_stage_goes_on_where_it_stopped(place: Path) -> None:
    flag = place / "mine" / "flag"
    code = f"import pathlib, sys\nif not pathlib.Path({str(flag)!r}).exists(): sys.exit(3)\n{JOB}"
    put({"name": "flaky", "stages": {"a": python(), "b": python(code=code, after=["a"])}})
    run = Run(dag_of("flaky"))
    run.do("pin_inputs")
    a = run.do("a")
    with pytest.raises(JobFailed, match="exit code 3"):
        run.do("b")
    assert stages_kept() == {"a": (1, True), "b": (1, False)}
    flag.touch()
    assert run.do("b")["result"]
    assert run.do("a") == a
    assert stages_kept() == {"a": (2, True), "b": (2, True)}


def stages_kept() -> dict[str, tuple[int, bool]]:
    with session() as db:
        return {row.stage: (row.tries, row.ended_at is not None) for row in db.scalars(select(StageRun))}


def test_a_stage_that_is_asked_for_again_does_its_work_again(place: Path) -> None:
    put({"name": "again", "stages": {"a": python(), "b": python(after=["a"])}})
    run = Run(dag_of("again"))
    run.all()
    logs = [Path(run.returned[stage]["results_dir"]) / "job.log" for stage in "ab"]
    began = [log.stat().st_mtime_ns for log in logs]
    with session() as db:
        forget_results(db, find_run(db, "pipeline.again", "manual__1"), ["b"])
    run.do("a")
    run.do("b")
    assert [log.stat().st_mtime_ns > before for log, before in zip(logs, began, strict=True)] == [False, True]


def test_what_a_run_left_is_given_back(place: Path, lamps: Any) -> None:
    for name in ("lamp-training", "lamp"):
        put({**two_stages(), "name": name})
        Run(dag_of(name)).do("pin_inputs")  # and nothing more: its teardown was missed
    assert count(Lock) == 2
    with session() as db:
        assert release(db, visible(db, "lamp", user="ana")) == {"read_leases": 1}
    with session() as db:
        assert [lock.purpose for lock in db.scalars(select(Lock))] == ["pipeline lamp-training, run manual__1"]


SHARES = """
import os
from pathlib import Path
from learnloop.jobs.contract import Job
job = Job.current()
places = {name: Path(place) for name, place in os.environ.items() if name.startswith("MOUNT_")}
found = {name: sorted(path.name for path in place.iterdir()) for name, place in places.items()}
for place in places.values():
    (place / job.params["leaves"]).touch()
job.finish(found)
"""


def test_stages_share_mounts_that_go_with_the_run_or_stay_with_the_pipeline(place: Path) -> None:
    scratch = {"name": "scratch", "path": "/mnt/scratch", "size": "1Mi"}
    kept = {"name": "kept", "path": "/mnt/kept", "size": "1Mi", "lifetime": "pipeline"}
    first = python(code=SHARES, params={"leaves": "a"}, mounts=[scratch, kept])
    then = python(code=SHARES, params={"leaves": "b"}, mounts=[scratch], after=["a"])
    put({"name": "shares", "stages": {"a": first, "b": then}})
    run = Run(dag_of("shares"))
    assert set(run.dag.task_ids) - NO_STAGES == {"a", "b"}
    run.all()
    assert run.returned["a"]["result"] == {"MOUNT_SCRATCH": [], "MOUNT_KEPT": []}
    assert run.returned["b"]["result"] == {"MOUNT_SCRATCH": ["a"]}  # and nothing that it did not ask for
    places = {made["mount"]["name"]: Path(made["place"]) for made in run.returned["make_mounts"]}
    assert (places["scratch"].exists(), places["kept"].exists()) == (False, True)
    again = Run(dag_of("shares"), run_id="manual__2")
    again.all()
    assert again.returned["a"]["result"] == {"MOUNT_SCRATCH": [], "MOUNT_KEPT": ["a"]}
    assert remove_pipeline_mounts("shares", aws_conn_id=None) == []
    assert len(remove_pipeline_mounts("pipeline.shares", aws_conn_id=None)) == 1
    assert not places["kept"].exists()


def test_a_personal_pipeline_runs_for_its_person_alone(place: Path) -> None:
    put({"name": "mine", "stages": {"a": python()}}, personal=True)
    with pytest.raises(PermissionDenied, match="personal to ana"):
        Run(dag_of("mine"), user="ben").do("pin_inputs")
    assert Run(dag_of("mine")).all()["a"]["result"]


def test_what_one_may_read_another_may_not(place: Path) -> None:
    folder = settings().namespaces / "data" / "ana" / "own"
    folder.mkdir(parents=True)
    reads = python(inputs={"f": {"kind": "folder", "source": str(folder)}})
    put({"name": "reads", "stages": {"a": reads}})
    with pytest.raises(PermissionDenied, match="another person's files"):
        Run(dag_of("reads"), user="ben").do("pin_inputs")
    assert count(PipelineRun) == 0


def test_no_text_is_rendered_or_given_to_a_shell(place: Path) -> None:
    touched = place / "mine" / "touched"
    hostile = [
        "{{ 7 * 7 }}", "{{ var.value.get('x') }}", "{% for x in [1] %}x{% endfor %}", "{{ ti.xcom_push('a', 1) }}",
        "${HOME}", "$HOME", "$(touch " + str(touched) + ")", "`touch " + str(touched) + "`", "; touch " + str(touched),
        "| tee", "&& id", "%s %(x)s {0} {}", "a.md", "../../etc/passwd", "!!python/name:os.system", "#{x}", "<script>",
        "\n---\nname: other", "'; DROP TABLE pipelines; --", "\\u0041", "$$(X)", "x.sh", "/etc/passwd.json",
    ]  # fmt: skip
    code = """
import os, sys
from learnloop.jobs.contract import Job
job = Job.current()
job.finish({"argv": sys.argv[1:], "env": [os.environ[f"V{n}"] for n in range(int(sys.argv[1]))], "params": job.params})
"""
    stage = python(code=code, params={"texts": hostile, **{text: text for text in hostile}})
    stage["command"] += [str(len(hostile)), *hostile]
    stage["env"].update({f"V{n}": text for n, text in enumerate(hostile)})
    put({"name": "hostile", "description": hostile[0], "stages": {"a": stage}})
    dag = dag_of("hostile")
    assert {task.template_fields for task in dag.tasks} == {()}
    assert dag.description == hostile[0]
    done = Run(dag).all()["a"]["result"]
    assert done["argv"][1:] == hostile
    assert done["env"] == hostile
    assert done["params"]["texts"] == hostile
    assert all(done["params"][text] == text for text in hostile)
    assert not touched.exists()


@pytest.mark.parametrize("description", ["x.md", "/etc/passwd.md", "{{ 7 * 7 }}.md", "<script>alert(1)</script>"])
def test_a_description_is_shown_as_it_is_and_names_no_file(place: Path, description: str) -> None:
    put(json.dumps({"name": "d", "description": description, "stages": {"a": {"module": "x"}}}))
    dag = dag_of("d")
    assert dag.description == description
    assert description not in dag.doc_md
