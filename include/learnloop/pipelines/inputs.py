"""What a stage reads from outside its pipeline: found, and fixed to something that never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from learnloop.database import Batch, Dataset
from learnloop.datasets.allowed import allowed_folder, refuse_links_out
from learnloop.datasets.history import visible_version
from learnloop.datasets.versions import get_dataset
from learnloop.errors import InvalidInput, LearnloopError, NotFound
from learnloop.pipelines.graph import StageInput
from learnloop.settings import settings

Pinned = dict[str, Any]


def pin(session: Session, wanted: StageInput, user: str) -> Pinned:
    """``wanted`` as a `JobSpec` input (``kind``, ``source``), with ``name``, what people call it, as it is now.

    A dataset has its ``version_id`` too.

    Raises:
        NotFound, InvalidInput, PermissionDenied: there is no such thing for ``user``.
    """
    return _PIN[wanted.kind](session, wanted.source, user)


def missing(session: Session, user: str) -> Callable[[StageInput], str | None]:
    """For `checking.check`: what is wrong with an input, for ``user``."""

    def wrong(wanted: StageInput) -> str | None:
        try:
            pin(session, wanted, user)
        except LearnloopError as error:
            return str(error)
        return None

    return wrong


def _dataset(session: Session, source: str, user: str) -> Pinned:
    if "_" in source:
        version = visible_version(session, source, user)
    else:
        dataset = get_dataset(session, source)
        if dataset.head is None:
            raise NotFound(f"dataset {source!r} has no version yet")
        version = dataset.head
    return {"kind": "dataset", "source": version.tree, "name": version.name, "version_id": version.id}


def _batch(session: Session, source: str, user: str) -> Pinned:
    dataset, _, name = source.partition("/")
    tree = session.scalar(select(Batch.tree).join(Dataset).where(Dataset.name == dataset, Batch.name == name))
    if tree is None:
        raise NotFound(f"there is no batch {source!r}; it is named DATASET/BATCH")
    return {"kind": "batch", "source": tree, "name": source}


def _model(session: Session, source: str, user: str) -> Pinned:
    from learnloop.models import registry
    from learnloop.models.deployment import served_version

    name, _, text = source.rpartition("/")
    if name:
        if not text.isdecimal() or not 0 < int(text[:10]) < 2**31:
            raise InvalidInput(f"{source!r} must be NAME/VERSION, such as animals/3, or NAME:ALIAS")
        version = registry.get_version(name, int(text)).version
    else:
        name, _, alias = source.partition(":")
        found = served_version(session, name, alias)
        if found is None:
            raise NotFound(f"no model is deployed as {source!r}; name one as NAME/VERSION or NAME:ALIAS")
        version = found
    return {"kind": "model", "source": f"{name}/{version}", "name": f"{name}/{version}"}


def _folder(session: Session, source: str, user: str) -> Pinned:
    where = settings().whose(user)
    folder = allowed_folder(source, **where)
    if not folder.is_dir():
        raise NotFound(f"there is no folder {source}")
    refuse_links_out(folder, **where)
    return {"kind": "url", "source": folder.as_uri(), "name": str(folder)}


def _stage(session: Session, source: str, user: str) -> Pinned:
    raise ValueError(f"{source!r} is made by a stage: nothing of it can be fixed before")


_PIN = {"dataset": _dataset, "batch": _batch, "model": _model, "folder": _folder, "stage": _stage}
