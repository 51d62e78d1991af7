"""Datasets and their versions in the database. A commit is one step that either happens or does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetVersion, DatasetVersionParent
from learnloop.datasets import locks
from learnloop.datasets.names import VersionName, safe_user
from learnloop.datasets.schema import DatasetConfig
from learnloop.errors import Conflict, InvalidInput, NotFound

_TREE_HASH = re.compile(r"[0-9a-f]{32}\.dir")


def create_dataset(session: Session, config: DatasetConfig, owner: str) -> Dataset:
    """Create a dataset without versions; the same owner's one of that name is returned as it is.

    Raises:
        Conflict: somebody else's dataset has the name.
    """
    dataset = ensure_dataset(session, config, owner)
    if dataset.owner != owner:
        raise Conflict(f"dataset {config.name} exists and belongs to {dataset.owner}: choose another name")
    return dataset


def ensure_dataset(session: Session, config: DatasetConfig, owner: str) -> Dataset:
    """The dataset called ``config.name``, created for ``owner`` when there is none."""
    session.execute(
        insert(Dataset)
        .values(
            name=config.name,
            task_type=config.task_type,
            description=config.description,
            loop=config.stored_loop(),
            owner=owner,
        )
        .on_conflict_do_nothing(index_elements=[Dataset.name])
    )
    return get_dataset(session, config.name)


def get_dataset(session: Session, name: str) -> Dataset:
    """Raises NotFound."""
    found = session.scalar(select(Dataset).where(Dataset.name == name))
    if found is None:
        raise NotFound(f"there is no dataset {name!r}")
    return found


def get_version(session: Session, name: str) -> DatasetVersion:
    """Raises NotFound."""
    found = session.scalar(select(DatasetVersion).where(DatasetVersion.name == name))
    if found is None:
        raise NotFound(f"there is no dataset version {name!r}")
    return found


def list_versions(session: Session, dataset: Dataset, *, user: str | None = None) -> list[DatasetVersion]:
    """Shared versions, and those personal to ``user``, newest first."""
    visible = or_(DatasetVersion.personal_to.is_(None), DatasetVersion.personal_to == user)
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id, visible)
    return list(session.scalars(query.order_by(DatasetVersion.id.desc())))


def head_of(session: Session, dataset: Dataset) -> DatasetVersion | None:
    """The newest shared version as the database has it now."""
    head_id = session.scalar(select(Dataset.head_id).where(Dataset.id == dataset.id))
    return None if head_id is None else session.get_one(DatasetVersion, head_id)


def run_key(kind: str, dataset: str, run_id: str) -> str | None:
    """The idempotency key of one kind of commit by one run; None without a run id."""
    if not run_id:
        return None
    key = f"{kind}:{dataset}:{run_id}"
    # Run ids may be as wide as the column.
    return key if len(key) <= 250 else f"{kind}:{hashlib.sha256(key.encode()).hexdigest()}"


def committed(session: Session, idempotency_key: str | None) -> DatasetVersion | None:
    """The version that an earlier commit with this key made."""
    if idempotency_key is None:
        return None
    return session.scalar(select(DatasetVersion).where(DatasetVersion.idempotency_key == idempotency_key))


def commit(
    session: Session,
    dataset: Dataset,
    tree_hash: str,
    *,
    files: int,
    bytes: int,
    owner: str,
    message: str,
    provenance: Mapping[str, Any],
    parents: Sequence[DatasetVersion],
    expected_head_id: int | None,
    token: int | None,
    bump: Literal["minor", "major"] = "minor",
    personal_to: str | None = None,
    idempotency_key: str | None = None,
) -> DatasetVersion:
    """Append a version, and make a shared one the head. The tree must be in the store already.

    A personal version touches nothing shared: it needs no lock (``token`` may be None), the head may have
    moved, and it is numbered after ``parents[0]``.

    Raises:
        StaleToken: the write lock of ``token`` is no longer held.
        Conflict: the head is not ``expected_head_id`` any more.
        InvalidInput: arguments that do not fit together.
    """
    if not _TREE_HASH.fullmatch(tree_hash):
        raise InvalidInput(f"{tree_hash!r} is not the hash of a tree: 32 hex digits and .dir")
    if any(parent.dataset_id != dataset.id for parent in parents):
        raise InvalidInput(f"a parent of a version of {dataset.name} belongs to another dataset")
    locks.hold_row(session, dataset)
    if (earlier := committed(session, idempotency_key)) is not None:
        return _same_dataset(earlier, dataset)
    if personal_to is not None:
        name = _personal_name(session, dataset, personal_to, parents)
    else:
        if token is None:
            raise InvalidInput("a shared version needs the token of a write lock")
        locks.check(session, dataset, token)
        _check_head(session, dataset, expected_head_id)
        if next((parent.id for parent in parents), None) != expected_head_id:
            raise InvalidInput(f"the first parent of a shared version of {dataset.name} must be the head it continues")
        name = _next_name(session, dataset, bump)
    version = DatasetVersion(
        dataset_id=dataset.id,
        name=str(name),
        major=name.major,
        minor=name.minor,
        personal_to=personal_to,
        tree=tree_hash,
        files=files,
        bytes=bytes,
        message=message,
        provenance=dict(provenance),
        idempotency_key=idempotency_key,
        owner=owner,
    )
    session.add(version)
    session.flush()
    ids = dict.fromkeys(parent.id for parent in parents)
    session.add_all(
        DatasetVersionParent(version_id=version.id, parent_id=parent_id, position=position)
        for position, parent_id in enumerate(ids)
    )
    if personal_to is None:
        dataset.head = version
    session.flush()
    return version


def _same_dataset(version: DatasetVersion, dataset: Dataset) -> DatasetVersion:
    if version.dataset_id != dataset.id:
        raise Conflict(f"idempotency key {version.idempotency_key!r} was used for {version.name} of another dataset")
    return version


def _check_head(session: Session, dataset: Dataset, expected_head_id: int | None) -> None:
    if dataset.head_id == expected_head_id:
        return
    expected = session.get(DatasetVersion, expected_head_id) if expected_head_id is not None else None
    head = session.get(DatasetVersion, dataset.head_id) if dataset.head_id is not None else None
    raise Conflict(
        f"the head of dataset {dataset.name} is {head.name if head else 'none'},"
        f" not {expected.name if expected else 'none'} from which this started:"
        " nothing was written; start again from the head"
    )


def _next_name(session: Session, dataset: Dataset, bump: Literal["minor", "major"]) -> VersionName:
    last = session.execute(
        select(DatasetVersion.major, DatasetVersion.minor)
        .where(DatasetVersion.dataset_id == dataset.id, DatasetVersion.personal_to.is_(None))
        .order_by(DatasetVersion.major.desc(), DatasetVersion.minor.desc())
        .limit(1)
    ).first()
    if last is None:
        return VersionName(dataset.name, 1, 0)
    if bump == "major":
        return VersionName(dataset.name, last.major + 1, 0)
    return VersionName(dataset.name, last.major, last.minor + 1)


def _personal_name(session: Session, dataset: Dataset, user: str, parents: Sequence[DatasetVersion]) -> VersionName:
    if not parents:
        raise InvalidInput("a personal version needs the version it came from as its first parent")
    source, now, copy = parents[0], locks.clock(session), 1
    while True:
        name = VersionName(dataset.name, source.major, source.minor, safe_user(user), now, copy)
        # The dataset's row is held, so nobody takes the name between this look and the insert.
        if session.scalar(select(DatasetVersion.id).where(DatasetVersion.name == str(name))) is None:
            return name
        copy += 1
