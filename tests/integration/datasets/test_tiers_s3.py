"""Tiers on a real S3 server: there and back, and what happens when it refuses, is not there, or breaks off."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from s3_server import CutProxy, client

from learnloop.database import session
from learnloop.datasets.gc import collect
from learnloop.datasets.remotes import open_remote
from learnloop.datasets.remotes.base import relative_path
from learnloop.datasets.roots import objects_of
from learnloop.datasets.tiers import ensure_hot, move_to, sweep_archive, tier_of
from learnloop.errors import Corrupted, InvalidInput, NotFound, Unavailable


@pytest.fixture
def remote(s3):
    return open_remote(s3.address, s3.options)


def keys(s3):
    return {entry["Key"] for entry in client(s3).list_objects_v2(Bucket=s3.bucket).get("Contents", [])}


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_a_version_goes_to_s3_and_comes_back(db, store, head, s3, remote, database_url, tier):
    move_to(db, store, head, tier, remote=remote)
    db.commit()
    collect(store, grace=timedelta(0), transaction=partial(session, database_url))
    lacking = [name for name in objects_of(store, head.tree) if not store.path_of(name).exists()]
    assert lacking
    if tier == "warm":
        assert keys(s3) == {f"data/{relative_path(name)}" for name in (head.tree, *objects_of(store, head.tree))}
    else:
        assert keys(s3) == {f"data/archive/{head.name}.{head.id}.tar.zst"}
    assert ensure_hot(db, store, head, remote=remote)
    for name in objects_of(store, head.tree):
        store.verify(name)


def test_s3_is_listed_swept_and_asked_for_what_it_lacks(db, store, head, s3, remote, tmp_path):
    move_to(db, store, head, "cold", remote=remote)
    kept = f"archive/{head.name}.{head.id}.tar.zst"
    gone = f"archive/{head.name}.{head.id + 99}.tar.zst"
    client(s3).put_object(Bucket=s3.bucket, Key=f"data/{gone}", Body=b"a deleted version's")
    assert remote.has([kept, gone, "archive/none"]) == {kept, gone}
    assert sweep_archive(db, remote) == [gone]
    assert remote.files("archive") == [kept]
    remote.remove(gone)  # again
    with pytest.raises(NotFound, match=f"{gone} is not at the remote {s3.address}"):
        remote.download(gone, tmp_path / "gone")


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_wrong_credentials_are_said_and_the_version_stays(db, store, head, s3, tier):
    for options in ({**s3.options, "secret": "hunter2-wrong"}, s3.reader().options):
        with pytest.raises(Unavailable, match="check the credentials") as refusal:
            move_to(db, store, head, tier, remote=open_remote(s3.address, options))
        assert s3.address in str(refusal.value)
        assert options["secret"] not in str(refusal.value)
        db.rollback()
        assert tier_of(db, head) == "hot"
    assert keys(s3) == set()


def test_a_missing_bucket_and_a_broken_connection_are_said_and_the_version_stays(db, store, head, s3):
    missing = open_remote("s3://no-such-bucket/data", s3.options)
    proxy = CutProxy(int(s3.endpoint.rpartition(":")[2]), 20_000)
    cut = open_remote(s3.address, replace(s3, endpoint=proxy.endpoint).options)
    for remote in (missing, cut):
        with pytest.raises((Unavailable, NotFound), match=remote.address):
            move_to(db, store, head, "warm", remote=remote)
        db.rollback()
        assert tier_of(db, head) == "hot"
    move_to(db, store, head, "warm", remote=open_remote(s3.address, s3.options))
    assert tier_of(db, head) == "warm"


def test_what_s3_holds_damaged_is_refused(db, store, head, s3, remote):
    move_to(db, store, head, "cold", remote=remote)
    bundle = remote.files("archive")[0]
    client(s3).put_object(Bucket=s3.bucket, Key=f"data/{bundle}", Body=b"something else")
    for name in objects_of(store, head.tree):
        store.path_of(name).unlink()
    with pytest.raises(Corrupted, match=bundle):
        ensure_hot(db, store, head, remote=remote)


def test_credentials_are_not_taken_from_an_address():
    with pytest.raises(InvalidInput, match="has credentials in it") as refusal:
        open_remote("s3://key:hunter2@bucket/data")
    assert "hunter2" not in str(refusal.value)
