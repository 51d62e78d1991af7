"""A store, and a committed, preprocessed dataset with a batch, for tests of the data layer."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from dataset_folders import write_dataset, write_images
from pool_rows import next_number

from learnloop.database import Annotation, AnnotationTask, ConfirmedAnnotation, session
from learnloop.datasets import workspaces
from learnloop.datasets.batch import register_batch, sample_files
from learnloop.datasets.preprocess import preprocess
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    return write_dataset(tmp_path / "lamps", samples=20)


@pytest.fixture
def head(db, store, folder):
    """The preprocessed head of a dataset with 20 labelled samples."""
    version = preprocess(db, store, snapshot(db, store, folder, owner="ana"), owner="ana")
    db.commit()
    return version


@pytest.fixture
def batch(db, store, head, tmp_path):
    """Ten unlabelled samples, ``n0`` to ``n9``."""
    write_images(tmp_path / "arrived", [f"n{number}" for number in range(10)], range(100, 110))
    registered = register_batch(db, store, head.dataset, tmp_path / "arrived", owner="ana")
    db.commit()
    return registered


@pytest.fixture
def confirm(db, store):
    """Put a label into the confirmed pool, as a person's answer to a task about a batch's sample."""
    people = (f"person{number}" for number in itertools.count())

    def put(batch, sample, label):
        path, md5 = sample_files(store, batch.tree).get(sample, ("gone.png", "0" * 32))
        # Cancelled, so that one sample can be asked about twice.
        task = AnnotationTask(
            dataset_id=batch.dataset_id, batch_id=batch.id, sample_id=sample, path=path, object=md5,
            state="cancelled", owner="service:learnloop",
        )  # fmt: skip
        db.add(task)
        db.flush()
        answer = Annotation(
            dataset_id=batch.dataset_id, task_id=task.id, label=label, outcome="confirmed", owner=next(people)
        )
        db.add(answer)
        db.flush()
        row = ConfirmedAnnotation(
            dataset_id=batch.dataset_id, batch_id=batch.id, annotation_id=answer.id, sample_id=sample, label=label,
            confirmed_by="gold passed", owner="service:learnloop", number=next_number(batch.dataset_id),
        )  # fmt: skip
        db.add(row)
        db.commit()
        return row

    return put


@pytest.fixture
def sessions(database_url):
    return partial(session, database_url)


@pytest.fixture
def make(sessions, store, head, tmp_path):
    """Make a workspace of the head."""

    def made(owner="bo", name="mine", **options):
        options = {"quota": workspaces.Quota(5, 2**30), "namespaces": tmp_path / "namespaces"} | options
        return workspaces.create(sessions, store, head.name, owner=owner, name=name, **options)

    return made
