"""A flipped bit is found, named, and repaired from a remote of each kind."""

import re
import signal

import pytest
from remote_places import run_apart

from learnloop.datasets.batch import register_batch
from learnloop.datasets.remotes import Need, Problem, fetch, open_remote, push, repair, verify
from learnloop.datasets.remotes.verify import trees_of
from learnloop.datasets.restore import restore
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted, InvalidInput, NotFound


def flip(store, name):
    """Flip one bit of an object in place; return what it holds then."""
    path = store.path_of(name)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return bytes(data)


def quarantined(store):
    return [path.read_bytes() for path in (store.root / "quarantine").glob("*")]


def test_a_flipped_bit_is_found_named_and_repaired(filled, remote, tmp_path):
    store, tree = filled
    push(store, remote, [tree])
    name = store.read_tree(tree)["twin"]
    good, damaged = store.read(name), flip(store, name)

    report = verify(store, {"lamps_v1.0": tree})
    needs = (Need("lamps_v1.0", "part0/größe 0.bin"), Need("lamps_v1.0", "twin"))
    assert report.problems == (Problem(name, "corrupt", needs),)
    assert (report.checked, report.of) == (42, 42)
    with pytest.raises(Corrupted, match=f"{name} is corrupt; needed by lamps_v1.0 part0/größe 0.bin, lamps_v1.0 twin"):
        report.raise_if_wrong()
    with pytest.raises(Corrupted, match=name):
        store.checkout(store.read_tree(tree), tmp_path / "out")

    seen = []
    done = repair(store, remote, report.problems, progress=lambda *at: seen.append(at))
    assert (done.repaired, done.unrepaired, seen) == ((name,), (), [(1, 1)])
    assert (store.read(name), quarantined(store)) == (good, [damaged])
    store.checkout(store.read_tree(tree), tmp_path / "out")
    assert verify(store, {"lamps_v1.0": tree}).problems == ()
    assert list((store.root / "tmp").iterdir()) == []


def test_what_is_missing_is_named_and_repaired(filled, remote):
    store, tree = filled
    push(store, remote, [tree])
    name = store.read_tree(tree)["empty"]
    store.path_of(name).unlink()
    report = verify(store, {"lamps_v1.0": tree})
    assert report.problems == (Problem(name, "missing", (Need("lamps_v1.0", "empty"),)),)
    assert repair(store, remote, report.problems).repaired == (name,)
    assert store.read(name) == b""
    assert quarantined(store) == []


def test_with_a_damaged_tree_the_files_it_hid_are_repaired_too(filled, remote):
    store, tree = filled
    push(store, remote, [tree])
    name = store.read_tree(tree)["twin"]
    flip(store, name)
    flip(store, tree)
    report = verify(store, {"lamps_v1.0": tree})
    assert report.problems == (Problem(tree, "corrupt", (Need("lamps_v1.0", ""),)),)
    assert set(repair(store, remote, report.problems).repaired) == {tree, name}
    assert verify(store, {"lamps_v1.0": tree}).problems == ()


def test_what_cannot_be_repaired_is_said_and_the_rest_is_repaired(filled, place, remote):
    store, tree = filled
    push(store, remote, [tree])
    lost, lied, fine = (store.read_tree(tree)[path] for path in ("empty", "twin", "part1/größe 1.bin"))
    place.remove(lost)
    place.overwrite(lied, b"something else")
    store.path_of(lost).unlink()
    damaged = flip(store, lied)
    flip(store, fine)
    done = repair(store, remote, verify(store, {"lamps_v1.0": tree}).problems)
    assert done.repaired == (fine,)
    reasons = {failure.problem.name: failure.reason for failure in done.unrepaired}
    assert re.search(f"{lost} is not at the remote", reasons[lost])
    assert re.search(f"{re.escape(remote.address)} sent bytes with the md5 .* for object {lied}", reasons[lied])
    assert store.path_of(lied).read_bytes() == damaged  # kept until there is something better


@pytest.mark.parametrize("fault", ["repair.downloaded", "repair.set-aside", "fetch.object-placed", "repair.replaced"])
def test_a_killed_repair_loses_nothing_and_ends_well_when_run_again(filled, place, remote, fault):
    store, tree = filled
    push(store, remote, [tree])
    name = store.read_tree(tree)["twin"]
    good, damaged = store.read(name), flip(store, name)
    assert run_apart("repair", store, place, [tree], fault) == -signal.SIGKILL
    assert store.path_of(name).read_bytes() in (good, damaged)
    repair(store, remote, verify(store, {"lamps_v1.0": tree}).problems)
    assert store.read(name) == good
    assert set(quarantined(store)) == {damaged}


def test_a_sample_is_chosen_by_its_seed(filled):
    store, tree = filled
    flip(store, store.read_tree(tree)["twin"])
    found = [verify(store, {"v": tree}, sample=10, seed=seed) for seed in range(20)]
    assert {(report.checked, report.of) for report in found} == {(11, 42)}
    assert found == [verify(store, {"v": tree}, sample=10, seed=seed) for seed in range(20)]
    assert 0 < sum(bool(report.problems) for report in found) < 20
    with pytest.raises(InvalidInput, match="at least 1"):
        verify(store, {"v": tree}, sample=0)


def test_all_that_is_in_the_store_can_be_verified(filled):
    store, tree = filled
    orphan = store.add_bytes(b"needed by nobody")
    assert verify(store).of == 43
    flip(store, orphan)
    name = store.read_tree(tree)["empty"]
    store.path_of(name).unlink()
    problems = {problem.name: problem for problem in verify(store).problems}
    assert problems.keys() == {orphan, name}
    assert problems[orphan].needed_by == ()
    assert problems[name].needed_by == (Need(tree, "empty"),)


def test_versions_and_batches_say_what_to_verify(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    assert trees_of(db, [version.name]) == {version.name: version.tree}
    with pytest.raises(NotFound, match=r"lamps_v9\.0"):
        trees_of(db, [version.name, "lamps_v9.0"])
    (tmp_path / "arrived").mkdir()
    (tmp_path / "arrived" / "n0.png").write_bytes((folder / "images" / "s001.png").read_bytes())
    batch = register_batch(db, store, version.dataset, tmp_path / "arrived", owner="ana")
    assert trees_of(db) == {version.name: version.tree, f"batch lamps/{batch.name}": batch.tree}
    assert verify(store, trees_of(db)).problems == ()


def test_a_version_is_repaired_and_restored(db, store, folder, tmp_path):
    version = snapshot(db, store, folder, owner="ana")
    remote = open_remote(str(tmp_path / "remote"))
    push(store, remote, [version.tree])
    flip(store, store.read_tree(version.tree)["images/s005.png"])
    with pytest.raises(Corrupted):
        restore(db, store, version.name, tmp_path / "back")
    report = verify(store, trees_of(db))
    assert report.problems[0].needed_by == (Need(version.name, "images/s005.png"),)
    repair(store, remote, report.problems)
    restore(db, store, version.name, tmp_path / "back")
    assert Store(tmp_path / "other").add_folder(tmp_path / "back")[0] == store.read_tree(version.tree)
    assert fetch(store, remote, [version.tree]).objects == 0
