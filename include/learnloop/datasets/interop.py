"""To and from plain DVC repositories: a version as a ``.dvc`` file, a tracked folder as a version."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import yaml
from sqlalchemy.orm import Session

from learnloop.database import DatasetVersion
from learnloop.datasets.contents import config_of
from learnloop.datasets.locks import writing
from learnloop.datasets.remotes.base import Progress
from learnloop.datasets.remotes.folder import FolderRemote
from learnloop.datasets.remotes.parallel import JOBS
from learnloop.datasets.remotes.transfer import fetch
from learnloop.datasets.schema import CONFIG_FILE, DatasetConfig, parse_config
from learnloop.datasets.store import Store
from learnloop.datasets.tree import Tree, loads
from learnloop.datasets.versions import commit, committed, ensure_dataset, head_of, run_key
from learnloop.errors import Corrupted, InvalidDataset, InvalidInput, NotFound, Unavailable


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
    values = {"url": address, "endpointurl": endpoint_url, "region": region, "verify": "true"}
    if unsafe := [value for value in (*values.values(), name) if any(mark in value for mark in "\r\n\"'#")]:
        raise InvalidInput(f"{unsafe[0]!r} cannot stand in DVC's configuration: it holds a quote, a # or a line break")
    if "://" not in address:
        values |= {"endpointurl": "", "region": "", "verify": "true"}
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
        where = {"repo": _without_credentials(repository), "rev": _commit_of(repo, rev), "path": path}
        _bring(store, repo, out, name, jobs, progress)
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
    with writing(session, dataset, owner, f"import of {where['path']} from {where['repo']}") as lock:
        head = head_of(session, dataset)
        if head is not None and head.tree == name:
            return head
        previous = None if head is None else config_of(store, head)
        version = commit(
            session,
            dataset,
            name,
            files=len(tree),
            bytes=store.total_size(tree),
            owner=owner,
            message=message or f"{where['path']} of {where['repo']} at {where['rev'] or 'its working tree'}",
            provenance={"kind": "import", "run_id": run_id, **where},
            parents=[] if head is None else [head],
            expected_head_id=dataset.head_id,
            token=lock.token,
            bump=_bump(previous, config),
            idempotency_key=key,
        )
        dataset.description = config.description
        if previous is None or previous.stored_loop() != config.stored_loop():
            dataset.loop = config.stored_loop()
        session.flush()
        return version


def _bump(previous: DatasetConfig | None, config: DatasetConfig) -> Literal["minor", "major"]:
    if previous is None:
        return "minor"
    same = (previous.task_type, previous.classes, previous.image) == (config.task_type, config.classes, config.image)
    return "minor" if same else "major"


@contextmanager
def _tracked(repository: str, path: str, rev: str | None) -> Iterator[tuple[Any, Any]]:
    """The repository at the revision, and DVC's record of the folder."""
    from dvc.exceptions import DvcException, NotDvcRepoError, OutputNotFoundError
    from dvc.repo import Repo
    from dvc.scm import RevError, SCMError

    shown = _without_credentials(repository)
    try:
        repo = Repo.open(repository, rev=rev)
    except NotDvcRepoError as error:
        raise NotFound(f"{shown} is not a DVC repository: give the folder or the git URL that holds .dvc") from error
    except RevError as error:
        raise NotFound(f"{shown} has no revision {rev!r}: give a branch, a tag or a commit") from error
    except (SCMError, DvcException) as error:
        raise NotFound(f"{shown} cannot be opened as a git repository: check the address and {rev!r}") from error
    with repo:
        try:
            out = repo.find_outs_by_path(repo.fs.join(repo.root_dir, path))[0]
        except OutputNotFoundError as error:
            raise NotFound(
                f"{shown} tracks no {path!r} at {rev or 'its working tree'}: give the path that `dvc add` was given"
            ) from error
        hashed = out.hash_info
        if hashed is None or not hashed.isdir:
            raise InvalidInput(f"{path} of {shown} is not a folder that DVC has hashed: a dataset is a tracked folder")
        if hashed.name != "md5":
            raise InvalidInput(
                f"{path} of {shown} is tracked by {hashed.name}, not md5: run `dvc cache migrate --dvc-files` there"
            )
        yield repo, out


def _bring(store: Store, repo: Any, out: Any, name: str, jobs: int, progress: Progress | None) -> None:
    """Bring the tree and its files: from the repository's cache when it has all, else through its remote."""
    cache = FolderRemote(Path(repo.cache.local.path).parent.parent)
    try:
        fetch(store, cache, [name], jobs=jobs, progress=progress)
        return
    except NotFound:
        pass  # not all is there; its remote may have the rest
    # DVC writes what it pulls to its cache before it can be checked: let it be a scratch one, and read from that.
    scratch = store.root / "tmp" / f"dvc-{uuid.uuid4().hex}"
    try:
        _pull(repo, out, scratch, jobs)
        for place in (cache, FolderRemote(scratch)):
            _take(store, place, name)
        fetch(store, FolderRemote(scratch), [name], jobs=jobs, progress=progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
