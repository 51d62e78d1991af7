from datetime import timedelta

import pytest
from dataset_folders import description
from sqlalchemy import func, select, update

from learnloop.database import Lock, LockRequest
from learnloop.datasets import locks
from learnloop.datasets.schema import DatasetConfig
from learnloop.datasets.versions import create_dataset
from learnloop.datasets.waiting import Place, keep_place, line_of, request_write, withdraw
from learnloop.errors import Gone, InvalidInput, Locked, StaleToken

MINUTE = timedelta(minutes=1)


@pytest.fixture
def dataset(db):
    made = create_dataset(db, DatasetConfig.model_validate(description()), "ana")
    db.commit()
    return made


def ask(db, dataset, owner, key="task", **options):
    return request_write(db, dataset, owner, MINUTE, key=key, **options)


def lapse(db, model, *where):
    db.execute(update(model).where(*where).values(expires_at=func.clock_timestamp()))
    db.commit()


def test_a_free_lock_is_given_at_once(db, dataset):
    lock = ask(db, dataset, "ana", purpose="training")
    assert isinstance(lock, Lock)
    assert (lock.owner, lock.purpose, lock.key) == ("ana", "training", "task")
    assert line_of(db, dataset) == []


def test_first_come_first_served_and_higher_priority_before(db, dataset):
    token = ask(db, dataset, "ana").token
    for owner, priority in (("ben", 0), ("cy", 0), ("dee", 5), ("eve", 5), ("fay", -1)):
        assert isinstance(ask(db, dataset, owner, priority=priority), Place)
    assert [place.owner for place in line_of(db, dataset)] == ["dee", "eve", "ben", "cy", "fay"]
    served = []
    while waiting := line_of(db, dataset):
        assert locks.release(db, dataset, token)
        # Whoever is not next asks in vain, in whatever order they ask.
        for place in reversed(waiting[1:]):
            asked = ask(db, dataset, place.owner, priority=place.priority)
            assert isinstance(asked, Place)
            assert not asked.due
        lock = ask(db, dataset, waiting[0].owner, priority=waiting[0].priority)
        assert isinstance(lock, Lock)
        served.append(lock.owner)
        token = lock.token
    assert served == ["dee", "eve", "ben", "cy", "fay"]


def test_a_place_says_where_it_is_and_who_holds_the_lock(db, dataset):
    held = ask(db, dataset, "ana")
    ask(db, dataset, "ben")
    place = ask(db, dataset, "cy", purpose="fixing labels")
    assert (place.position, place.held_by, place.held_until, place.due) == (2, "ana", held.expires_at, False)
    assert (place.dataset, place.purpose) == ("lamps", "fixing labels")
    locks.release(db, dataset, held.token)
    assert [(place.position, place.due) for place in line_of(db, dataset)] == [(1, True), (2, False)]


def test_asking_again_keeps_the_place(db, dataset):
    ask(db, dataset, "ana")
    first, second = ask(db, dataset, "ben"), ask(db, dataset, "cy")
    again = ask(db, dataset, "ben", patience=timedelta(minutes=5))
    assert (again.request_id, again.position) == (first.request_id, 1)
    assert again.expires_at > second.expires_at
    assert keep_place(db, second.request_id, MINUTE).position == 2
    assert len(line_of(db, dataset)) == 2


def test_a_dead_waiter_blocks_nobody(db, dataset):
    token = ask(db, dataset, "ana").token
    dead, alive = ask(db, dataset, "ben", priority=9), ask(db, dataset, "cy")
    locks.release(db, dataset, token)
    assert not ask(db, dataset, "cy").due
    lapse(db, LockRequest, LockRequest.id == dead.request_id)
    assert keep_place(db, alive.request_id).due
    assert isinstance(ask(db, dataset, "cy"), Lock)
    with pytest.raises(Gone, match="from the end of the line"):
        keep_place(db, dead.request_id)


def test_withdrawing_lets_the_next_one_through(db, dataset):
    token = ask(db, dataset, "ana").token
    ben, cy = ask(db, dataset, "ben"), ask(db, dataset, "cy")
    locks.release(db, dataset, token)
    assert withdraw(db, ben.request_id) is True
    assert withdraw(db, ben.request_id) is False
    assert keep_place(db, cy.request_id).due


def test_who_does_not_wait_cannot_pass_who_does(db, dataset):
    token = ask(db, dataset, "ana").token
    ask(db, dataset, "ben", purpose="relabelling")
    locks.release(db, dataset, token)
    with pytest.raises(Locked) as error:
        locks.acquire_write(db, dataset, "cy", MINUTE)
    assert str(error.value) == (
        "ben (relabelling) is next in line for the write lock of dataset lamps:"
        " wait in line for it, or work on a branch of your own that is merged later"
    )
    with locks.writing(db, dataset, "cy", "a commit") as lock:  # over before anybody could be given the lock
        locks.check(db, dataset, lock.token)
    assert isinstance(ask(db, dataset, "ben"), Lock)


def test_a_try_again_gets_the_lock_anew_and_fences_the_first_off(db, dataset):
    first = ask(db, dataset, "ana", "run-1").token
    ask(db, dataset, "ben")
    second = ask(db, dataset, "ana", "run-1")
    assert isinstance(second, Lock)
    with pytest.raises(StaleToken):
        locks.check(db, dataset, first)
    assert locks.acquire_write(db, dataset, "ana", MINUTE, key="run-1").token == second.token + 1
    # Another piece of work of the same person waits like anybody's, and so does a lock that expired.
    assert isinstance(ask(db, dataset, "ana", "run-2"), Place)
    lapse(db, Lock)
    assert ask(db, dataset, "ana", "run-1").position == 3
    assert isinstance(ask(db, dataset, "ben"), Lock)


def test_what_lapsed_is_removed(db, dataset):
    ask(db, dataset, "ana")
    ask(db, dataset, "ben")
    assert locks.release_expired(db) == {"locks": 0, "read leases": 0, "waiting requests": 0}
    lapse(db, Lock)
    lapse(db, LockRequest)
    assert locks.release_expired(db) == {"locks": 1, "read leases": 0, "waiting requests": 1}
    assert db.scalar(select(func.count(Lock.id))) == db.scalar(select(func.count(LockRequest.id))) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ttl": timedelta(0)}, "longer than nothing"),
        ({"ttl": timedelta(seconds=-1)}, "longer than nothing"),
        ({"ttl": timedelta.max}, "at most 30 days"),
        ({"patience": timedelta(0)}, "longer than nothing"),
        ({"key": ""}, "a key has 1 to 250"),
        ({"key": "k" * 251}, "a key has 1 to 250"),
        ({"key": "a\nb"}, "control characters"),
        ({"owner": "a\0b"}, "control characters"),
        ({"owner": " "}, "1 to 250 characters"),
        ({"purpose": "x\x1b[2J"}, "control characters"),
        ({"purpose": "\ud800"}, "control characters"),
        ({"priority": 101}, "between -100 and 100"),
    ],
)
def test_what_cannot_be_asked_for_changes_nothing(db, dataset, options, says):
    asked = {"owner": "ana", "ttl": MINUTE, "key": "k", **options}
    owner, ttl = asked.pop("owner"), asked.pop("ttl")
    with pytest.raises(InvalidInput, match=says):
        request_write(db, dataset, owner, ttl, **asked)
    assert line_of(db, dataset) == []
    assert db.scalar(select(func.count(Lock.id))) == 0
