"""Sixteen writers at once, and a writer that is stopped for longer than its lock lasts."""

import multiprocessing
import os
import signal
from collections import Counter
from datetime import timedelta

import pytest
from dataset_folders import description
from sqlalchemy import func, select, update

from learnloop.database import DatasetBranch, DatasetVersion, Lock, LockRequest, engine, session
from learnloop.datasets import locks
from learnloop.datasets.branches import open_branch, unmerged_branches, write_or_branch
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import commit, create_dataset, get_dataset, get_version, head_of
from learnloop.datasets.waiting import request_write
from learnloop.errors import StaleToken

MINUTE = timedelta(minutes=1)
FORK = multiprocessing.get_context("fork")
WRITERS, TURNS = 16, 3


@pytest.fixture
def dataset(db):
    made = create_dataset(db, DatasetConfig.model_validate(description()), "ana")
    db.commit()
    advance(db, made)
    db.commit()
    return made


def put(db, dataset, parents, key, *, owner="ana", **options):
    return commit(
        db, dataset, "a" * 32 + ".dir", files=1, bytes=1, owner=owner, message="", provenance={"kind": "snapshot"},
        parents=parents, expected_head_id=dataset.head_id, token=options.pop("token", None), idempotency_key=key,
        **options,
    )  # fmt: skip


def advance(db, dataset, key=None, *merged):
    with locks.writing(db, dataset, "ana", "test") as lock:
        head = head_of(db, dataset)
        return put(db, dataset, [*([head] if head else []), *merged], key, token=lock.token)


def run(target, *arguments):
    """Run ``target(number, *arguments)`` in sixteen processes; all must end well."""
    processes = [FORK.Process(target=target, args=(number, *arguments)) for number in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0] * WRITERS


def main_line(db, dataset):
    line, version = [], head_of(db, dataset)
    while version is not None:
        line.append(version)
        version = version.parents[0] if version.parents else None
    return line


def lock_or_branch(number, url):
    """Write with the lock, or on a branch that is merged at once; each commit is tried twice, as after a lost answer."""
    owner = f"w{number}"
    for turn in range(TURNS):
        key = f"{number}-{turn}"
        with session(url) as db:
            got = write_or_branch(db, get_dataset(db, "lamps"), owner, MINUTE, key=key)
        for _ in range(2):
            with session(url) as db:
                dataset = get_dataset(db, "lamps")
                if isinstance(got, DatasetBranch):
                    branch = db.get_one(DatasetBranch, got.id)
                    base = db.get_one(DatasetVersion, branch.base_id)
                    put(db, dataset, [base], key, owner=owner, branch=branch)
                elif locks.holder(db, dataset) is not None:
                    put(db, dataset, [head_of(db, dataset)], key, owner=owner, token=got.token)
                    locks.release(db, dataset, got.token)
    engine(url).dispose()


def test_sixteen_writers_with_locks_and_branches_lose_nothing(db, dataset, database_url):
    run(lock_or_branch, database_url)
    db.expire_all()
    versions = list(db.scalars(select(DatasetVersion)))
    keys = Counter(version.idempotency_key for version in versions if version.idempotency_key)
    assert keys == Counter(f"{number}-{turn}" for number in range(WRITERS) for turn in range(TURNS))
    numbers = sorted((version.major, version.minor) for version in versions)
    assert numbers == [(1, minor) for minor in range(len(versions))]
    branched = list(db.scalars(select(DatasetBranch)))
    assert len(main_line(db, dataset)) + len(branched) == len(versions)
    assert {branch.state for branch in branched} <= {"committed"}
    # What is on a branch is merged once, and then nothing is left over.
    for branch in unmerged_branches(db, dataset):
        advance(db, dataset, None, branch.version)
    assert unmerged_branches(db, dataset) == []


def wait_in_line(number, url):
    for turn in range(TURNS):
        key, lock = f"{number}-{turn}", None
        while lock is None:
            with session(url) as db:
                got = request_write(db, get_dataset(db, "lamps"), f"w{number}", MINUTE, key=key)
                lock = got if isinstance(got, Lock) else None
        with session(url) as db:
            dataset = get_dataset(db, "lamps")
            put(db, dataset, [head_of(db, dataset)], key, token=lock.token)
            locks.release(db, dataset, lock.token)
    engine(url).dispose()


def test_sixteen_writers_in_line_write_one_after_the_other(db, dataset, database_url):
    run(wait_in_line, database_url)
    db.expire_all()
    line = main_line(db, dataset)
    assert [version.minor for version in reversed(line)] == list(range(WRITERS * TURNS + 1))
    assert db.scalar(select(func.count(Lock.id))) == db.scalar(select(func.count(LockRequest.id))) == 0


def stopped(url, what, told):
    """Take the right to write, be stopped, and try to use it when continued."""
    with session(url) as db:
        dataset = get_dataset(db, "lamps")
        base = head_of(db, dataset)
        if what == "lock":
            token, branch = locks.acquire_write(db, dataset, "ben", MINUTE).token, None
        else:
            token, branch = None, open_branch(db, dataset, "ben", base, MINUTE).id
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        with session(url) as db:
            mine = db.get_one(DatasetBranch, branch) if branch is not None else None
            put(db, get_dataset(db, "lamps"), [base], "stopped", owner="ben", token=token, branch=mine)
    except StaleToken as error:
        told.send(str(error))
    else:
        told.send("it was written")
    engine(url).dispose()


@pytest.mark.parametrize("what", ["lock", "branch"])
def test_a_writer_stopped_past_its_expiry_is_refused_when_it_continues(db, dataset, database_url, what):
    heard, told = FORK.Pipe(duplex=False)
    process = FORK.Process(target=stopped, args=(database_url, what, told))
    process.start()
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        db.execute(update(Lock if what == "lock" else DatasetBranch).values(expires_at=func.clock_timestamp()))
        db.commit()
        if what == "lock":
            taken = locks.acquire_write(db, dataset, "cy", MINUTE)
            put(db, dataset, [head_of(db, dataset)], "meanwhile", owner="cy", token=taken.token)
            db.commit()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert heard.poll(60)
    said = heard.recv()
    process.join(60)
    assert "nothing was written" in said
    assert ("cy holds it now" if what == "lock" else "expired at") in said
    assert db.scalar(select(DatasetVersion).where(DatasetVersion.idempotency_key == "stopped")) is None
    assert get_version(db, head_of(db, dataset).name).minor == (1 if what == "lock" else 0)
