"""Which addresses can be a remote, and what one kind of remote has that others have not."""

import os
import signal
import time

import pytest
from remote_places import FolderPlace, run_apart, tmpfs

from learnloop.datasets.remotes import FolderRemote, FsspecRemote, fetch, open_remote, push
from learnloop.datasets.store import Store
from learnloop.errors import InvalidInput, NotFound, Unavailable


def test_an_address_says_which_remote(tmp_path):
    assert isinstance(open_remote(str(tmp_path)), FolderRemote)
    assert open_remote(f"file://{tmp_path}").address == str(tmp_path)
    assert isinstance(open_remote("s3://bucket/prefix/"), FsspecRemote)
    assert open_remote("s3://bucket/prefix/").address == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        ("relative/folder", {}, "absolute path"),
        ("gopher://somewhere", {}, "gopher://somewhere cannot be a remote"),
        ("s3://key:hunter2@bucket/x", {}, "credentials in it"),
        ("/somewhere", {"key": "k"}, "takes no options: leave out key"),
    ],
)
def test_what_cannot_be_a_remote_is_refused(address, options, said):
    with pytest.raises(InvalidInput, match=said) as refusal:
        open_remote(address, options)
    assert "hunter2" not in str(refusal.value)


def test_any_fsspec_url_can_be_a_remote(filled, empty):
    store, tree = filled
    remote = open_remote("memory://learnloop-test")
    with pytest.raises(NotFound, match="push to it first"):
        fetch(empty, remote, [tree])
    assert push(store, remote, [tree]).objects == fetch(empty, remote, [tree]).objects == 42
    assert push(store, remote, [tree]).objects == 0
    assert empty.read_tree(tree) == store.read_tree(tree)


def test_a_full_folder_says_so_and_continues(filled, tmp_path):
    store, tree = filled
    with tmpfs(tmp_path / "small", "64k") as small:
        remote = open_remote(str(small))
        with pytest.raises(Unavailable, match=f"no space is left at {small}"):
            push(store, remote, [tree], jobs=8)
        assert list((small / "tmp").iterdir()) == []
        assert not (small / "files" / "md5" / tree[:2] / tree[2:]).exists()


def test_a_push_killed_before_its_objects_have_names_shows_none(filled, tmp_path):
    store, tree = filled
    place = FolderPlace(tmp_path / "remote")
    assert run_apart("push", store, place, [tree], "push.temporaries-written") == -signal.SIGKILL
    assert place.objects() == {}
    assert push(store, open_remote(place.address), [tree]).objects == 42


def test_what_a_killed_push_left_is_removed_after_a_day(filled, tmp_path):
    store, tree = filled
    remote = open_remote(str(tmp_path / "remote"))
    push(store, remote, [tree])
    old, young = (tmp_path / "remote" / "tmp" / name for name in ("old", "young"))
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, time.time() - 90_000))
    push(store, remote, [tree])
    assert (old.exists(), young.exists()) == (False, True)


def test_a_large_object_goes_to_s3_in_parts(s3, tmp_path, empty):
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "large.bin").write_bytes(os.urandom(40 << 20))
    store = Store(tmp_path / "store")
    tree = store.write_tree(store.add_folder(folder)[0])
    remote = open_remote(s3.address, s3.options)
    push(store, remote, [tree])
    assert push(store, remote, [tree]).objects == 0
    fetch(empty, remote, [tree])
    assert empty.read_tree(tree) == store.read_tree(tree)
