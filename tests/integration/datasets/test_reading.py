from datetime import timedelta

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion, Lock, engine
from learnloop.datasets import locks
from learnloop.datasets.reading import read_lease, readers, release_read, renew_read
from learnloop.errors import Gone, InvalidInput, NotFound

MINUTE = timedelta(minutes=1)


def test_readers_and_the_writer_do_not_see_each_other(db, head, database_url):
    """Also not while the writer's transaction is open: a reader that waited would fail here, by its time-out."""
    dataset = head.dataset
    locks.acquire_write(db, dataset, "ana", MINUTE)
    with Session(engine(database_url)) as other:
        other.execute(text("SET lock_timeout = '2s'"))
        for owner in ("ben", "cy"):
            read_lease(other, other.get_one(DatasetVersion, head.id), owner, MINUTE, "training")
        other.commit()
    db.commit()
    assert [lease.owner for lease in readers(db, head)] == ["ben", "cy"]
    locks.release(db, dataset, dataset.fencing_token)
    assert locks.acquire_write(db, dataset, "dee", MINUTE).owner == "dee"


def test_a_lease_is_renewed_released_and_lapses(db, head):
    lease, other = read_lease(db, head, "ana", MINUTE), read_lease(db, head, "ben", MINUTE)
    until = lease.expires_at
    assert renew_read(db, lease.id, 2 * MINUTE).expires_at > until
    assert release_read(db, lease.id) is True
    assert release_read(db, lease.id) is False
    db.execute(update(Lock).values(expires_at=func.clock_timestamp()))
    assert readers(db, head) == []
    with pytest.raises(Gone, match="lapsed"):
        renew_read(db, other.id, MINUTE)
    assert locks.release_expired(db)["read leases"] == 1


def test_what_is_no_lease(db, head):
    with pytest.raises(InvalidInput, match="longer than nothing"):
        read_lease(db, head, "ana", timedelta(0))
    gone = DatasetVersion(id=head.id + 1000, dataset_id=head.dataset_id, name="lamps_v9.9")
    with pytest.raises(NotFound, match=r"lamps_v9\.9.*deleted"):
        read_lease(db, gone, "ana", MINUTE)
    written = locks.acquire_write(db, head.dataset, "ana", MINUTE)
    assert release_read(db, written.id) is False
    with pytest.raises(Gone):
        renew_read(db, written.id, MINUTE)
