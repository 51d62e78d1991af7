"""What the client does with data: versions, locks, merges, workspaces, storage. Part of ``learnloop.client``.

``progress`` is called with (done, total) while the server works. Answers are the API's JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx

Progress = Callable[[int, int], None]
Json = dict[str, Any]


def part(name: str) -> str:
    """A name as one part of a path: whatever it holds, it cannot lead to another route."""
    return quote(name, safe="") if name.strip(".") else "%2E" * len(name)


class DataMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _get(self, path: str, **params: Any) -> Any: ...
        def _text(self, path: str) -> str: ...
        def _stream(self, path: str, body: Json, progress: Progress | None) -> Json: ...
        def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...
        def _show(self, path: str) -> Json: ...
        def _write(
            self, path: str, body: Json, key: str | None = None, if_match: str | None = None
        ) -> httpx.Response: ...
        def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...

    # --- versions ---

    def snapshot(self, path: str, message: str = "", *, progress: Progress | None = None) -> Json:
        """Make a version of a folder on the server's machine."""
        return self._stream("/snapshots", {"path": path, "message": message}, progress)

    def version(self, name: str) -> Json:
        """One version: who made it, when, of what."""
        return dict(self._get(f"/versions/{part(name)}"))

    def lineage(self, name: str) -> Json:
        """What a version was made from, and what of it."""
        return dict(self._get(f"/versions/{part(name)}/lineage"))

    def diff(self, before: str, after: str, *, limit: int = 100) -> Json:
        """What differs between two versions, by file and by record; at most ``limit`` of each."""
        return dict(self._get(f"/versions/{part(before)}/diff/{part(after)}", limit=limit))

    def restore(self, name: str, target: str, *, writable: bool = True, progress: Progress | None = None) -> Json:
        """Put a version's files into a folder on the server's machine, whole or not at all."""
        return self._stream(f"/versions/{part(name)}/restore", {"target": target, "writable": writable}, progress)

    def revert(self, name: str, message: str = "") -> Json:
        """Make a new version with the content of an old one."""
        return dict(self._write(f"/versions/{part(name)}/revert", {"message": message}).json())

    def delete_version(self, name: str, *, dry_run: bool = False) -> Json:
        """Delete a version; with ``dry_run`` only say what would go, or what is in the way."""
        return self._delete(f"/versions/{part(name)}", dry_run=dry_run)

    # --- locks ---

    def locks(self, dataset: str) -> Json:
        """The live leases of a dataset, the line for its write lock, and its open branches."""
        return dict(self._get(f"/datasets/{part(dataset)}/locks"))

    def lock(
        self,
        dataset: str,
        *,
        seconds: int = 3600,
        purpose: str = "",
        wait: bool = False,
        priority: int = 0,
        key: str = "",
    ) -> Json:
        """Take the write lock; its ``token`` is the answer's. With ``wait`` and no lock yet, a ``position`` in line."""
        body = {"seconds": seconds, "purpose": purpose, "wait": wait, "priority": priority, "key": key}
        return dict(self._write(f"/datasets/{part(dataset)}/lock", body).json())

    def renew_lock(self, dataset: str, token: int, *, seconds: int = 3600) -> Json:
        """Let a held lock last ``seconds`` from now; StaleToken when it is no longer held."""
        return dict(self._write(f"/datasets/{part(dataset)}/lock/{token}/renew", {"seconds": seconds}).json())

    def leave_line(self, dataset: str, request_id: int) -> bool:
        """Give one's place in line up; ``request_id`` is what `lock` with ``wait`` gave."""
        return bool(self._delete(f"/datasets/{part(dataset)}/line/{request_id}")["withdrawn"])

    def unlock(self, dataset: str, token: int) -> bool:
        """Give a write lock back; False when it had gone already."""
        return bool(self._delete(f"/datasets/{part(dataset)}/lock/{token}")["released"])

    # --- merges ---

    def merge(self, version: str, *, strategy: str | None = None, message: str = "") -> Json:
        """Merge a version into the head: a merge request, done at once where there is no conflict or a ``strategy``."""
        return dict(self._write("/merges", {"version": version, "strategy": strategy, "message": message}).json())

    def merges(self, dataset: str, *, state: str = "open") -> list[Json]:
        """A dataset's merge requests in a state."""
        return self._all(f"/datasets/{part(dataset)}/merges", state=state)

    def merge_request(self, merge_id: int) -> Json:
        """A merge with its conflicts; ``etag`` is what `answer_merge` and `cancel_merge` take as ``if_match``."""
        return self._show(f"/merges/{merge_id}")

    def answer_merge(
        self,
        merge_id: int,
        answers: Mapping[int, str],
        *,
        strategy: str | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Answer conflicts. With ``if_match``, PreconditionFailed when somebody changed the merge since."""
        body = {"answers": dict(answers), "strategy": strategy}
        return dict(self._write(f"/merges/{merge_id}/answers", body, if_match=if_match).json())

    def cancel_merge(self, merge_id: int, *, if_match: str | None = None) -> Json:
        """Cancel an open merge request; with ``if_match`` only if it is still what one saw."""
        return self._delete(f"/merges/{merge_id}", if_match)

    def dvc_file(self, name: str) -> str:
        """A version as a ``.dvc`` file, for the stock ``dvc pull``."""
        return self._text(f"/versions/{part(name)}/dvc")

    # --- workspaces ---

    def workspaces(self) -> list[Json]:
        """One's own workspaces."""
        return list(self._get("/workspaces")["items"])

    def create_workspace(
        self, version: str, name: str, *, days: float | None = None, progress: Progress | None = None
    ) -> Json:
        """Check a version out into a private workspace, for so many ``days``."""
        return self._stream("/workspaces", {"version": version, "name": name, "days": days}, progress)

    def workspace_changes(self, name: str) -> Json:
        """What differs from the version that a workspace was made of."""
        return dict(self._get(f"/workspaces/{part(name)}/changes"))

    def commit_workspace(self, name: str, message: str = "", *, token: int | None = None) -> Json:
        """Make a version of a workspace: personal, or with the write lock's ``token`` the dataset's head."""
        return self._stream(f"/workspaces/{part(name)}/commit", {"message": message, "token": token}, None)

    def discard_workspace(self, name: str) -> bool:
        """Remove a workspace with what is in it; False when it had gone already."""
        return bool(self._delete(f"/workspaces/{part(name)}")["discarded"])

    # --- storage ---

    def space(self) -> Json:
        """Bytes by tier, dataset and user."""
        return dict(self._get("/storage/space"))

    def gc(
        self,
        *,
        dry_run: bool = False,
        grace_hours: float = 48,
        remote: bool = False,
        progress: Progress | None = None,
    ) -> Json:
        """Remove objects that nothing needs and that are older than ``grace_hours``, from the store or the ``remote``."""
        body = {"dry_run": dry_run, "grace_hours": grace_hours, "remote": remote}
        return self._stream("/storage/gc", body, progress)

    def verify(
        self,
        versions: Sequence[str] = (),
        *,
        sample: int | None = None,
        repair: bool = False,
        progress: Progress | None = None,
    ) -> Json:
        """Read the objects of versions (none named: of all), or a ``sample`` of so many; ``repair`` from the remote."""
        body = {"versions": list(versions), "sample": sample, "repair": repair}
        return self._stream("/storage/verify", body, progress)

    def push(self, versions: Sequence[str] = (), *, progress: Progress | None = None) -> Json:
        """Copy what the remote lacks of versions (none named: of all)."""
        return self._stream("/storage/push", {"versions": list(versions)}, progress)

    def fetch(self, versions: Sequence[str] = (), *, progress: Progress | None = None) -> Json:
        """Bring what the store lacks of versions (none named: of all)."""
        return self._stream("/storage/fetch", {"versions": list(versions)}, progress)
