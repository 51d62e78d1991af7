"""Exact figures of what the product's own functions left, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dataset_folders import write_dataset
from merges import changed
from platform_in_use import jobs_in_line, planned_mount, two_versions
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from test_metrics_api import figures, scraper  # noqa: F401 - a fixture

from learnloop.database import Dataset, JobProgress, MergeConflict, MountPlan, session
from learnloop.datasets.merge.requests import answer_conflict, open_merge
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.events.progress import TaskName, report
from learnloop.loop.decisions import record_decision
from learnloop.loop.drift import psi
from learnloop.models.deployment import deploy
from learnloop.serving.live import write
from learnloop.serving.noting import LiveRules, Noted, Window
from learnloop.settings import settings

Told = Callable[[str], dict[tuple[str, ...], float]]


@pytest.fixture
def told(scraper: Any) -> Told:  # noqa: F811 - fixture
    """``told(name)``: the figures of that name, by the values of their labels in the order of the labels' names."""

    def read(name: str) -> dict[tuple[str, ...], float]:
        found = figures(scraper.get("/metrics/loop").text)
        return {
            tuple(value for _, value in labels): figure
            for (full, labels), figure in found.items()
            if full == f"learnloop_{name}"
        }

    return read


@pytest.fixture
def place(app: Any) -> Store:
    return Store(settings().store)


def test_conflicts_that_nobody_answered(told: Told, db: Session, place: Store, tmp_path: Path) -> None:
    first = snapshot(db, place, write_dataset(tmp_path / "lamps", samples=6), owner="ada")
    samples = ("s001", "s003", "s005")
    changed(db, place, first, records={sample: {"label": "dark"} for sample in samples})
    theirs = changed(db, place, first, records={sample: {"label": None} for sample in samples}, user="ada")
    merge = open_merge(db, place, theirs, owner="ada")
    conflicts = db.scalars(select(MergeConflict.id).where(MergeConflict.merge_id == merge.id)).all()
    assert len(conflicts) == 3
    answer_conflict(db, merge, conflicts[0], "ours", by="ada")
    db.commit()
    assert told("merges_open") == {("lamps",): 1}
    assert told("merge_conflicts_unanswered") == {("lamps",): 2}


def test_bytes_by_tier(told: Told, db: Session, place: Store, tmp_path: Path) -> None:
    warm, hot = two_versions(db, place, tmp_path)
    db.commit()
    assert told("storage_versions") == {("hot",): 1, ("warm",): 1}
    assert told("storage_logical_bytes") == {("hot",): hot.bytes, ("warm",): warm.bytes}
    assert 0 < warm.bytes < hot.bytes
    files = [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    assert told("storage_remote_bytes") == {("warm",): sum(path.stat().st_size for path in files), ("cold",): 0}


def test_who_has_capacity_and_who_waits(told: Told) -> None:
    jobs_in_line()
    assert told("queue_jobs") == {("normal", "local", "begun"): 1, ("low", "local", "waiting"): 1}
    assert told("capacity_reserved_cpu_cores") == {("local",): 3}
    assert told("capacity_reserved_memory_bytes") == {("local",): 2**30}
    assert told("capacity_reserved_gpus") == {("local",): 1}
    assert told("capacity_total_cpu_cores") == {("", "local"): 4}
    assert told("capacity_total_memory_bytes") == {("", "local"): 8 * 2**30}
    assert told("capacity_total_gpus") == {("", "local"): 1}


def test_what_mounts_of_a_month_were_estimated_to_cost(told: Told, db: Session) -> None:
    for run in ("r1", "r2", "old"):
        planned_mount(db, run)
    past = func.now() - func.make_interval(0, 0, 0, 31)
    db.execute(update(MountPlan).where(MountPlan.run_id == "old").values(created_at=past))
    db.commit()
    assert told("mounts_estimated_cost") == {("USD",): pytest.approx(2)}
    assert told("mounts_plans") == {("USD",): 2}


def test_decisions_by_kind_and_outcome(told: Told, db: Session) -> None:
    db.add(Dataset(name="pets", task_type="image_classification", owner="ada"))
    db.flush()
    gates = [("gate", "r1", True), ("gate", "r2", False), ("gate", "r3", False), ("promotion", "p", True)]
    for kind, run, accepted in [*gates, gates[-1]]:  # the last again, as a retry does
        record_decision(db, dataset_name="pets", kind=kind, run_id=run, accepted=accepted, reason="", owner="ada")
    db.commit()
    assert told("model_decisions") == {
        ("pets", "gate", "accepted"): 1,
        ("pets", "gate", "rejected"): 2,
        ("pets", "promotion", "accepted"): 1,
    }


@pytest.mark.parametrize("counts", ["confidence", "predicted"])
def test_of_drift_of_answers_the_worst_is_told(told: Told, db: Session, counts: str) -> None:
    """Two things are looked at in live answers, and one of them has shifted."""
    dataset = Dataset(name="pets", task_type="image_classification", owner="ada")
    db.add(dataset)
    db.flush()
    deploy(db, dataset_id=dataset.id, model_name="pets", alias="current", version=1, owner="ada")
    same = {"confidence": [0] * 8 + [30, 30], "predicted": [30, 30]}
    shifted = {**same, counts: [60] + [0] * (len(same[counts]) - 1)}
    hour = datetime(2026, 5, 2, tzinfo=UTC)
    windows = {(("pets", 1), hour + timedelta(hours=n)): Window(60, of) for n, of in enumerate((same, shifted))}
    write(db, {"pets": LiveRules(dataset.id, record=1.0)}, Noted(windows))
    db.commit()
    index, by_chance = psi(same[counts], shifted[counts])
    assert index > 0.25
    assert told("drift_psi") == {("pets", "live_answers"): pytest.approx(index)}
    assert told("drift_psi_by_chance") == {("pets", "live_answers"): pytest.approx(by_chance)}


def test_jobs_that_told_of_progress(told: Told, db: Session) -> None:
    for name in ("a", "b", "stopped"):
        with session() as opened:
            report(opened, TaskName("d", "r", name, -1), "ann", {"step": 1})
    past = func.now() - func.make_interval(0, 0, 0, 0, 0, 2)
    db.execute(update(JobProgress).where(JobProgress.task_id == "stopped").values(updated_at=past))
    db.commit()
    assert told("jobs_progressing") == {(): 2}
