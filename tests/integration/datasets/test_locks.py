from datetime import timedelta

import pytest
from dataset_folders import description
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from learnloop.database import Lock, engine
from learnloop.datasets import locks
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import create_dataset, get_dataset
from learnloop.errors import InvalidInput, Locked, NotFound, StaleToken

MINUTE = timedelta(minutes=1)


@pytest.fixture
def dataset(db):
    made = create_dataset(db, DatasetConfig.model_validate(description()), "ana")
    db.commit()
    return made


def expire(db, lock):
    db.execute(update(Lock).where(Lock.id == lock.id).values(expires_at=func.clock_timestamp()))
    db.commit()


def test_a_held_lock_refuses_and_names_its_holder(db, dataset):
    held = locks.acquire_write(db, dataset, "ana", MINUTE, "training")
    with pytest.raises(Locked) as error:
        locks.acquire_write(db, dataset, "ben", MINUTE)
    assert str(error.value) == (
        f"dataset lamps is locked for writing by ana (training) until {held.expires_at:%Y-%m-%d %H:%M:%S %Z}:"
        " ask ana to release it, wait in line for it, or work on a branch of your own that is merged later"
    )
    assert locks.check(db, dataset, held.token) is held


def test_each_lock_gets_the_next_token(db, dataset):
    first = locks.acquire_write(db, dataset, "ana", MINUTE)
    assert locks.release(db, dataset, first.token) is True
    assert locks.release(db, dataset, first.token) is False
    second = locks.acquire_write(db, dataset, "ben", MINUTE)
    assert second.token == first.token + 1 == dataset.fencing_token
    with pytest.raises(StaleToken, match="ben holds it now"):
        locks.check(db, dataset, first.token)
    assert locks.release(db, dataset, first.token) is False
    locks.check(db, dataset, second.token)


def test_an_expired_lock_is_taken_over_and_its_token_is_stale(db, dataset):
    paused = locks.acquire_write(db, dataset, "ana", MINUTE)
    expire(db, paused)
    with pytest.raises(StaleToken, match="expired"):
        locks.check(db, dataset, paused.token)
    with pytest.raises(StaleToken, match="expired"):
        locks.renew(db, dataset, paused.token, MINUTE)
    taken = locks.acquire_write(db, dataset, "ben", MINUTE)
    assert taken.token > paused.token
    assert db.scalar(select(func.count(Lock.id))) == 1


def test_renewing_lasts_from_now(db, dataset):
    lock = locks.acquire_write(db, dataset, "ana", timedelta(seconds=5))
    until = lock.expires_at
    assert locks.renew(db, dataset, lock.token, MINUTE).expires_at > until + timedelta(seconds=50)


def test_a_failed_block_leaves_no_lock_and_no_token(db, dataset):
    token = dataset.fencing_token

    def fail():
        with locks.writing(db, dataset, "ana", "work"):
            raise NotFound("something")

    with pytest.raises(NotFound):
        fail()
    db.commit()
    assert dataset.fencing_token == token
    assert db.scalar(select(func.count(Lock.id))) == 0


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(days=31)])
def test_a_lock_that_never_holds_or_never_ends_is_refused(db, dataset, ttl):
    held = locks.acquire_write(db, dataset, "ana", MINUTE)
    with pytest.raises(InvalidInput, match="a lock"):
        locks.acquire_write(db, dataset, "ana", ttl)
    with pytest.raises(InvalidInput, match="a lock"):
        locks.renew(db, dataset, held.token, ttl)


def test_a_holder_that_cannot_be_shown_is_refused(db, dataset):
    with pytest.raises(InvalidInput, match="a user's name"):
        locks.acquire_write(db, dataset, "ana\nroot", MINUTE)
    with pytest.raises(InvalidInput, match="a purpose"), locks.writing(db, dataset, "ana", "\x1b[2J"):
        pass
    assert db.scalar(select(func.count(Lock.id))) == 0


def test_a_stale_session_sees_the_newest_token(db, dataset, database_url):
    dataset.fencing_token  # noqa: B018 - loaded, and then changed by somebody else
    with Session(engine(database_url)) as other:
        same = get_dataset(other, "lamps")
        token = locks.acquire_write(other, same, "ben", MINUTE).token
        locks.release(other, same, token)
        other.commit()
    assert locks.acquire_write(db, dataset, "ana", MINUTE).token == token + 1
