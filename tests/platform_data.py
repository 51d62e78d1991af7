"""A platform with something of everything, for tests that walk all routes; and the same in large."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from dataset_folders import write_dataset
from merges import changed
from sqlalchemy import func
from sqlalchemy.orm import Session

from learnloop.audit import Entry
from learnloop.database import (
    Annotation,
    AnnotationTask,
    Batch,
    Dataset,
    DatasetVersion,
    DatasetVersionParent,
    Decision,
    Deployment,
    Lock,
    LockRequest,
    MergeRequest,
    PipelineVersion,
    Review,
    Round,
    StructureSearch,
    Workspace,
)
from learnloop.datasets.branches import open_branch
from learnloop.datasets.merge.requests import open_merge
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.pipelines.checking import limits_of
from learnloop.pipelines.stored import apply, check_text
from learnloop.settings import settings

USER = "ada"
"""Whose the personal things are."""

DATASET = "lamps"
PIPELINE = "lamp-training"
MODEL_GUESS = {
    "label": "dark",
    "confidence": 0.6,
    "uncertainty": 0.8,
    "probabilities": {"dark": 0.6, "bright": 0.4},
    "model_version": 1,
}


def populate(db: Session, home: Path, store: Path) -> Dataset:
    """Two shared versions, a personal one with an open merge, and a row or two of all else. Commits."""
    where = Store(store)
    folder = write_dataset(home / DATASET, samples=6)
    first = snapshot(db, where, folder, owner=USER, message="the first")
    changed(db, where, first, records={"s001": {"label": "dark"}})
    theirs = changed(db, where, first, records={"s001": {"label": None}}, user=USER)
    open_merge(db, where, theirs, owner=USER)
    changed(db, where, first, records={"s002": {"label": "bright"}}, user=USER)
    dataset = first.dataset
    apply_pipeline(db, PIPELINE)
    add_rows(db, where, dataset, first, 3)
    db.commit()
    Entry(resource="/x", address="127.0.0.1", request_id="r", action="login", user=USER, status=200).write()
    return dataset


def apply_pipeline(db: Session, name: str, **declared: Any) -> PipelineVersion:
    """A pipeline of one stage."""
    declaration = {"name": name, "stages": {"train": {"module": "learnloop.training.train"}}, **declared}
    limits = limits_of(settings())
    checked = check_text(db, json.dumps(declaration), user=USER, limits=limits, missing=lambda wanted: None)
    return apply(db, checked, user=USER)


def add_rows(db: Session, store: Store, dataset: Dataset, version: DatasetVersion, count: int) -> None:
    """``count`` more rows of each kind that a route lists, made directly: the content is ``version``'s."""
    name = store.add_bytes(b"\x89PNG not really")
    for n in range(count):
        apply_pipeline(db, f"other-{db.query(PipelineVersion).count()}", extends=PIPELINE)
        apply_pipeline(db, PIPELINE, description=f"version {db.query(PipelineVersion).count()}")
        open_branch(db, dataset, USER, version, timedelta(days=1), f"try {n}")
    start = db.query(DatasetVersion).count() + 100
    batch = Batch(dataset_id=dataset.id, name=f"b{start}", tree=f"{start:032x}.dir", samples=count, owner=USER)
    db.add(batch)
    db.flush()
    for n in range(start, start + count):
        made = DatasetVersion(
            dataset_id=dataset.id,
            name=f"{DATASET}_v1.{n}",
            major=1,
            minor=n,
            tree=version.tree,
            files=version.files,
            bytes=version.bytes,
            provenance={"kind": "snapshot"},
            owner=USER,
        )
        other = Dataset(name=f"other{n}", task_type="image_classification", loop={"classes": ["a", "b"]}, owner=USER)
        db.add_all([made, other])
        db.flush()
        db.add(DatasetVersionParent(version_id=made.id, parent_id=version.id))
        other.head = made
        personal = DatasetVersion(
            dataset_id=dataset.id,
            name=f"{DATASET}_v1.{n}_{USER}_20260101000000",
            major=1,
            minor=n,
            personal_to=USER,
            tree=version.tree,
            files=version.files,
            bytes=version.bytes,
            provenance={},
            owner=USER,
        )
        db.add(personal)
        db.flush()
        db.add_all(
            [
                MergeRequest(dataset_id=dataset.id, base=version, ours=made, theirs=personal, owner=USER),
                Batch(dataset_id=dataset.id, name=f"c{n}", tree=f"{n:031x}c.dir", samples=1, owner=USER),
                Round(
                    dataset_id=dataset.id,
                    number=n,
                    state="rejected",
                    base_version=version,
                    version=made,
                    metrics={"accuracy": 0.5},
                    owner=USER,
                ),
                Deployment(dataset_id=dataset.id, model_name=DATASET, alias=f"alias{n}", model_version=1, owner=USER),
                StructureSearch(
                    dataset_id=dataset.id, run_id=f"s{n}", state="not_needed", reason="nothing new", owner=USER
                ),
                Decision(
                    dataset_id=dataset.id, kind="gate", run_id=f"r{n}", accepted=True, reason="better", owner=USER
                ),
                Lock(
                    dataset_id=dataset.id,
                    mode="read",
                    version_id=version.id,
                    token=0,
                    expires_at=func.now() + timedelta(hours=1),
                    purpose="reading",
                    owner=USER,
                ),
                LockRequest(
                    dataset_id=dataset.id,
                    owner=f"{USER}{n}",
                    key=f"k{n}",
                    priority=0,
                    purpose="waits",
                    expires_at=func.now() + timedelta(hours=1),
                ),
                Workspace(
                    dataset_id=dataset.id,
                    base_id=version.id,
                    name=f"mine{n}",
                    path=f"/nowhere/mine{n}",
                    writable=True,
                    bytes=1,
                    state="ready",
                    owner=USER,
                ),
            ]
        )
        task = AnnotationTask(
            dataset_id=dataset.id,
            batch_id=batch.id,
            sample_id=f"new{n}",
            path=f"{n}.png",
            object=name,
            prediction=MODEL_GUESS,
            reason={"strategy": "random", "rank": n},
            owner=USER,
        )
        db.add(task)
        db.flush()
        if n % 2:
            task.state, task.claimed_by, task.lease_expires_at = "claimed", USER, func.now() + timedelta(hours=1)
        db.add(Annotation(dataset_id=dataset.id, task_id=task.id, label="dark", owner="bo"))
        if n % 2 == 0:
            db.add(Review(dataset_id=dataset.id, task_id=task.id, kind="requested", reason="is it?", owner=USER))
    db.flush()


def register_model(models: Path, key: str) -> int:
    """One more version of a model that is a folder and no more: nobody loads it here."""
    from learnloop.models.registry import register

    folder = models.parent / "trained" / key
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    tags = {"dataset_version": f"{DATASET}_v1.0"}
    return register(
        DATASET,
        folder,
        models_root=models,
        tags=tags,
        metrics={"accuracy": 0.5},
        idempotency_key=key,
        files={"report.html": "<!doctype html><title>A model</title>"},
    )
