"""Snapshots of an S3 prefix, on a real S3 server."""

import os

import pytest
import s3fs
from dataset_folders import write_images

from learnloop.datasets.remote_source import RemoteSource
from learnloop.datasets.snapshot import snapshot
from learnloop.errors import Conflict, Corrupted, InvalidDataset, InvalidInput, NotFound, PermissionDenied, Unavailable


@pytest.fixture
def filesystem(s3):
    return s3fs.S3FileSystem(**s3.options, skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture
def url(s3, filesystem, folder):
    """The folder's files, and some that are not tracked, below a prefix."""
    filesystem.put(f"{folder}/", f"{s3.bucket}/in/lamps/", recursive=True)
    filesystem.pipe_file(f"{s3.bucket}/in/lamps/.git/config", b"left out")
    filesystem.pipe_file(f"{s3.bucket}/in/lamps-other/file", b"beside the prefix")
    return f"s3://{s3.bucket}/in/lamps"


def test_a_prefix_is_the_tree_of_its_files_and_read_once(store, s3, url, filesystem, folder):
    added = store.add_source(RemoteSource(url, s3.options))
    assert (added.tree, added.bytes) == store.add_folder(folder)
    assert added.read == len(added.tree)
    assert store.add_source(RemoteSource(url + "/", s3.options)).read == 0
    filesystem.pipe_file(f"{url}/images/größe 1.png", b"new")
    filesystem.pipe_file(f"{url}/images/s000.png", b"other")
    filesystem.rm_file(f"{url}/images/s001.png")
    again = store.add_source(RemoteSource(url, s3.options))
    assert again.read == 2
    assert again.tree.keys() == (added.tree.keys() | {"images/größe 1.png"}) - {"images/s001.png"}
    assert store.read(again.tree["images/s000.png"]) == b"other"


def test_large_objects_are_streamed(store, s3, filesystem):
    data = os.urandom(20 << 20)
    filesystem.pipe_file(f"{s3.bucket}/large/file", data)  # comes in parts, so its ETag is no md5
    tree, size = store.add_remote_folder(f"s3://{s3.bucket}/large", s3.options)
    assert size == len(data)
    assert store.read(tree["file"]) == data
    assert not any((store.root / "tmp").iterdir())


def test_a_url_becomes_a_version(db, store, s3, url, folder, filesystem):
    version = snapshot(db, store, url, owner="ana", storage_options=s3.options)
    assert version.name == "lamps_v1.0"
    assert snapshot(db, store, folder, owner="ana") is version
    write_images(folder / "images", ["new"], [77])
    filesystem.put_file(str(folder / "images" / "new.png"), f"{url}/images/new.png")
    assert snapshot(db, store, url, owner="ana", storage_options=s3.options).name == "lamps_v1.1"


def test_what_cannot_be_read_is_said(store, db, s3, url):
    wrong = {**s3.options, "secret": "wrong"}
    with pytest.raises(PermissionDenied, match="refuses these credentials"):
        store.add_remote_folder(url, wrong)
    with pytest.raises(NotFound, match="no object below"):
        store.add_remote_folder(f"s3://{s3.bucket}/nothing", s3.options)
    with pytest.raises(NotFound):
        store.add_remote_folder("s3://no-such-bucket-here/x", s3.options)
    with pytest.raises(NotFound, match=r"nothing/dataset\.yaml"):
        snapshot(db, store, f"s3://{s3.bucket}/nothing", owner="ana", storage_options=s3.options)
    with pytest.raises(InvalidInput, match="not known"):
        store.add_remote_folder("nosuch://x/y", {})
    with pytest.raises(Unavailable, match="does not answer"):
        store.add_remote_folder(
            url, {**s3.options, "endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}
        )
    assert list(store.names()) == []


def test_keys_that_are_no_paths_are_refused(store, s3, url, filesystem):
    filesystem.pipe_file(f"{url}/images/.dvcignore", b"*")
    with pytest.raises(InvalidDataset, match=r"\.dvcignore"):
        store.add_remote_folder(url, s3.options)


def test_an_object_that_changes_while_it_is_read_is_noticed(store, s3, url, filesystem, monkeypatch):
    take = RemoteSource.take

    def changing(self, path, seen, group):
        md5 = take(self, path, seen, group)
        if path == "dataset.yaml":
            filesystem.pipe_file(f"{url}/images/s003.png", b"changed meanwhile")
        return md5

    monkeypatch.setattr(RemoteSource, "take", changing)
    with pytest.raises(Conflict, match=r"s003\.png changed while it was read"):
        store.add_remote_folder(url, s3.options)


def test_bytes_that_are_not_what_the_storage_says_are_refused(store, s3, url, monkeypatch):
    cat = s3fs.S3FileSystem.cat_file

    def damaged(self, path, *arguments, **options):
        data = bytearray(cat(self, path, *arguments, **options))
        if path.endswith("s004.png"):
            data[5] ^= 1
        return bytes(data)

    monkeypatch.setattr(s3fs.S3FileSystem, "cat_file", damaged)
    with pytest.raises(Corrupted, match=r"s004\.png"):
        store.add_remote_folder(url, s3.options)
    assert list(store.names()) == []
