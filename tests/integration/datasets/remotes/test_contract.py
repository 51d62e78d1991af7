"""What holds for every remote."""

import hashlib
import logging
import signal
import threading
from collections import Counter

import pytest
from remote_places import remote_of, run_apart, run_as_root, tmpfs

from learnloop.datasets.remotes import fetch, open_remote, push, replicate, transfer
from learnloop.datasets.remotes.objects import names
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted, LearnloopError, NotFound, Unavailable

FILES = 41  # distinct objects of the filled store; its tree is one more


def contents(store):
    return {name: store.path_of(name).read_bytes() for name in names(store)}


def assert_sound(objects):
    """Everything is whole, and what a tree needs is there."""
    for name, data in objects.items():
        assert hashlib.md5(data).hexdigest() == name[:32], name


def temporaries(store):
    return list((store.root / "tmp").iterdir()) if (store.root / "tmp").exists() else []


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def test_what_was_pushed_comes_back(filled, place, remote, empty):
    store, tree = filled
    size = sum(map(len, contents(store).values()))
    assert (push(store, remote, [tree]).objects, push(store, remote, [tree]).objects) == (FILES + 1, 0)
    assert place.objects() == contents(store)
    assert fetch(empty, remote, [tree]).bytes == size
    assert contents(empty) == contents(store)
    assert {path.stat().st_mode & 0o777 for path in map(empty.path_of, names(empty))} == {0o444}
    assert fetch(empty, remote, [tree]).objects == 0
    assert temporaries(empty) == []


def test_only_what_is_missing_is_moved(filled, place, remote, empty, tmp_path):
    store, tree = filled
    push(store, remote, [tree])
    fetch(empty, remote, [tree])
    (tmp_path / "data" / "new").write_bytes(b"new")
    grown = store.write_tree(store.add_folder(tmp_path / "data")[0])
    seen = []
    assert push(store, remote, [tree, grown], progress=lambda *at: seen.append(at)).objects == 2
    assert seen == [(1, 2), (2, 2)]
    seen.clear()
    assert fetch(empty, remote, [tree, grown], progress=lambda *at: seen.append(at)).objects == 2
    assert seen == [(1, 2), (2, 2)]
    assert place.objects() == contents(store) == contents(empty)


def test_what_only_the_remote_has_need_not_be_local_to_push(filled, place, remote):
    store, tree = filled
    push(store, remote, [tree])
    gone = store.read_tree(tree)["empty"]
    store.path_of(gone).unlink()
    assert push(store, remote, [tree]).objects == 0
    place.remove(gone)
    with pytest.raises(NotFound, match=f"{gone} is neither in the store"):
        push(store, remote, [tree])


def test_a_remote_that_lies_about_a_checksum_is_named_and_nothing_is_stored(filled, place, remote, empty):
    store, tree = filled
    push(store, remote, [tree])
    lied = store.read_tree(tree)["twin"]
    place.overwrite(lied, flipped(store.read(lied)))
    with pytest.raises(Corrupted, match=f"{remote.address} sent bytes with the md5 .* for object {lied}"):
        fetch(empty, remote, [tree])
    assert_sound(contents(empty))
    assert not {lied, tree} & set(names(empty))
    place.overwrite(lied, store.read(lied))
    assert fetch(empty, remote, [tree]).objects >= 1
    assert contents(empty) == contents(store)


def test_a_lying_tree_is_refused(filled, place, remote, empty):
    store, tree = filled
    push(store, remote, [tree])
    place.overwrite(tree, flipped(store.read(tree)))
    with pytest.raises(Corrupted, match=tree):
        fetch(empty, remote, [tree])
    assert contents(empty) == {}
    assert temporaries(empty) == []


def test_an_object_that_the_remote_lost_is_named(filled, place, remote, empty):
    store, tree = filled
    push(store, remote, [tree])
    lost = store.read_tree(tree)["empty"]
    place.remove(lost)
    with pytest.raises(NotFound, match=f"{lost} is not at the remote {remote.address}"):
        fetch(empty, remote, [tree])
    assert tree not in set(names(empty))
    assert push(store, remote, [tree]).objects == 1
    fetch(empty, remote, [tree])
    assert contents(empty) == contents(store)


def test_an_object_that_was_cut_at_the_remote_is_put_right(filled, place, remote):
    store, tree = filled
    push(store, remote, [tree])
    cut = store.read_tree(tree)["twin"]
    place.overwrite(cut, store.read(cut)[:100])
    assert push(store, remote, [tree]).objects == 1
    assert place.objects() == contents(store)


def test_a_damaged_object_is_not_pushed_nor_the_tree_that_needs_it(filled, place, remote):
    store, tree = filled
    damaged = store.read_tree(tree)["twin"]
    store.path_of(damaged).chmod(0o644)
    store.path_of(damaged).write_bytes(flipped(store.read(damaged)))
    with pytest.raises(Corrupted, match=f"{damaged} .* was not sent"):
        push(store, remote, [tree])
    assert_sound(place.objects())
    assert not {damaged, tree} & place.objects().keys()


def test_a_place_that_is_not_there_is_said(filled, place, empty):
    store, tree = filled
    with pytest.raises(NotFound, match=r"there is no .* create"):
        push(store, place.absent(), [tree])
    with pytest.raises(NotFound, match=r"there is no .* create"):
        fetch(empty, place.absent(), [tree])
    with pytest.raises(NotFound, match=r"there is no .* create"):
        replicate(place.absent(), remote_of(place), [tree], empty)
    assert contents(empty) == {}


def test_whoever_is_refused_is_told_so_but_no_secret(filled, place, caplog):
    store, tree = filled
    caplog.set_level(logging.DEBUG, logger="learnloop")
    with place.refused() as (remote, secrets):
        with pytest.raises(Unavailable, match=r"check the credentials|may not be used") as refusal:
            push(store, remote, [tree])
        assert remote.address in str(refusal.value)
    assert not any(secret in str(refusal.value) + caplog.text for secret in secrets)
    assert place.objects() == {}


def test_a_push_that_is_cut_continues(filled, place, remote):
    store, tree = filled
    with pytest.raises(Unavailable, match="run it again"):
        push(store, place.cut_after(130_000), [tree], jobs=2)
    arrived = place.objects()
    assert_sound(arrived)
    assert 0 < len(arrived) < FILES
    assert tree not in arrived
    # Of the two that were on their way, the server may have taken one after we looked.
    left = FILES + 1 - len(arrived)
    assert left - 2 <= push(store, remote, [tree]).objects <= left
    assert place.objects() == contents(store)


def test_a_fetch_that_is_cut_continues(filled, place, remote, empty):
    store, tree = filled
    push(store, remote, [tree])
    with pytest.raises(Unavailable, match="run it again"):
        fetch(empty, place.cut_after(80_000), [tree], jobs=2)
    arrived = contents(empty)
    assert_sound(arrived)
    assert 0 < len(arrived) < FILES
    assert tree not in arrived
    assert fetch(empty, remote, [tree]).objects == FILES + 1 - len(arrived)
    assert contents(empty) == contents(store)


@pytest.mark.parametrize(
    "fault", ["push.object-placed@7", "push.objects-done", "push.object-placed@42", "push.trees-done"]
)
def test_a_killed_push_shows_nothing_half_and_continues(filled, place, remote, fault):
    store, tree = filled
    assert run_apart("push", store, place, [tree], fault) == -signal.SIGKILL
    arrived = place.objects()
    assert_sound(arrived)
    assert (tree in arrived) == (len(arrived) == FILES + 1)
    assert push(store, remote, [tree]).objects == FILES + 1 - len(arrived)
    assert place.objects() == contents(store)


@pytest.mark.parametrize(
    "fault",
    ["fetch.temporaries-durable", "fetch.object-placed@7", "fetch.objects-done", "fetch.trees-done"],
)
def test_a_killed_fetch_shows_nothing_half_and_continues(filled, place, remote, empty, fault):
    store, tree = filled
    push(store, remote, [tree])
    assert run_apart("fetch", empty, place, [tree], fault) == -signal.SIGKILL
    arrived = contents(empty)
    assert_sound(arrived)
    assert (tree in arrived) == (len(arrived) == FILES + 1)
    assert fetch(empty, remote, [tree]).objects == FILES + 1 - len(arrived)
    assert contents(empty) == contents(store)


@pytest.mark.parametrize("fault", ["push.object-placed@7", "replicate.objects-done"])
def test_a_killed_replication_shows_nothing_half_and_continues(filled, place, remote, empty, fault):
    store, tree = filled
    push(store, remote, [tree])
    assert run_apart("replicate", empty, place, [tree], fault) == -signal.SIGKILL
    arrived = contents(empty)
    assert_sound(arrived)
    assert tree not in arrived
    assert replicate(remote, open_remote(str(empty.root)), [tree], store).objects == FILES + 1 - len(arrived)
    assert contents(empty) == contents(store) == place.objects()


def test_a_fetch_onto_a_full_disk_says_so_and_continues(filled, place, remote, tmp_path):
    store, tree = filled
    push(store, remote, [tree])
    with tmpfs(tmp_path / "small", "128k") as small:
        target = Store(small / "store")
        with pytest.raises(Unavailable, match=f"no space is left at {small}"):
            fetch(target, remote, [tree], jobs=2)
        assert_sound(contents(target))
        assert tree not in contents(target)
        assert temporaries(target) == []
        run_as_root("mount", "-o", "remount,size=2m", str(small))
        fetch(target, remote, [tree])
        assert contents(target) == contents(store)


def test_replication_brings_what_is_missing_and_checks_it(filled, place, remote, tmp_path):
    store, tree = filled
    second, before = open_remote(str(tmp_path / "second")), contents(store)
    with pytest.raises(NotFound):
        replicate(remote, second, [tree], store)
    push(store, remote, [tree])
    lied = store.read_tree(tree)["twin"]
    place.overwrite(lied, flipped(store.read(lied)))
    with pytest.raises(Corrupted, match=lied):
        replicate(remote, second, [tree], store)
    assert tree not in set(names(Store(tmp_path / "second")))
    place.overwrite(lied, store.read(lied))
    replicate(remote, second, [tree], store)
    assert contents(Store(tmp_path / "second")) == place.objects() == contents(store)
    assert replicate(remote, second, [tree], store).objects == 0
    place.remove(lied)
    assert replicate(second, remote, [tree], store).objects == 1
    assert place.objects() == contents(store) == before
    assert temporaries(store) == []


def test_two_pushes_at_once_agree(filled, place):
    store, tree = filled
    failures = []

    def work():
        try:
            push(store, remote_of(place), [tree], jobs=4)
        except LearnloopError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert place.objects() == contents(store)


class Watched:
    """A remote that notes how many of its methods run at once."""

    def __init__(self, remote):
        self.remote = remote
        self.address = remote.address
        self.check = remote.check
        self.held = remote.held
        self.running = Counter()
        self.most = 0
        self.lock = threading.Lock()
        self.together = threading.Barrier(3)

    def put_all(self, objects):
        with self.lock:
            self.running["put"] += 1
            self.most = max(self.most, self.running["put"])
        if not next(iter(objects)).endswith(".dir"):
            self.together.wait(60)
        self.remote.put_all(objects)
        with self.lock:
            self.running["put"] -= 1

    def get(self, name, target):
        self.remote.get(name, target)


def test_as_many_transfers_run_at_once_as_were_asked_for(filled, remote, monkeypatch):
    monkeypatch.setattr(transfer, "_TOGETHER", 7)  # 41 objects in 6 shares: the barrier of 3 is passed twice
    store, tree = filled
    watched = Watched(remote)
    push(store, watched, [tree], jobs=3)
    assert watched.most == 3
