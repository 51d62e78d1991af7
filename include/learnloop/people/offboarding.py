"""Somebody leaves: what they hold is given back, what is theirs becomes somebody else's, or the archive's.

Each step finds what there is still to do, so that doing it again after a crash, or for fun, ends in the same state.
Their user is Airflow's: deactivate it there first, or they log in again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from learnloop.audit import has_logged_in
from learnloop.database import (
    AnnotationTask,
    Dataset,
    DatasetBranch,
    DatasetVersion,
    Deployment,
    Event,
    IssuedToken,
    Lock,
    LockRequest,
    ModelLease,
    NotificationSettings,
    Pipeline,
    ScoringRun,
    Workspace,
)
from learnloop.datasets import branches, locks, reading, waiting
from learnloop.datasets.names import check_person
from learnloop.datasets.turns import take_turn
from learnloop.datasets.workspace_files import place_of, refuse_linked
from learnloop.datasets.workspace_removal import turn_of
from learnloop.errors import Conflict, InvalidInput
from learnloop.faultpoints import reach
from learnloop.jobs.namespace import KINDS, MOUNTS, WORKSPACES, namespace_of, user_folder
from learnloop.people.tokens import live
from learnloop.permissions import ARCHIVE, is_persons_name

SessionFactory = Callable[[], AbstractContextManager[Session]]
Row = TypeVar("Row", LockRequest, ModelLease, Dataset, Deployment)
Revoke = Callable[[IssuedToken], object]


@dataclass(frozen=True)
class Report:
    """What was found, and (unless it was a dry run) dealt with. ``to``: who has it now."""

    name: str
    to: str
    tokens: int
    annotation_leases: int
    write_locks: list[str]
    read_leases: int
    places_in_line: int
    branches: list[str]
    model_leases: int
    versions: list[str]
    datasets: list[str]
    deployments: list[str]
    workspaces: list[str]
    folders: list[str]


def successor(db: Session, name: str, *, to: str | None, archive: bool, by: str) -> str:
    """Who gets what is ``name``'s: ``to``, or ``archive:{name}``, as whom nobody can log in.

    Raises:
        InvalidInput: neither or both are asked for, or one of the names cannot be meant.
    """
    check_person(name)
    if name == by:
        raise InvalidInput(f"{by} cannot offboard themselves: another admin has to")
    if not is_persons_name(name) and not name.startswith(ARCHIVE):
        raise InvalidInput(f"{name} is a part of the platform, and does not leave")
    if (to is None) is not archive:
        raise InvalidInput(f"say what becomes of what is {name}'s: it goes to somebody, or into the archive")
    if to is None:
        if name.startswith(ARCHIVE):
            raise InvalidInput(f"{name} is the archive already: name who gets it")
        return f"{ARCHIVE}{name}"
    if to == name:
        raise InvalidInput(f"{name} cannot have their own things handed over to them")
    if not is_persons_name(to) or not has_logged_in(db, to):
        raise InvalidInput(f"{to!r} has never logged in here: what is {name}'s goes only to somebody known")
    return to


def find(db: Session, name: str, to: str, namespaces: Path) -> Report:
    """What there is to do."""
    return Report(
        name=name,
        to=to,
        tokens=len(live(db, name)),
        annotation_leases=len(list(db.scalars(_tasks(name)))),
        write_locks=sorted(db.get_one(Dataset, held.dataset_id).name for held in db.scalars(_locks(name, "write"))),
        read_leases=len(list(db.scalars(_locks(name, "read")))),
        places_in_line=len(list(db.scalars(_of(LockRequest, name)))),
        branches=sorted(branch.name for branch in db.scalars(_branches(name))),
        model_leases=len(list(db.scalars(_of(ModelLease, name)))),
        versions=sorted(version.name for version in db.scalars(_versions(name))),
        datasets=sorted(dataset.name for dataset in db.scalars(_of(Dataset, name))),
        deployments=sorted(f"{made.model_name}:{made.alias}" for made in db.scalars(_of(Deployment, name))),
        workspaces=sorted(workspace.name for workspace in db.scalars(_workspaces(name))),
        folders=[str(folder) for folder in _folders(namespaces, name)],
    )


def offboard(sessions: SessionFactory, name: str, to: str, *, namespaces: Path, revoke: Revoke) -> Report:
    """Do it. ``revoke`` ends a token for Airflow.

    Raises:
        Conflict: a folder of an earlier ``name`` is in the way, or a workspace is just being made or removed. What came
            before that is done, and is not done twice.
    """
    with sessions() as db:
        report = find(db, name, to, namespaces)
        for token in live(db, name):  # first: from here on they change nothing any more
            revoke(token)
            db.delete(token)
    reach("offboard.tokens-revoked")
    with sessions() as db:
        _give_back(db, name)
        _hand_over(db, name, to)
    reach("offboard.rows-handed-over")
    with sessions() as db:
        workspaces = [(found.id, found.name) for found in db.scalars(_workspaces(name))]
    for workspace_id, workspace in workspaces:
        _move_workspace(sessions, workspace_id, workspace, name, to, namespaces)
    reach("offboard.workspaces-moved")
    _move_folders(sessions, name, to, namespaces)
    return report


def _give_back(db: Session, name: str) -> None:
    for held in db.scalars(_locks(name, "write")).all():
        locks.release(db, db.get_one(Dataset, held.dataset_id), held.token)
    for lease in db.scalars(_locks(name, "read")).all():
        reading.release_read(db, lease.id)
    for place in db.scalars(_of(LockRequest, name)).all():
        waiting.withdraw(db, place.id)
    for branch in db.scalars(_branches(name)).all():
        branches.abandon(db, branch)
    for model_lease in db.scalars(_of(ModelLease, name)).all():
        db.delete(model_lease)
    for task in db.scalars(_tasks(name).with_for_update()).all():
        # A gold task is one person's, and of no use to another.
        task.state = "cancelled" if task.kind == "gold" else "open"
        task.claimed_by = task.lease_expires_at = None
    # What they were told, and where, is nobody else's: not a later person's of that name either.
    db.execute(delete(NotificationSettings).where(NotificationSettings.owner == name))
    db.execute(delete(Event).where(Event.owner == name))


def _hand_over(db: Session, name: str, to: str) -> None:
    db.execute(update(DatasetVersion).where(DatasetVersion.personal_to == name).values(personal_to=to))
    db.execute(update(Dataset).where(Dataset.owner == name).values(owner=to))
    db.execute(update(Pipeline).where(Pipeline.owner == name).values(owner=to))
    db.execute(update(Pipeline).where(Pipeline.personal_to == name).values(personal_to=to))
    db.execute(update(Deployment).where(Deployment.owner == name).values(owner=to, updated_at=Deployment.updated_at))


def _move_workspace(
    sessions: SessionFactory, workspace_id: int, workspace: str, name: str, to: str, namespaces: Path
) -> None:
    """Its files first, then its row: whoever finds them moved but the row as it was, finishes."""
    renamed = f"{workspace[:50]}-{workspace_id}"  # the new owner may have one of that name
    place = place_of(namespaces, to, renamed)
    with sessions() as turn:
        take_turn(turn, turn_of(name, workspace))
        with sessions() as db:
            row = db.get(Workspace, workspace_id, with_for_update={"of": Workspace})
            if row is None or row.owner != name or row.state != "ready":
                return
            old = Path(row.path)
            refuse_linked(old)
            if old.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                old.rename(place)
            reach("offboard.workspace-files-moved")
            row.owner, row.name, row.key, row.path = to, renamed, None, str(place)
            if to.startswith(ARCHIVE):
                row.expires_at = None  # an archive does not lapse


def _move_folders(sessions: SessionFactory, name: str, to: str, namespaces: Path) -> None:
    """What jobs of ``name`` left, into a folder of the other's namespace: a later user of that name finds nothing."""
    for folder in _folders(namespaces, name):
        kind = folder.parent.name
        target = namespace_of(namespaces, kind, to) / f"from--{user_folder(name)}"
        if target.exists():
            raise Conflict(f"{target} is there from an earlier {name}: move it away, and do this again")
        if (folder / WORKSPACES).is_dir():
            if any((folder / WORKSPACES).iterdir()):
                raise Conflict(f"{folder / WORKSPACES} holds what is being made or removed: do this again in a minute")
            (folder / WORKSPACES).rmdir()
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    old = f"{namespace_of(namespaces, 'results', name)}/"
    new = f"{namespace_of(namespaces, 'results', to) / f'from--{user_folder(name)}'}/"
    moved = func.concat(new, func.substr(ScoringRun.predictions, len(old) + 1))
    with sessions() as db:
        here = ScoringRun.predictions.startswith(old, autoescape=True)
        db.execute(update(ScoringRun).where(here).values(predictions=moved))


def _folders(namespaces: Path, name: str) -> list[Path]:
    """The folders of ``name`` that hold something: not the temporary one, and not a place of empty workspaces alone."""
    found = []
    for kind in (*KINDS, MOUNTS):
        folder = namespace_of(namespaces, kind, name)
        if kind == "tmp" or folder.is_symlink() or not folder.is_dir():
            continue
        held = [entry for entry in folder.iterdir() if entry.name != WORKSPACES]
        if held:
            found.append(folder)
    return found


def _of(table: type[Row], name: str) -> Select[Row]:
    return select(table).where(table.owner == name).order_by(table.id)


def _tasks(name: str) -> Select[AnnotationTask]:
    held = AnnotationTask.state == "claimed", AnnotationTask.claimed_by == name
    return select(AnnotationTask).where(*held).order_by(AnnotationTask.id)


def _locks(name: str, mode: str) -> Select[Lock]:
    return select(Lock).where(Lock.owner == name, Lock.mode == mode).order_by(Lock.dataset_id, Lock.id)


def _branches(name: str) -> Select[DatasetBranch]:
    wanted = DatasetBranch.owner == name, DatasetBranch.state == "open"
    return select(DatasetBranch).where(*wanted).order_by(DatasetBranch.dataset_id, DatasetBranch.id)


def _versions(name: str) -> Select[DatasetVersion]:
    return select(DatasetVersion).where(DatasetVersion.personal_to == name)


def _workspaces(name: str) -> Select[Workspace]:
    return select(Workspace).where(Workspace.owner == name, Workspace.state == "ready").order_by(Workspace.id)
