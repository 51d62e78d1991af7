"""Going back: a new version with an old tree."""

from __future__ import annotations

from sqlalchemy.orm import Session

from learnloop.database import Dataset, DatasetVersion
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.numbering import bump_between
from learnloop.datasets.roots import hold
from learnloop.datasets.store import Store
from learnloop.datasets.tiers import ensure_hot
from learnloop.datasets.versions import commit, committed, get_version, run_key
from learnloop.errors import NotFound


def revert(
    session: Session, store: Store, version_name: str, *, owner: str, message: str = "", run_id: str = ""
) -> DatasetVersion:
    """Make the content of an earlier version the dataset's newest; nothing of what came between is lost.

    The head is returned when it has that content already. A change of classes or of the image format against the
    head raises the major number.

    Args:
        version_name: a shared version of any line, or one personal to ``owner``.
        run_id: a second call with the same one returns the version that the first one made.

    Raises:
        NotFound: there is no such version for ``owner``, or its tree is not in the store.
        Corrupted: its tree is damaged.
        Locked: somebody holds the dataset's write lock.
    """
    old = get_version(session, version_name)
    if old.personal_to not in (None, owner):
        raise NotFound(f"there is no dataset version {version_name!r}")
    dataset = session.get_one(Dataset, old.dataset_id)
    key = run_key("revert", dataset.name, run_id)
    if (earlier := committed(session, key)) is not None:
        return earlier
    config = config_of(store, old)
    ensure_hot(session, store, old)
    hold(session, store, old.tree)
    with writing(session, dataset, owner, f"revert to {old.name}") as lock:
        head = None if dataset.head_id is None else session.get_one(DatasetVersion, dataset.head_id)
        if head is not None and head.tree == old.tree:
            return head
        # What later steps need to know of the content, such as the recipe of its features, holds for it again.
        provenance = {name: value for name, value in old.provenance.items() if name not in ("kind", "run_id")}
        version = commit(
            session,
            dataset,
            old.tree,
            files=old.files,
            bytes=old.bytes,
            owner=owner,
            message=message or f"back to {old.name}",
            provenance={**provenance, "kind": "revert", "run_id": run_id, "reverts_to": old.name},
            parents=[] if head is None else [head],
            expected_head_id=dataset.head_id,
            token=lock.token,
            bump=bump_between(None if head is None else config_of(store, head), config),
            idempotency_key=key,
        )
        dataset.description, dataset.loop = config.description, config.stored_loop()
        session.flush()
        return version
