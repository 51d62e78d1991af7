import multiprocessing
import os
import signal
from datetime import timedelta

import pytest
from dataset_folders import description
from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, Lock, engine, session
from learnloop.datasets import locks
from learnloop.datasets.names import parse_name
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import (
    commit,
    commit_head,
    create_dataset,
    get_dataset,
    get_version,
    head_of,
    list_versions,
    run_key,
)
from learnloop.errors import Conflict, InvalidInput, NotFound, StaleToken

CONFIG = DatasetConfig.model_validate(description())
MINUTE = timedelta(minutes=1)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def dataset(db):
    made = create_dataset(db, CONFIG, "ana")
    db.commit()
    return made


def append(db, dataset, tree="a", *, token=None, expected="head", parents=None, **options):
    """Commit a version with a made-up tree, under a lock of its own unless given a token."""

    def write(token):
        head = head_of(db, dataset)
        return commit(
            db,
            dataset,
            f"{tree * 32}.dir",
            files=1,
            bytes=2,
            owner="ana",
            message="",
            provenance={"kind": "snapshot"},
            parents=parents or ([head] if head else []),
            expected_head_id=dataset.head_id if expected == "head" else expected,
            token=token,
            **options,
        )

    if token is not None:
        return write(token)
    with locks.writing(db, dataset, "ana", "test") as lock:
        return write(lock.token)


def describe(db, dataset, tree, config, previous, key=None):
    with locks.writing(db, dataset, "ana", "test") as lock:
        head = head_of(db, dataset)
        return commit_head(
            db, dataset, f"{tree * 32}.dir", config=config, previous=previous, parents=[head] if head else [],
            token=lock.token, idempotency_key=key, files=1, bytes=2, owner="ana", message="", provenance={},
        )  # fmt: skip


def test_a_head_brings_its_description_and_a_changed_loop(db, dataset):
    second = DatasetConfig.model_validate(description(description="second"))
    third = DatasetConfig.model_validate(description(description="third", classes=["dark", "bright", "broken"]))
    first = describe(db, dataset, "a", CONFIG, None, "once")
    dataset.loop = {**dataset.loop, "query": {"budget": 7}}  # set by somebody, beside the file
    assert describe(db, dataset, "b", second, CONFIG).name == "lamps_v1.1"
    assert (dataset.description, dataset.loop["query"]["budget"]) == ("second", 7)
    assert describe(db, dataset, "c", third, second).name == "lamps_v2.0"
    assert dataset.loop == third.stored_loop()
    # A late retry of the first finds what it made, and puts no old description back.
    assert describe(db, dataset, "a", CONFIG, None, "once") is first
    assert (dataset.description, dataset.loop) == ("third", third.stored_loop())


def test_creating_a_dataset_twice_gives_the_first(db, dataset):
    assert create_dataset(db, CONFIG, "ana") is dataset
    assert dataset.loop["query"]["budget"] == 40
    assert dataset.loop["classes"] == ["dark", "bright"]
    with pytest.raises(Conflict, match="belongs to ana"):
        create_dataset(db, CONFIG, "ben")
    with pytest.raises(InvalidInput, match="reserved word"):
        create_dataset(db, DatasetConfig.model_validate(description(name="head")), "ana")
    with pytest.raises(NotFound, match="nothing"):
        get_dataset(db, "nothing")


def test_commits_follow_each_other(db, dataset):
    first, second, third = append(db, dataset), append(db, dataset, "b"), append(db, dataset, "a", bump="major")
    assert [version.name for version in (first, second, third)] == ["lamps_v1.0", "lamps_v1.1", "lamps_v2.0"]
    assert append(db, dataset, "c").name == "lamps_v2.1"
    assert third.parents == [second]
    assert second.parents == [first]
    assert dataset.head.name == "lamps_v2.1"
    assert get_version(db, "lamps_v1.1") is second
    assert [version.name for version in list_versions(db, dataset)][-1] == "lamps_v1.0"
    with pytest.raises(NotFound):
        get_version(db, "lamps_v9.9")


def test_a_moved_head_is_a_conflict_and_changes_nothing(db, dataset):
    first = append(db, dataset)
    append(db, dataset, "b")
    db.commit()
    with pytest.raises(Conflict, match=r"is lamps_v1\.1, not lamps_v1\.0"):
        append(db, dataset, "c", expected=first.id)
    db.commit()
    assert dataset.head.name == "lamps_v1.1"
    assert len(list_versions(db, dataset)) == 2


def test_a_stale_token_is_refused(db, dataset):
    paused = locks.acquire_write(db, dataset, "ana", MINUTE)
    stale = paused.token
    db.execute(update(Lock).values(expires_at=func.clock_timestamp()))
    with pytest.raises(StaleToken, match="expired"):
        append(db, dataset, token=stale)
    locks.acquire_write(db, dataset, "ben", MINUTE)
    with pytest.raises(StaleToken, match="ben holds it now"):
        append(db, dataset, token=stale)
    assert list_versions(db, dataset) == []


def test_a_key_commits_once(db, dataset):
    first = append(db, dataset, idempotency_key="k")
    append(db, dataset, "b")
    assert append(db, dataset, "c", idempotency_key="k") is first
    assert len(list_versions(db, dataset)) == 2
    other = create_dataset(db, DatasetConfig.model_validate(description(name="other")), "ana")
    with pytest.raises(Conflict, match="another dataset"):
        append(db, other, idempotency_key="k")


def test_personal_versions_have_names_of_their_own_and_leave_the_head(db, dataset, monkeypatch):
    head = append(db, dataset)
    held = locks.acquire_write(db, dataset, "ben", MINUTE)  # hinders nobody's personal work
    now = locks.clock(db)
    monkeypatch.setattr(locks, "clock", lambda _: now)
    personal = [
        commit(
            db, dataset, "b" * 32 + ".dir", files=1, bytes=1, owner=user, message="", provenance={}, parents=[head],
            expected_head_id=None, token=None, personal_to=user,
        )
        for user in ("ana", "ana", "ana", "Ben@x")
    ]  # fmt: skip
    names = [parse_name(version.name) for version in personal]
    assert [(name.major, name.minor, name.copy) for name in names] == [(1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 0, 1)]
    assert [name.user for name in names[:3]] == ["ana"] * 3
    assert dataset.head is head
    assert list_versions(db, dataset) == [head]
    assert len(list_versions(db, dataset, user="ana")) == 4
    assert append(db, dataset, "c", token=held.token).name == "lamps_v1.1"


def test_arguments_that_do_not_fit(db, dataset):
    with pytest.raises(InvalidInput, match="not the hash of a tree"):
        append(db, dataset, "x")
    with pytest.raises(InvalidInput, match="first parent"):
        append(db, dataset, personal_to="ana")
    first = append(db, dataset)
    append(db, dataset, "b")
    with pytest.raises(InvalidInput, match="first parent"):
        append(db, dataset, "c", parents=[first])


def test_run_keys_fit_their_column():
    assert run_key("merge", "digits", "") is None
    assert run_key("merge", "digits", "r") == "merge:digits:r"
    assert len(run_key("merge", "digits", "r" * 250)) <= 250


def writer(url, number, commits):
    for turn in range(commits):
        with session(url) as db:
            append(db, get_dataset(db, "lamps"), "abcdef"[number], idempotency_key=f"{number}-{turn}")
    engine(url).dispose()


def test_of_concurrent_commits_none_is_lost(db, dataset, database_url):
    writers = [FORK.Process(target=writer, args=(database_url, number, 8)) for number in range(3)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0, 0, 0]
    db.expire_all()
    line, version = [], head_of(db, dataset)
    while version is not None:
        line.append(version.name)
        version = version.parents[0] if version.parents else None
    assert line == [f"lamps_v1.{minor}" for minor in reversed(range(24))]
    keys = db.scalars(select(DatasetVersion.idempotency_key)).all()
    assert sorted(keys) == sorted(f"{number}-{turn}" for number in range(3) for turn in range(8))


def killed_writer(url, moment, outermost):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with Session(engine(url)) as db:
        dataset = get_dataset(db, "lamps")
        if not outermost:
            event.listen(db, moment, die)
        append(db, dataset, "b", idempotency_key="k")
        event.listen(db, moment, die)
        db.commit()


@pytest.mark.parametrize(
    ("moment", "outermost"),
    [("after_flush", False), ("after_commit", False), ("before_commit", True), ("after_commit", True)],
)
def test_a_killed_commit_happened_or_did_not(db, dataset, database_url, moment, outermost):
    first = append(db, dataset)
    db.commit()
    process = FORK.Process(target=killed_writer, args=(database_url, moment, outermost))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    db.expire_all()
    happened = outermost and moment == "after_commit"
    assert (head_of(db, dataset).tree[0] == "b") is happened
    assert len(list_versions(db, dataset)) == (2 if happened else 1)
    assert db.scalar(select(func.count(Lock.id))) == 0
    # The retry ends where a run without the fault ends.
    again = append(db, dataset, "b", idempotency_key="k")
    db.commit()
    assert (again.name, again.parents, head_of(db, dataset)) == ("lamps_v1.1", [first], again)
    assert len(list_versions(db, dataset)) == 2
