"""Deployment and lease rows, without a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy import make_url

from learnloop.database import Deployment, ModelLease, session
from learnloop.errors import Conflict, InvalidInput, NotFound, Unavailable
from learnloop.models.deployment import (
    DEPLOYMENTS_CHANNEL,
    deploy,
    lease_model,
    release_model,
    rollback,
    wait_until_served,
)


def test_a_change_raises_the_generation_and_the_same_version_changes_nothing(deploy_digits, db):
    assert deploy_digits(1)[1] == 1
    assert deploy_digits(1)[1] == 1
    assert deploy_digits(2)[1] == 2
    row = db.query(Deployment).one()
    assert (row.model_version, row.previous_version) == (2, 1)


def test_servers_are_told_when_the_change_commits_and_only_then(database_url, dataset_id):
    conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as listener:
        listener.execute(f"LISTEN {DEPLOYMENTS_CHANNEL}".encode())
        with session(database_url) as opened:
            deploy(opened, dataset_id=dataset_id, model_name="digits", alias="base", version=1, owner="ann")
            assert list(listener.notifies(timeout=0.1)) == []
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"alias": "newest"}, InvalidInput, "base, realtime, optimized, current"),
        ({"version": 0}, InvalidInput, "1 or more"),
        ({"model_name": "digits:base"}, InvalidInput, "':'"),
        ({"model_name": ""}, InvalidInput, "empty"),
        ({"dataset_id": -1}, NotFound, "dataset -1"),
    ],
)
def test_a_bad_deployment_is_refused(db, dataset_id, change, error, says):
    good = {"dataset_id": dataset_id, "model_name": "digits", "alias": "base", "version": 1, "owner": "ann"}
    with pytest.raises(error, match=says):
        deploy(db, **{**good, **change})
    assert db.query(Deployment).all() == []


def test_deployments_at_once_each_get_their_own_generation(deploy_digits, db):
    with ThreadPoolExecutor(8) as pool:
        generations = sorted(generation for _, generation in pool.map(deploy_digits, range(1, 17)))
    assert generations == list(range(1, 17))
    assert db.query(Deployment).one().generation == 16


def test_rollback_goes_back_and_forth(deploy_digits, db):
    deploy_digits(1)
    with pytest.raises(Conflict, match="no version before 1"):
        rollback(db, "digits", "current", "ann")
    db.rollback()
    deploy_digits(2)
    for generation, version in ((3, 1), (4, 2)):
        row = rollback(db, "digits", "current", "bob")
        db.commit()
        assert (row.generation, row.model_version, row.owner) == (generation, version, "bob")
    with pytest.raises(NotFound, match="digits:base"):
        rollback(db, "digits", "base", "ann")


def test_waiting_names_what_is_missing(database_url, deploy_digits):
    wait = partial(wait_until_served, partial(session, database_url))
    deployment_id, generation = deploy_digits(1)
    with pytest.raises(Unavailable, match="no model server is running"):
        wait(deployment_id, generation, 0)
    deploy_digits(2)
    with pytest.raises(Conflict, match="1 was replaced"):
        wait(deployment_id, generation, 0)
    with pytest.raises(NotFound, match="deployment 99"):
        wait(99, 1, 0)


def test_a_lease_is_renewed_by_its_holder_and_released_once_or_twice(db):
    lease = {"model_name": "digits", "version": 1, "holder": "run-1"}
    first = lease_model(db, **lease, duration=timedelta(minutes=1), owner="ann").expires_at
    db.commit()
    second = lease_model(db, **lease, duration=timedelta(hours=1), owner="ann").expires_at
    db.commit()
    assert first < second
    assert abs(second - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=30)
    assert db.query(ModelLease).count() == 1
    release_model(db, **lease)
    release_model(db, **lease)
    assert db.query(ModelLease).count() == 0
    with pytest.raises(InvalidInput, match="duration above 0"):
        lease_model(db, **lease, duration=timedelta(0), owner="ann")
