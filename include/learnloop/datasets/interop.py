"""To and from plain DVC repositories: a version as a ``.dvc`` file, a tracked folder as a version."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.remotes.base import Progress, Source
from learnloop.datasets.remotes.folder import FolderRemote
from learnloop.datasets.remotes.fs import FsspecRemote
from learnloop.datasets.remotes.parallel import JOBS
from learnloop.datasets.remotes.transfer import fetch
from learnloop.datasets.roots import hold
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree
from learnloop.datasets.versions import commit_head, committed, ensure_dataset, head_of, run_key
from learnloop.errors import InvalidDataset, InvalidInput, NotFound, Unavailable


def dvc_file(version: DatasetVersion, path: str | None = None) -> str:
    """The text of ``{path}.dvc``: put it into a DVC repository, and ``dvc pull`` brings the version to ``path``.

    Args:
        path: the folder's name beside the file; the dataset's name unless given.
    """
    path = version.dataset.name if path is None else path
    if path in ("", ".", "..") or "/" in path:
        raise InvalidInput(f"{path!r} cannot be the name of a folder beside its .dvc file: give one name, without /")
    out = {"md5": version.tree, "size": version.bytes, "nfiles": version.files, "hash": "md5", "path": path}
    return yaml.safe_dump({"outs": [out]}, sort_keys=False, allow_unicode=True)


def remote_config(address: str, *, endpoint_url: str = "", region: str = "", name: str = "learnloop") -> str:
    """The text that makes ``dvc pull`` in a plain repository read from our remote: append it to ``.dvc/config``.

    It holds no credentials: DVC takes those of S3 from where AWS's tools do. Hand out keys that can only read:
    DVC has no read-only remotes, and a ``dvc gc --cloud`` with keys that can write would remove from the remote
    whatever that one repository does not use.
    """
    # Pulled bytes are hashed, as DVC by itself does not for every remote.
    values = {"url": address, "endpointurl": endpoint_url, "region": region, "verify": "true"}
    if unsafe := [value for value in (*values.values(), name) if any(mark in value for mark in "\r\n\"'#")]:
        raise InvalidInput(f"{unsafe[0]!r} cannot stand in DVC's configuration: it holds a quote, a # or a line break")
    lines = [f"    {key} = {value}" for key, value in values.items() if value]
    return "\n".join(["[core]", f"    remote = {name}", f"['remote \"{name}\"']", *lines]) + "\n"


def import_dvc(
    session: Session,
    store: Store,
    repository: str,
    path: str,
    rev: str | None = None,
    *,
    owner: str,
    message: str = "",
    run_id: str = "",
    jobs: int = JOBS,
    progress: Progress | None = None,
) -> DatasetVersion:
    """Make a folder that a DVC repository tracks, as it is at a git revision, the newest version of its dataset.

    The version's tree is the original's ``.dir`` object. What the repository's cache has is taken from there, the
    rest from its remote, with the credentials of the repository's configuration; all of it is hashed on the way.

    Args:
        repository: a path, or the URL of a git repository.
        path: the tracked folder, relative to the repository's root; with a ``dataset.yaml`` in it.
        rev: branch, tag or commit; None for the working tree of a path, or the default branch of a URL.
        run_id: a second call with the same one returns the version that the first one made.

    Raises:
        NotFound: no such repository, revision or tracked folder.
        InvalidDataset: it has no proper ``dataset.yaml``.
        InvalidInput: it is no folder, or is tracked by something other than md5.
        Unavailable: its remote does not give what its cache lacks.
        Locked: somebody holds the dataset's write lock.
    """
    with _tracked(repository, path, rev) as (repo, out):
        name = out.hash_info.value
        where = {"repo": _without_credentials(repository), "rev": _commit_of(repo), "path": path}
        fetch(store, _CacheOrRemote(repo, out, where["repo"]), [name], jobs=jobs, progress=progress)
    tree = store.read_tree(name)
    if CONFIG_FILE not in tree:
        raise InvalidDataset(
            f"{path} of {where['repo']} has no {CONFIG_FILE}: add one (name, task_type, classes), `dvc add` the folder"
            " and import it again"
        )
    config = parse_config(store.read(tree[CONFIG_FILE]), f"{path}/{CONFIG_FILE} of {where['repo']}")
    return _commit(session, store, config, name, tree, where, owner=owner, message=message, run_id=run_id)


def _commit(
    session: Session,
    store: Store,
    config: DatasetConfig,
    name: str,
    tree: Tree,
    where: dict[str, str],
    *,
    owner: str,
    message: str,
    run_id: str,
) -> DatasetVersion:
    key = run_key("import", config.name, run_id)
    if (earlier := committed(session, key)) is not None:
        return earlier
    dataset = ensure_dataset(session, config, owner)
    hold(session, store, name)
    with writing(session, dataset, owner, f"import of {where['path']} from {where['repo']}") as lock:
        head = head_of(session, dataset)
        if head is not None and head.tree == name:
            return head
        return commit_head(
            session,
            dataset,
            name,
            config=config,
            previous=None if head is None else config_of(store, head),
            parents=[] if head is None else [head],
            token=lock.token,
            idempotency_key=key,
            files=len(tree),
            bytes=store.total_size(tree),
            owner=owner,
            message=message or f"{where['path']} of {where['repo']} at {where['rev'] or 'its working tree'}",
            provenance={"kind": "import", "run_id": run_id, **where},
        )


@contextmanager
def _tracked(repository: str, path: str, rev: str | None) -> Iterator[tuple[Any, Any]]:
    """The repository at the revision, and DVC's record of the folder."""
    from dvc.exceptions import DvcException, NotDvcRepoError, OutputNotFoundError
    from dvc.repo import Repo
    from dvc.scm import RevError

    shown = _without_credentials(repository)
    try:
        repo = Repo.open(repository, rev=rev)
    except NotDvcRepoError as error:
        raise NotFound(f"{shown} is not a DVC repository: give the folder or the git URL that holds .dvc") from error
    except RevError as error:
        raise NotFound(f"{shown} has no revision {rev!r}: give a branch, a tag or a commit") from error
    except DvcException as error:
        raise NotFound(
            f"{shown} is not a DVC repository, nor the URL of a git repository that holds one and can be cloned:"
            " check the address, and that the service may read it"
        ) from error
    with repo:
        try:
            out = repo.find_outs_by_path(repo.fs.join(repo.root_dir, path))[0]
        except OutputNotFoundError as error:
            raise NotFound(
                f"{shown} tracks no {path!r} at {rev or 'its working tree'}: give the path that `dvc add` was given"
            ) from error
        hashed = out.hash_info
        if not hashed or not hashed.isdir:
            raise InvalidInput(f"{path} of {shown} is not a folder that DVC has hashed: a dataset is a tracked folder")
        if hashed.name != "md5":
            raise InvalidInput(
                f"{path} of {shown} is tracked by {hashed.name}, not md5: run `dvc cache migrate --dvc-files` there"
            )
        yield repo, out


class _CacheOrRemote:
    """The repository's objects, to read from: of its cache, else of the remote that it keeps this folder at."""

    def __init__(self, repo: Any, out: Any, shown: str) -> None:
        self.address = shown
        self._repo = repo
        self._remote_name = out.remote
        self._cache = FolderRemote(Path(repo.cache.local.path).parent.parent)
        self._finding = threading.Lock()
        self._found: Source | None = None

    def check(self, *, writing: bool) -> None:
        return None

    def held(self, names: Collection[str]) -> dict[str, int]:
        return self._cache.held(names)

    def get(self, name: str, target: Path) -> None:
        try:
            self._cache.get(name, target)
        except NotFound:
            self._remote(name).get(name, target)

    def _remote(self, name: str) -> Source:
        from dvc.config import NoRemoteError
        from dvc.exceptions import DvcException

        with self._finding:
            if self._found is None:
                try:
                    found = self._repo.cloud.get_remote_odb(self._remote_name, hash_name="md5")
                except NoRemoteError as error:
                    raise self._lacking(name) from error
                except DvcException as error:
                    raise Unavailable(f"the remote of {self.address} cannot be used: {error}") from error
                root = Path(found.path.removesuffix("/files/md5"))
                if found.fs.protocol != "local":
                    address = f"the remote of {self.address}"
                    self._found = FsspecRemote.over(found.fs.fs, found.path.removesuffix("/files/md5"), address)
                elif root == self._cache.root:  # what DVC gives a repository that has no remote
                    raise self._lacking(name)
                else:
                    self._found = FolderRemote(root)
            return self._found

    def _lacking(self, name: str) -> NotFound:
        return NotFound(
            f"object {name} is not in the cache of {self.address}, which has no remote at this revision:"
            " push it to a remote that the revision's .dvc/config names, or import where its files are"
        )


def _commit_of(repo: Any) -> str:
    """The commit that is read; empty when that is a working tree."""
    from dvc.fs import GitFileSystem

    return str(repo.get_rev()) if isinstance(repo.fs, GitFileSystem) else ""


def _without_credentials(repository: str) -> str:
    """A git URL less its user and password; a path as it is."""
    parts = urlsplit(repository)
    if not parts.scheme or "@" not in parts.netloc:
        return repository
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
