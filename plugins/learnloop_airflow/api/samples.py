"""The samples of tasks: their bytes; and that nobody answers about one that is not there to be seen.

An answer is let through with one look at the object's file, and no statement: which object a task is about is known since
the task was handed out, and the file is as it was when its bytes were last found right. Where either is not so, it is
asked anew.
"""

from __future__ import annotations

import logging
from typing import Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import AnnotationTask
from learnloop.datasets.store import Store
from learnloop.datasets.verified import fact
from learnloop.errors import Conflict, Corrupted, NotFound
from learnloop.settings import settings

Key = TypeVar("Key")
Value = TypeVar("Value")

_MOST = 100_000
_log = logging.getLogger(__name__)
_objects: dict[int, str] = {}
"""Of tasks handed out by this process, by their ids: the object."""
_whole: dict[str, bytes] = {}
"""Of objects whose bytes this process has read, by their paths: what their files were like."""


class Shown(Protocol):
    """A task, or what was handed out of it."""

    @property
    def id(self) -> int: ...
    @property
    def object(self) -> str: ...


def remember(task: Shown) -> None:
    """Note which object a task is about that is being shown to somebody."""
    _keep(_objects, task.id, task.object)


def read(task: Shown) -> bytes:
    """The sample's bytes, checked against their checksum.

    Raises:
        NotFound: they are not in the store any more.
        Conflict: they are damaged.
    """
    remember(task)
    store = Store(settings().store)
    before = _now(store, task.object)
    try:
        data = store.read(task.object)
    except NotFound as error:
        _log.error("task %s: %s", task.id, error)
        raise NotFound(
            f"the sample of task {task.id} is not in the store any more: skip it as damaged; a reviewer can reject it"
        ) from error
    except Corrupted as error:
        _log.error("task %s: %s", task.id, error)
        raise Conflict(
            f"the stored sample of task {task.id} is damaged: skip it as damaged; a reviewer can reject it"
        ) from error
    _note(store, task.object, before)
    return data


def check(db: Session, task_id: int) -> None:
    """Look whether the sample of a task is there and whole, so that it could have been seen.

    Raises:
        Conflict: it is not. What is wrong with the task itself is not said here.
    """
    store = Store(settings().store)
    known = _objects.get(task_id)
    if known is not None and _fault(store, known) is None:
        return
    name = db.scalar(select(AnnotationTask.object).where(AnnotationTask.id == task_id)) if task_id < 2**31 else None
    if name is None:
        return
    _keep(_objects, task_id, name)
    fault = _fault(store, name)
    if fault is not None:
        _log.error("an answer to task %s was refused: %s", task_id, fault)
        raise Conflict(
            f"the sample of task {task_id} is gone or damaged, so nobody can have seen it: skip it as damaged;"
            " nothing was stored"
        ) from fault


def _fault(store: Store, name: str) -> NotFound | Corrupted | None:
    """What is wrong with an object. It is read to its end, unless its file is as it was when it was read last."""
    before = _now(store, name)
    if before is not None and _whole.get(str(store.path_of(name))) == before:
        return None
    try:
        store.verify(name)
    except (NotFound, Corrupted) as error:
        return error
    _note(store, name, before)
    return None


def _now(store: Store, name: str) -> bytes | None:
    """What the object's file is like; None when there is none."""
    try:
        return fact(name, store.path_of(name).stat())
    except FileNotFoundError:
        return None


def _note(store: Store, name: str, before: bytes | None) -> None:
    """The object was whole when its file was as it was ``before`` it was read."""
    if before is not None:
        _keep(_whole, str(store.path_of(name)), before)


def _keep(kept: dict[Key, Value], key: Key, value: Value) -> None:
    if len(kept) >= _MOST:
        kept.clear()  # what is needed is asked anew
    kept[key] = value
