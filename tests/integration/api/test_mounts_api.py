"""What mounts cost, over the API, as a client and a terminal read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.orm import Session
from test_data_cli import run  # noqa: F401 - fixture

from learnloop import settings
from learnloop.events.progress import TaskName
from learnloop.mounts.made import Scope
from learnloop.mounts.plan import choose, parse_mounts
from learnloop.mounts.plans import store
from learnloop.mounts.table import load_table

NEED = {"name": "scratch", "path": "/mnt/scratch", "size": "10Gi", "performance": "fast"}


@pytest.fixture
def sold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "storage-classes.yaml"
    classes = {
        "ssd": {"product": "aws-ebs-gp3", "storage_class": "gp3"},
        "nvme": {"product": "aws-instance-nvme", "storage_class": "nvme"},
        "hdd": {"product": "aws-ebs-st1", "storage_class": "st1"},
    }
    path.write_text(yaml.safe_dump({"currency": "USD", "classes": classes}))
    monkeypatch.setenv("LEARNLOOP_STORAGE_CLASSES", str(path))
    settings.settings.cache_clear()
    return path


def test_an_estimate_before_there_is_a_run(sold: Path, as_user: Any) -> None:
    found = as_user("sam", "scientist").post("/mounts/estimate", json={"mounts": [NEED]}).json()
    (choice,) = found["choices"]
    assert (choice["mount"], choice["storage_class"]) == ("scratch", "ssd")
    assert found["cost"] == choice["cost"] == pytest.approx(10 * 0.08 * 12 / 365.25)
    assert choice["next_best"]["storage_class"] == "nvme"
    assert "first byte" in choice["refused"]["hdd"]
    assert "scratch (10Gi, read_write, fast, run): ssd" in found["explanation"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": "lots"}, "size"),
        ({"path": "/data/bob"}, "cannot be in /data"),
        ({"sise": "1Gi"}, "sise"),
        ({"size": "20Ti"}, "no storage class of this deployment meets the needs"),
    ],
)
def test_what_cannot_be_is_told(sold: Path, as_user: Any, change: dict[str, Any], said: str) -> None:
    answer = as_user("sam", "scientist").post("/mounts/estimate", json={"mounts": [NEED | change]})
    assert answer.status_code == 422
    assert said in answer.text


def test_who_may_not(as_user: Any) -> None:
    assert as_user("eve", "viewer").post("/mounts/estimate", json={"mounts": [NEED]}).status_code == 403
    assert as_user("eve", "viewer").get("/runs/d/r/mounts").status_code == 403


def test_what_a_run_planned_is_shown_and_a_retry_plans_anew(
    app: Any,
    db: Session,
    sold: Path,
    as_user: Any,
    run: Any,  # noqa: F811 - fixture
    tmp_path: Path,
) -> None:
    table = load_table(str(sold), "kubernetes")
    scope = Scope(user="ada", dag_id="train", run_id="manual__1", pipeline="train")
    for size in ("10Gi", "20Gi"):
        plan = choose(parse_mounts([NEED | {"size": size}]), table)
        store(db, plan, scope, TaskName("train", "manual__1", "mounts", -1))
    db.commit()
    (task,) = as_user("sam", "scientist").get("/runs/train/manual__1/mounts").json()["items"]
    assert (task["task_id"], task["owner"], task["pipeline"], task["cost"]) == ("mounts", "ada", "train", plan.cost)
    assert as_user("sam", "scientist").get("/runs/train/other/mounts").json() == {"items": []}

    assert "scratch (20Gi, read_write, fast, run): ssd" in run("sam", "run", "mounts", "train", "manual__1").output
    assert "no task of this run" in run("sam", "run", "mounts", "train", "other").output
    needs = tmp_path / "needs.yaml"
    needs.write_text(yaml.safe_dump({"mounts": [NEED]}))
    estimate = run("sam", "run", "estimate", needs).output
    assert "the next, nvme, would cost" in estimate
    needs.write_text("mounts: 3")
    assert "holds no list of mounts" in run("sam", "run", "estimate", needs, code=1).output
