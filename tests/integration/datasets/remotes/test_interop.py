"""The stock DVC, in plain repositories, agrees with us: it pulls our versions, and we import what it tracks."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from dataset_folders import write_dataset
from remote_places import remote_of

from learnloop.datasets.files import list_files
from learnloop.datasets.interop import dvc_file, import_dvc, remote_config
from learnloop.datasets.remotes import open_remote, push, verify
from learnloop.datasets.snapshot import snapshot
from learnloop.datasets.store import Store
from learnloop.errors import Corrupted, InvalidDataset, InvalidInput, NotFound


class Repository:
    """A plain git and DVC repository in which commands are typed."""

    def __init__(self, root):
        self.root = root
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root.parent / f"site-{root.name}"),
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
        }  # fmt: skip
        root.mkdir()
        self.git("init", "-q")
        self.dvc("init", "-q")

    def run(self, *command):
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def git(self, *arguments):
        return self.run("git", *arguments)

    def dvc(self, *arguments):
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        return self.git("rev-parse", "HEAD")

    def configure(self, text):
        with (self.root / ".dvc" / "config").open("a") as config:
            config.write(text)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "plain")


def files_in(folder):
    return {path: (folder / path).read_bytes() for path in list_files(folder)}


def read_only_config(place, repository):
    """Our remote for a stranger: on S3 with keys that can only read."""
    if not hasattr(place, "s3"):
        return remote_config(place.address)
    key, secret = place.s3.reader().keys
    repository.environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    return remote_config(place.address, endpoint_url=place.s3.endpoint, region="us-east-1")


def test_the_stock_dvc_pulls_a_version_and_agrees_about_it(db, store, folder, place, repository):
    version = snapshot(db, store, folder, owner="ana")
    push(store, remote_of(place), [version.tree])
    (repository.root / "lamps.dvc").write_text(dvc_file(version))
    repository.configure(read_only_config(place, repository))
    repository.dvc("pull", "-q")
    assert files_in(repository.root / "lamps") == files_in(folder)
    assert "up to date" in repository.dvc("status")
    assert "in sync" in repository.dvc("status", "--cloud")
    (repository.root / "lamps" / "dataset.yaml").write_text("changed")
    assert "modified" in repository.dvc("status")
    repository.dvc("checkout", "-q", "--force")
    assert files_in(repository.root / "lamps") == files_in(folder)
    # What it would write itself is what we wrote.
    shutil.move(repository.root / "lamps.dvc", repository.root / "ours")
    repository.dvc("add", "-q", "lamps")
    theirs, ours = (yaml.safe_load((repository.root / name).read_text()) for name in ("lamps.dvc", "ours"))
    assert theirs == ours


def test_the_stock_gc_cannot_empty_a_remote_given_with_keys_that_only_read(db, store, folder, s3, repository, tmp_path):
    from remote_places import S3Place

    place = S3Place(s3)
    version = snapshot(db, store, folder, owner="ana")
    push(store, remote_of(place), [version.tree])
    held = place.objects()
    repository.configure(read_only_config(place, repository))
    gc = [sys.executable, "-m", "dvc", "gc", "--workspace", "--cloud", "--force"]
    subprocess.run(gc, cwd=repository.root, env=repository.environment, capture_output=True, text=True, timeout=100)
    assert place.objects() == held  # though DVC does not say that it was refused
    # With keys that can write it does: so they are not given out. A push brings everything back.
    key, secret = s3.keys
    repository.environment |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    repository.dvc(*gc[3:])
    assert place.objects() == {}
    push(store, remote_of(place), [version.tree])
    assert place.objects() == held


def test_a_name_that_cannot_be_is_refused(db, store, folder):
    version = snapshot(db, store, folder, owner="ana")
    assert yaml.safe_load(dvc_file(version, "größe"))["outs"][0]["path"] == "größe"
    for path in ("", "..", "a/b"):
        with pytest.raises(InvalidInput, match="one name"):
            dvc_file(version, path)
    with pytest.raises(InvalidInput, match="line break"):
        remote_config("/data\n[core]")


@pytest.fixture
def tracked(repository):
    """A repository with a tracked dataset in two revisions; the second adds a file. The commits of both."""
    write_dataset(repository.root / "data" / "lamps")
    repository.dvc("add", "-q", "data/lamps")
    first = repository.commit()
    (repository.root / "data" / "lamps" / "more").write_bytes(b"more")
    repository.dvc("add", "-q", "data/lamps")
    return repository, first, repository.commit()


def hash_at(repository, commit):
    return yaml.safe_load(repository.git("show", f"{commit}:data/lamps.dvc"))["outs"][0]["md5"]


def test_a_tracked_folder_is_imported_at_a_revision(db, store, tracked):
    repository, first, second = tracked
    version = import_dvc(db, store, str(repository.root), "data/lamps", first, owner="ana", run_id="r1")
    assert (version.tree, version.name) == (hash_at(repository, first), "lamps_v1.0")
    where = {"kind": "import", "run_id": "r1", "repo": str(repository.root), "rev": first, "path": "data/lamps"}
    assert version.provenance == where
    assert verify(store, {version.name: version.tree}).problems == ()
    assert import_dvc(db, store, str(repository.root), "data/lamps", second, owner="ana", run_id="r1") is version
    grown = import_dvc(db, store, str(repository.root), "data/lamps", "HEAD", owner="ana")
    assert (grown.tree, grown.parents) == (hash_at(repository, second), [version])
    assert (grown.provenance["rev"], grown.files) == (second, version.files + 1)
    assert import_dvc(db, store, str(repository.root), "data/lamps", owner="ben") is grown


def test_what_the_cache_lacks_comes_from_its_remote(db, store, tracked, place):
    repository, _, _ = tracked
    s3 = getattr(place, "s3", None)
    extra = []
    if s3 is not None:
        extra = [["endpointurl", s3.endpoint], ["access_key_id", s3.keys[0]], ["secret_access_key", s3.keys[1]]]
    repository.dvc("remote", "add", "-q", "-d", "origin", place.address)
    for option in extra:
        repository.dvc("remote", "modify", "-q", "--local", "origin", *option)
    repository.dvc("push", "-q")
    at = repository.commit()
    cache = Store(repository.root / ".dvc" / "cache")
    for name in [
        hash_at(repository, at),
        cache.add_bytes((repository.root / "data/lamps/dataset.yaml").read_bytes()),
    ]:
        cache.path_of(name).chmod(0o644)
        cache.path_of(name).unlink()
    version = import_dvc(db, store, str(repository.root), "data/lamps", at, owner="ana")
    assert version.tree == hash_at(repository, at)
    assert verify(store, {version.name: version.tree}).problems == ()


def test_a_repository_is_imported_from_its_git_url(db, store, tracked, tmp_path):
    repository, _, second = tracked
    repository.dvc("remote", "add", "-q", "-d", "origin", str(tmp_path / "theirs"))
    repository.dvc("push", "-q")
    at = repository.commit()
    shutil.rmtree(repository.root / ".dvc" / "cache")
    version = import_dvc(db, store, f"file://{repository.root}", "data/lamps", owner="ana")
    assert (version.tree, version.provenance["rev"]) == (hash_at(repository, second), at)


def test_what_cannot_be_imported_is_said_and_changes_nothing(db, store, tracked, tmp_path):
    repository, first, _ = tracked
    root = str(repository.root)
    with pytest.raises(NotFound, match="not a DVC repository"):
        import_dvc(db, store, str(tmp_path), "data/lamps", owner="ana")
    with pytest.raises(NotFound, match="no revision 'nope'"):
        import_dvc(db, store, root, "data/lamps", "nope", owner="ana")
    with pytest.raises(NotFound, match="tracks no 'data/other'"):
        import_dvc(db, store, root, "data/other", first, owner="ana")
    (repository.root / "single").write_bytes(b"x")
    repository.dvc("add", "-q", "single")
    with pytest.raises(InvalidInput, match="not a folder"):
        import_dvc(db, store, root, "single", owner="ana")
    assert not store.root.exists()
    (repository.root / "bare").mkdir()
    (repository.root / "bare" / "file").write_bytes(b"no description")
    repository.dvc("add", "-q", "bare")
    with pytest.raises(InvalidDataset, match=r"has no dataset.yaml: add one"):
        import_dvc(db, store, root, "bare", owner="ana")
    cache = Store(repository.root / ".dvc" / "cache")
    gone = cache.read_tree(hash_at(repository, first))["dataset.yaml"]
    cache.path_of(gone).unlink()
    with pytest.raises(NotFound, match=f"{gone} is not in the cache .* which has no remote"):
        import_dvc(db, store, root, "data/lamps", first, owner="ana")
    cache.path_of(gone).write_bytes(b"lie")
    with pytest.raises(Corrupted, match=gone):
        import_dvc(db, store, root, "data/lamps", first, owner="ana")


def test_credentials_in_a_git_url_are_told_to_nobody(db, store):
    with pytest.raises(NotFound) as refusal:
        import_dvc(db, store, "https://ana:hunter2@127.0.0.1:9/x.git", "data", owner="ana")
    assert "hunter2" not in str(refusal.value)
    assert "127.0.0.1:9/x.git" in str(refusal.value)


def test_our_remote_needs_nothing_of_us_to_be_read(db, store, folder, tmp_path):
    """A folder that only holds what was pushed is a whole cache for the stock DVC."""
    version = snapshot(db, store, folder, owner="ana")
    push(store, open_remote(str(tmp_path / "remote")), [version.tree])
    assert Store(tmp_path / "remote").read_tree(version.tree) == store.read_tree(version.tree)
