from datetime import timedelta

import pytest
from dataset_folders import description
from sqlalchemy import func, update

from learnloop.database import DatasetBranch, Lock
from learnloop.datasets import locks
from learnloop.datasets.branches import (
    abandon,
    open_branch,
    open_branches,
    renew_branch,
    unmerged_branches,
    write_or_branch,
)
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import commit, create_dataset, head_of
from learnloop.errors import InvalidInput, Locked, NotFound, PermissionDenied, StaleToken

MINUTE = timedelta(minutes=1)


@pytest.fixture
def dataset(db):
    made = create_dataset(db, DatasetConfig.model_validate(description()), "ana")
    db.commit()
    return made


def put(db, dataset, *, parents, owner="ana", tree="a", **options):
    return commit(
        db, dataset, tree * 32 + ".dir", files=1, bytes=1, owner=owner, message="", provenance={"kind": "snapshot"},
        parents=parents, expected_head_id=dataset.head_id, token=options.pop("token", None), **options,
    )  # fmt: skip


def advance(db, dataset, *merged, **options):
    with locks.writing(db, dataset, "ana", "test") as lock:
        head = head_of(db, dataset)
        return put(db, dataset, parents=[*([head] if head else []), *merged], token=lock.token, **options)


def expire(db, branch):
    db.execute(update(DatasetBranch).where(DatasetBranch.id == branch.id).values(expires_at=func.clock_timestamp()))
    db.commit()


def test_a_branch_has_a_number_of_its_own_and_is_merged_later(db, dataset):
    base = advance(db, dataset)
    branch = open_branch(db, dataset, "ben", base, MINUTE, "relabelling")
    assert branch.name == "lamps_v1.1"
    head = advance(db, dataset)  # the head's line passes over the reserved number
    assert head.name == "lamps_v1.2"
    version = put(db, dataset, parents=[base], owner="ben", branch=branch)
    assert (version.name, version.parents, version.personal_to) == ("lamps_v1.1", [base], None)
    assert (dataset.head, branch.state, branch.version) == (head, "committed", version)
    assert unmerged_branches(db, dataset) == [branch]
    merged = advance(db, dataset, version)
    assert (merged.name, merged.parents, dataset.head) == ("lamps_v1.3", [head, version], merged)
    assert unmerged_branches(db, dataset) == []


def test_numbers_stay_in_the_majors_of_their_bases(db, dataset):
    old = advance(db, dataset)
    assert advance(db, dataset, bump="major").name == "lamps_v2.0"
    assert open_branch(db, dataset, "ben", old, MINUTE).name == "lamps_v1.1"
    assert open_branch(db, dataset, "cy", dataset.head, MINUTE).name == "lamps_v2.1"
    assert advance(db, dataset).name == "lamps_v2.2"


def test_no_number_comes_back(db, dataset):
    base = advance(db, dataset)
    abandoned, expired = open_branch(db, dataset, "ben", base, MINUTE), open_branch(db, dataset, "cy", base, MINUTE)
    assert abandon(db, abandoned) is True
    assert abandon(db, abandoned) is False
    expire(db, expired)
    assert [abandoned.name, expired.name, advance(db, dataset).name] == ["lamps_v1.1", "lamps_v1.2", "lamps_v1.3"]
    assert open_branches(db, dataset) == []


def test_a_second_writer_gets_a_branch_and_a_third_another(db, dataset):
    with locks.writing(db, dataset, "ana", "first snapshot"), pytest.raises(Locked, match="first snapshot"):
        write_or_branch(db, dataset, "ben", MINUTE)
    base = advance(db, dataset)
    lock = write_or_branch(db, dataset, "ana", MINUTE)
    assert isinstance(lock, Lock)
    second, third = write_or_branch(db, dataset, "ben", MINUTE), write_or_branch(db, dataset, "cy", MINUTE)
    assert [(branch.owner, branch.name, branch.base) for branch in (second, third)] == [
        ("ben", "lamps_v1.1", base),
        ("cy", "lamps_v1.2", base),
    ]
    assert put(db, dataset, parents=[base], token=lock.token).name == "lamps_v1.3"


def test_a_try_again_goes_on_where_it_was(db, dataset):
    base = advance(db, dataset)
    lock = locks.acquire_write(db, dataset, "ana", MINUTE)
    branch = write_or_branch(db, dataset, "ben", MINUTE, key="run-1")
    locks.release(db, dataset, lock.token)
    assert write_or_branch(db, dataset, "ben", MINUTE, key="run-1") is branch
    version = put(db, dataset, parents=[base], owner="ben", branch=branch, idempotency_key="k")
    assert write_or_branch(db, dataset, "ben", MINUTE, key="run-1") is branch
    assert put(db, dataset, parents=[base], owner="ben", branch=branch, idempotency_key="k") is version
    # One that ended unused does not come back.
    ended = open_branch(db, dataset, "ben", base, MINUTE, key="run-2")
    abandon(db, ended)
    assert open_branch(db, dataset, "ben", base, MINUTE, key="run-2").name == "lamps_v1.3"


def test_what_a_branch_refuses(db, dataset):
    base = advance(db, dataset)
    branch = open_branch(db, dataset, "ben", base, MINUTE)
    with pytest.raises(PermissionDenied, match="belongs to ben"):
        put(db, dataset, parents=[base], owner="ana", branch=branch)
    other = advance(db, dataset)
    with pytest.raises(InvalidInput, match="the version it came from"):
        put(db, dataset, parents=[other], owner="ben", branch=branch)
    with pytest.raises(InvalidInput, match="not both"):
        put(db, dataset, parents=[base], owner="ben", branch=branch, personal_to="ben")
    put(db, dataset, parents=[base], owner="ben", branch=branch)
    with pytest.raises(StaleToken, match=r"lamps_v1\.1 is committed"):
        put(db, dataset, parents=[base], owner="ben", branch=branch)
    with pytest.raises(StaleToken, match="committed"):
        renew_branch(db, branch, "ben", MINUTE)
    mine = put(db, dataset, parents=[base], personal_to="ana")
    with pytest.raises(NotFound):
        open_branch(db, dataset, "ben", mine, MINUTE)
    with pytest.raises(InvalidInput, match="longer than nothing"):
        open_branch(db, dataset, "ben", base, timedelta(0))
    elsewhere = create_dataset(db, DatasetConfig.model_validate(description(name="other")), "ana")
    with pytest.raises(InvalidInput, match="no version of dataset other"):
        open_branch(db, elsewhere, "ben", base, MINUTE)


def test_a_paused_branch_cannot_be_committed_on(db, dataset):
    base = advance(db, dataset)
    branch = open_branch(db, dataset, "ben", base, MINUTE)
    assert renew_branch(db, branch, "ben", 2 * MINUTE).expires_at > locks.clock(db) + MINUTE
    expire(db, branch)
    with pytest.raises(StaleToken, match=r"branch lamps_v1\.1 expired at .* the number stays reserved"):
        put(db, dataset, parents=[base], owner="ben", branch=branch)
    with pytest.raises(StaleToken, match="expired"):
        renew_branch(db, branch, "ben", MINUTE)
    assert open_branches(db, dataset) == []
