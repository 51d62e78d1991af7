"""Datasets and their versions in the database. A commit is one step that either happens or does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from sqlalchemy import Select, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetBranch, DatasetVersion, DatasetVersionParent, DeletedVersion
from learnloop.datasets import branches, locks
from learnloop.datasets.names import VersionName, check_dataset_name, check_person
from learnloop.datasets.numbering import Bump, bump_between, next_name, personal_name
from learnloop.datasets.schema import DatasetConfig
from learnloop.errors import Conflict, InvalidInput, NotFound
from learnloop.faultpoints import reach

_TREE_HASH = re.compile(r"[0-9a-f]{32}\.dir")
_DATASET = select(Dataset).where(Dataset.name == bindparam("name"))
_DATASET_ID = select(Dataset.id).where(Dataset.name == bindparam("name"))


def create_dataset(session: Session, config: DatasetConfig, owner: str) -> Dataset:
    """Create a dataset without versions; the same owner's one of that name is returned as it is.

    Raises:
        Conflict: somebody else's dataset has the name.
    """
    check_person(owner)
    dataset = ensure_dataset(session, config, owner)
    if dataset.owner != owner:
        raise Conflict(f"dataset {config.name} exists and belongs to {dataset.owner}: choose another name")
    return dataset


def ensure_dataset(session: Session, config: DatasetConfig, owner: str) -> Dataset:
    """The dataset called ``config.name``, created for ``owner`` when there is none.

    Raises:
        InvalidInput: the name is a reserved word.
    """
    check_dataset_name(config.name)
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
    found = session.scalar(_DATASET, {"name": name})
    if found is None:
        raise no_dataset(name)
    return found


def dataset_id(session: Session, name: str) -> int:
    """The id of the dataset called so; raises NotFound."""
    found = session.scalar(_DATASET_ID, {"name": name})
    if found is None:
        raise no_dataset(name)
    return found


def no_dataset(name: str) -> NotFound:
    return NotFound(f"there is no dataset {name!r}")


def get_version(session: Session, name: str) -> DatasetVersion:
    """Raises NotFound, which says so when there was such a version and it was deleted."""
    found = session.scalar(select(DatasetVersion).where(DatasetVersion.name == name))
    if found is not None:
        return found
    deleted = session.scalar(select(DeletedVersion).where(DeletedVersion.name == name))
    if deleted is not None and deleted.personal_to is None:
        raise NotFound(f"dataset version {name!r} was deleted by {deleted.owner} on {deleted.created_at:%Y-%m-%d}")
    raise NotFound(f"there is no dataset version {name!r}")


def select_versions(
    dataset: Dataset,
    *,
    user: str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    personal: bool | None = None,
) -> Select[DatasetVersion]:
    """The statement for shared versions and those personal to ``user``, without an order: for lists by the page.

    Args:
        owner: only what they committed.
        kind: only what was made so: the ``kind`` of its provenance (``snapshot``, ``merge``, ``revert``, ...).
        personal: True for personal versions only, False for shared ones.
    """
    query = select(DatasetVersion).where(
        DatasetVersion.dataset_id == dataset.id,
        or_(DatasetVersion.personal_to.is_(None), DatasetVersion.personal_to == user),
    )
    if owner is not None:
        query = query.where(DatasetVersion.owner == owner)
    if kind is not None:
        query = query.where(DatasetVersion.provenance["kind"].as_string() == kind)
    if personal is not None:
        query = query.where(
            DatasetVersion.personal_to.is_not(None) if personal else DatasetVersion.personal_to.is_(None)
        )
    return query


def list_versions(
    session: Session,
    dataset: Dataset,
    *,
    user: str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    personal: bool | None = None,
    before: DatasetVersion | None = None,
    limit: int | None = None,
) -> list[DatasetVersion]:
    """What ``select_versions`` selects, newest first: at most ``limit``, and older than ``before``."""
    query = select_versions(dataset, user=user, owner=owner, kind=kind, personal=personal)
    if before is not None:
        query = query.where(DatasetVersion.id < before.id)
    return list(session.scalars(query.order_by(DatasetVersion.id.desc()).limit(limit)))


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


class Stored(TypedDict):
    """What a commit stores of a version as it is given."""

    files: int
    bytes: int
    owner: str
    message: str
    provenance: Mapping[str, Any]


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
    bump: Bump = "minor",
    personal_to: str | None = None,
    branch: DatasetBranch | None = None,
    idempotency_key: str | None = None,
) -> DatasetVersion:
    """Append a version, and make it the head unless it is personal or on a branch. The tree must be in the store.

    Those two need no lock (``token`` may be None), and the head may have moved. A personal version is numbered
    after ``parents[0]``. A branch's version is shared, has the number that the branch reserved, and continues
    ``branch.base``: a later merge brings it into the head's line.

    Raises:
        StaleToken: the write lock of ``token`` is no longer held, or the branch is no longer open.
        Conflict: the head is not ``expected_head_id`` any more, or a parent was deleted.
        InvalidInput: arguments that do not fit together.
    """
    if not _TREE_HASH.fullmatch(tree_hash):
        raise InvalidInput(f"{tree_hash!r} is not the hash of a tree: 32 hex digits and .dir")
    if any(parent.dataset_id != dataset.id for parent in parents):
        raise InvalidInput(f"a parent of a version of {dataset.name} belongs to another dataset")
    locks.hold_row(session, dataset)
    if (earlier := committed(session, idempotency_key)) is not None:
        return _same_dataset(earlier, dataset)
    _check_parents(session, dataset, parents)
    if personal_to is not None:
        if branch is not None:
            raise InvalidInput("a version is personal or on a branch, not both")
        name = personal_name(session, dataset, personal_to, parents)
    elif branch is not None:
        branches.check_open(session, dataset, branch, owner)
        if next((parent.id for parent in parents), None) != branch.base_id:
            raise InvalidInput(f"the first parent of branch {branch.name} must be the version it came from")
        name = VersionName(dataset.name, branch.major, branch.minor)
    else:
        if token is None:
            raise InvalidInput("a shared version needs the token of a write lock")
        locks.check(session, dataset, token)
        _check_head(session, dataset, expected_head_id)
        if next((parent.id for parent in parents), None) != expected_head_id:
            raise InvalidInput(f"the first parent of a shared version of {dataset.name} must be the head it continues")
        name = next_name(session, dataset, bump)
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
    session.flush()
    reach("commit.version-written")
    if branch is not None:
        branch.state, branch.version = "committed", version
    elif personal_to is None:
        dataset.head = version
    session.flush()
    reach("commit.head-moved")
    return version


def commit_head(
    session: Session,
    dataset: Dataset,
    tree_hash: str,
    *,
    config: DatasetConfig,
    previous: DatasetConfig | None,
    parents: Sequence[DatasetVersion],
    token: int,
    idempotency_key: str | None,
    **stored: Unpack[Stored],
) -> DatasetVersion:
    """Commit a tree as the head, and make the dataset's description and loop those of its ``dataset.yaml``.

    The loop section is left alone while the file's own is as before: what was set elsewhere since is kept.

    Args:
        config: the ``dataset.yaml`` of the tree.
        previous: that of the head it continues, which is ``parents[0]``; None when there is none.

    Raises as ``commit``.
    """
    version = commit(
        session,
        dataset,
        tree_hash,
        parents=parents,
        expected_head_id=parents[0].id if parents else None,
        token=token,
        bump=bump_between(previous, config),
        idempotency_key=idempotency_key,
        **stored,
    )
    if dataset.head_id == version.id:  # not a version that an earlier try made, and others have continued
        dataset.description = config.description
        if previous is None or previous.stored_loop() != config.stored_loop():
            dataset.loop = config.stored_loop()
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


def _check_parents(session: Session, dataset: Dataset, parents: Sequence[DatasetVersion]) -> None:
    # Deleting holds the dataset's row too: what is there now is there when this commits.
    ids = [parent.id for parent in parents]
    there = set(session.scalars(select(DatasetVersion.id).where(DatasetVersion.id.in_(ids)))) if ids else set()
    if gone := [parent.name for parent in parents if parent.id not in there]:
        raise Conflict(f"{', '.join(gone)} of dataset {dataset.name} was deleted: nothing was written")
