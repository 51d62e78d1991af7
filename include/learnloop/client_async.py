"""The client of ``learnloop.client`` for asyncio: the same methods, each awaited.

    async with await AsyncLearnloopClient.login("http://127.0.0.1:8080", "annotator", password) as client:
        task = await client.claim("digits")

Made from the client's modules by `make client`: change those.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from learnloop.client import (
    API,
    BACKOFF_SECONDS,
    LONGEST_WAIT_SECONDS,
    RETRIED,
    TRIES,
    DatasetInfo,
    ProgressInfo,
    SessionInfo,
    Task,
    _error,
    _of_problem,
)
from learnloop.client_data import Json, Progress, part
from learnloop.client_events import RECONNECT_SECONDS, REOPENED
from learnloop.client_exchange import WholeFile
from learnloop.errors import NotAuthenticated, Unavailable
from learnloop.traces import context


async def server_sent(lines: AsyncIterable[str]) -> AsyncIterator[Json]:
    """Parse server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) whose data is JSON.

    Yields ``{"event", "id", "data"}``; comments and events without data are left out.
    """
    kind, identity, data = ("message", "", list[str]())
    async for line in lines:
        if not line:
            if data:
                yield {"event": kind, "id": identity, "data": json.loads("\n".join(data))}
            kind, data = ("message", [])
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "id":
            identity = value
        elif field == "data":
            data.append(value)


class AsyncDataMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        async def _get(self, path: str, **params: Any) -> Any: ...

        async def _text(self, path: str) -> str: ...

        async def _stream(self, path: str, body: Json, progress: Progress | None) -> Json: ...

        async def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...

        async def _show(self, path: str) -> Json: ...

        async def _write(
            self, path: str, body: Json, key: str | None = None, if_match: str | None = None
        ) -> httpx.Response: ...

        async def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...

    async def snapshot(self, path: str, message: str = "", *, progress: Progress | None = None) -> Json:
        """Make a version of a folder on the server's machine."""
        return await self._stream("/snapshots", {"path": path, "message": message}, progress)

    async def version(self, name: str) -> Json:
        """One version: who made it, when, of what."""
        return dict(await self._get(f"/versions/{part(name)}"))

    async def lineage(self, name: str) -> Json:
        """What a version was made from, and what of it."""
        return dict(await self._get(f"/versions/{part(name)}/lineage"))

    async def diff(self, before: str, after: str, *, limit: int = 100) -> Json:
        """What differs between two versions, by file and by record; at most ``limit`` of each."""
        return dict(await self._get(f"/versions/{part(before)}/diff/{part(after)}", limit=limit))

    async def restore(self, name: str, target: str, *, writable: bool = True, progress: Progress | None = None) -> Json:
        """Put a version's files into a folder on the server's machine, whole or not at all."""
        return await self._stream(f"/versions/{part(name)}/restore", {"target": target, "writable": writable}, progress)

    async def revert(self, name: str, message: str = "") -> Json:
        """Make a new version with the content of an old one."""
        return dict((await self._write(f"/versions/{part(name)}/revert", {"message": message})).json())

    async def delete_version(self, name: str, *, dry_run: bool = False) -> Json:
        """Delete a version; with ``dry_run`` only say what would go, or what is in the way."""
        return await self._delete(f"/versions/{part(name)}", dry_run=dry_run)

    async def locks(self, dataset: str) -> Json:
        """The live leases of a dataset, the line for its write lock, and its open branches."""
        return dict(await self._get(f"/datasets/{part(dataset)}/locks"))

    async def lock(
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
        return dict((await self._write(f"/datasets/{part(dataset)}/lock", body)).json())

    async def renew_lock(self, dataset: str, token: int, *, seconds: int = 3600) -> Json:
        """Let a held lock last ``seconds`` from now; StaleToken when it is no longer held."""
        return dict((await self._write(f"/datasets/{part(dataset)}/lock/{token}/renew", {"seconds": seconds})).json())

    async def leave_line(self, dataset: str, request_id: int) -> bool:
        """Give one's place in line up; ``request_id`` is what `lock` with ``wait`` gave."""
        return bool((await self._delete(f"/datasets/{part(dataset)}/line/{request_id}"))["withdrawn"])

    async def unlock(self, dataset: str, token: int) -> bool:
        """Give a write lock back; False when it had gone already."""
        return bool((await self._delete(f"/datasets/{part(dataset)}/lock/{token}"))["released"])

    async def merge(self, version: str, *, strategy: str | None = None, message: str = "") -> Json:
        """Merge a version into the head: a merge request, done at once where there is no conflict or a ``strategy``."""
        return dict(
            (await self._write("/merges", {"version": version, "strategy": strategy, "message": message})).json()
        )

    async def merges(self, dataset: str, *, state: str = "open") -> list[Json]:
        """A dataset's merge requests in a state."""
        return await self._all(f"/datasets/{part(dataset)}/merges", state=state)

    async def merge_request(self, merge_id: int) -> Json:
        """A merge with its conflicts; ``etag`` is what `answer_merge` and `cancel_merge` take as ``if_match``."""
        return await self._show(f"/merges/{merge_id}")

    async def answer_merge(
        self, merge_id: int, answers: Mapping[int, str], *, strategy: str | None = None, if_match: str | None = None
    ) -> Json:
        """Answer conflicts. With ``if_match``, PreconditionFailed when somebody changed the merge since."""
        body = {"answers": dict(answers), "strategy": strategy}
        return dict((await self._write(f"/merges/{merge_id}/answers", body, if_match=if_match)).json())

    async def cancel_merge(self, merge_id: int, *, if_match: str | None = None) -> Json:
        """Cancel an open merge request; with ``if_match`` only if it is still what one saw."""
        return await self._delete(f"/merges/{merge_id}", if_match)

    async def dvc_file(self, name: str) -> str:
        """A version as a ``.dvc`` file, for the stock ``dvc pull``."""
        return await self._text(f"/versions/{part(name)}/dvc")

    async def workspaces(self) -> list[Json]:
        """One's own workspaces."""
        return list((await self._get("/workspaces"))["items"])

    async def create_workspace(
        self, version: str, name: str, *, days: float | None = None, progress: Progress | None = None
    ) -> Json:
        """Check a version out into a private workspace, for so many ``days``."""
        return await self._stream("/workspaces", {"version": version, "name": name, "days": days}, progress)

    async def workspace_changes(self, name: str) -> Json:
        """What differs from the version that a workspace was made of."""
        return dict(await self._get(f"/workspaces/{part(name)}/changes"))

    async def commit_workspace(self, name: str, message: str = "", *, token: int | None = None) -> Json:
        """Make a version of a workspace: personal, or with the write lock's ``token`` the dataset's head."""
        return await self._stream(f"/workspaces/{part(name)}/commit", {"message": message, "token": token}, None)

    async def discard_workspace(self, name: str) -> bool:
        """Remove a workspace with what is in it; False when it had gone already."""
        return bool((await self._delete(f"/workspaces/{part(name)}"))["discarded"])

    async def space(self) -> Json:
        """Bytes by tier, dataset and user."""
        return dict(await self._get("/storage/space"))

    async def gc(
        self, *, dry_run: bool = False, grace_hours: float = 48, remote: bool = False, progress: Progress | None = None
    ) -> Json:
        """Remove objects that nothing needs and that are older than ``grace_hours``, from the store or the ``remote``."""
        body = {"dry_run": dry_run, "grace_hours": grace_hours, "remote": remote}
        return await self._stream("/storage/gc", body, progress)

    async def verify(
        self,
        versions: Sequence[str] = (),
        *,
        sample: int | None = None,
        repair: bool = False,
        progress: Progress | None = None,
    ) -> Json:
        """Read the objects of versions (none named: of all), or a ``sample`` of so many; ``repair`` from the remote."""
        body = {"versions": list(versions), "sample": sample, "repair": repair}
        return await self._stream("/storage/verify", body, progress)

    async def push(self, versions: Sequence[str] = (), *, progress: Progress | None = None) -> Json:
        """Copy what the remote lacks of versions (none named: of all)."""
        return await self._stream("/storage/push", {"versions": list(versions)}, progress)

    async def fetch(self, versions: Sequence[str] = (), *, progress: Progress | None = None) -> Json:
        """Bring what the store lacks of versions (none named: of all)."""
        return await self._stream("/storage/fetch", {"versions": list(versions)}, progress)


class AsyncEventMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        async def _get(self, path: str, **params: Any) -> Any: ...

        async def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...

        async def _put(self, path: str, body: Json, if_match: str | None = None) -> Any: ...

        async def _write(self, path: str, body: Json, key: str | None = None) -> httpx.Response: ...

        def _follow(self, path: str, headers: dict[str, str]) -> AsyncIterator[Json]: ...

    async def events(self, limit: int = 50) -> list[Json]:
        """The newest ``limit`` things that you were told."""
        return await self._all("/events", limit)

    async def follow_events(self, after: int | None = None) -> AsyncIterator[Json]:
        """What you are told, as it happens and for ever; from the event with the id ``after`` on, or from now.

        A stream that breaks is opened again, and misses nothing.
        """
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        if after is None and (newest := (await self.events(1))):
            headers = {"Last-Event-ID": str(newest[0]["id"])}
        async for event in self._again("/events/stream", headers):
            yield event["data"]

    async def run_progress(self, dag_id: str, run_id: str) -> Json:
        """The state of a run, of its tasks, and the progress of their jobs."""
        return dict(await self._get(f"/runs/{part(dag_id)}/{part(run_id)}/progress"))

    async def run_mounts(self, dag_id: str, run_id: str) -> list[Json]:
        """What the run's tasks chose for their mounts: ``cost``, ``currency``, ``choices``, ``explanation``."""
        return list((await self._get(f"/runs/{part(dag_id)}/{part(run_id)}/mounts"))["items"])

    async def run_usage(self, dag_id: str, run_id: str) -> list[Json]:
        """What the run's jobs used beside what they asked for, by try: processors, memory, GPUs; ``words`` says it."""
        return list((await self._get(f"/runs/{part(dag_id)}/{part(run_id)}/usage"))["items"])

    async def estimate_mounts(self, mounts: list[Json]) -> Json:
        """Which storage classes would be chosen for these mounts, what they would cost, and why; nothing is made."""
        return dict((await self._write("/mounts/estimate", {"mounts": mounts})).json())

    async def follow_run(self, dag_id: str, run_id: str) -> AsyncIterator[Json]:
        """Each task of a run whenever it changes, until the run has ended; last ``{dag_id, run_id, state}``."""
        async for event in self._again(f"/runs/{part(dag_id)}/{part(run_id)}/stream", {}):
            yield event["data"]
            if event["event"] == "run":
                return

    async def queue(self, limit: int = 200) -> list[Json]:
        """The jobs that run, then those that wait for their turn, next first, each with its place and why."""
        return await self._all("/queue", limit)

    async def capacity(self) -> Json:
        """What each node pool has, what others use of it, and what jobs hold."""
        return dict(await self._get("/capacity"))

    async def notifications(self) -> Json:
        """Where you are told of events: ``mail``, ``webhook``, ``kinds``."""
        return dict(await self._get("/session/notifications"))

    async def set_notifications(
        self, *, mail: str | None = None, webhook: str | None = None, kinds: Sequence[str] | None = None
    ) -> Json:
        """Where one is told of events beside the streams; None turns a way off. ``kinds`` left out: all."""
        body: Json = {"mail": mail, "webhook": webhook}
        return dict(
            await self._put("/session/notifications", body if kinds is None else {**body, "kinds": list(kinds)})
        )

    async def _again(self, path: str, headers: dict[str, str]) -> AsyncIterator[Json]:
        """``_follow``, and again from where it broke off. A server that stays away is told after a while."""
        failures = 0
        while True:
            try:
                async for event in self._follow(path, headers):
                    failures = 0
                    if event["id"]:
                        headers = {"Last-Event-ID": event["id"]}
                    yield event
            except Unavailable:
                failures += 1
                if failures >= REOPENED:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS)


class AsyncExchangeMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        def _download(self, path: str, params: Json) -> AsyncIterator[bytes]: ...

        async def _stream(
            self,
            path: str,
            body: Json | bytes,
            progress: Progress | None,
            method: str = "POST",
            params: Json | None = None,
        ) -> Json: ...

    async def import_tasks(
        self,
        dataset: str,
        path: str,
        batch: str,
        *,
        format: str | None = None,
        ignore_annotations: bool = False,
        progress: Progress | None = None,
    ) -> Json:
        """Make annotation tasks of a file on the server's machine: ``label-studio``, ``csv`` or ``parquet``, by default
        what its name ends with. All of it or nothing; again changes nothing. Returns how many rows became what.

        Raises:
            InvalidInput: with a list of what is wrong in which row.
        """
        body = {"path": path, "batch": batch, "format": format, "ignore_annotations": ignore_annotations}
        return await self._stream(f"/datasets/{part(dataset)}/tasks/import", body, progress)

    async def upload_tasks(
        self,
        dataset: str,
        content: bytes,
        batch: str,
        *,
        format: str,
        ignore_annotations: bool = False,
        filename: str | None = None,
        progress: Progress | None = None,
    ) -> Json:
        """`import_tasks` of a file's content: ``label-studio``, ``csv`` or ``parquet``.

        Args:
            filename: what errors call the file.

        Raises:
            BodyTooLarge: the server takes no file of that size; it can still read it where it is.
        """
        params = {"batch": batch, "format": format, "ignore_annotations": ignore_annotations}
        if filename is not None:
            params["filename"] = filename
        return await self._stream(f"/datasets/{part(dataset)}/tasks/upload", content, progress, params=params)

    async def export_annotations(
        self, dataset: str, target: Path, *, format: str = "label-studio", superseded: bool = False
    ) -> int:
        """Write the confirmed labels to a file here, whole or not at all; returns its size in bytes.

        Args:
            format: ``label-studio``, ``label-studio-config``, ``csv`` or ``parquet``.
        """
        file = WholeFile(target)
        try:
            async for chunk in self._download(
                f"/datasets/{part(dataset)}/annotations/export", {"format": format, "superseded": superseded}
            ):
                file.add(chunk)
            return file.keep()
        finally:
            file.drop()


class AsyncModelMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        async def _text(self, path: str) -> str: ...

        async def _get(self, path: str, **params: Any) -> Any: ...

        async def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...

        async def _put(self, path: str, body: Json) -> Any: ...

        async def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...

        async def _stream(self, path: str, body: Json, progress: Progress | None, method: str = "POST") -> Json: ...

    async def models(self) -> list[str]:
        """The names of all models."""
        return [str(item["name"]) for item in await self._all("/models")]

    async def model_versions(self, model: str, limit: int | None = None) -> list[Json]:
        """The newest ``limit`` versions, or all: ``version``, ``aliases``, ``metrics``, ``tags``, ``created_at``."""
        return await self._all(f"/models/{part(model)}/versions", limit)

    async def model_version(self, model: str, version: int) -> Json:
        """One version: figures, lineage, aliases, the verdict of the gate."""
        return dict(await self._get(f"/models/{part(model)}/versions/{version}"))

    async def model_report(self, model: str, version: int) -> str:
        """The report of a version, as HTML."""
        return await self._text(f"/models/{part(model)}/versions/{version}/report")

    async def keep_model(self, model: str, version: int, reason: str = "") -> Json:
        """Have a version stay, although a search did not choose it."""
        return dict(await self._put(f"/models/{part(model)}/versions/{version}/keep", {"reason": reason}))

    async def let_model_go(self, model: str, version: int) -> Json:
        """Have a version stay no longer than anything else needs it."""
        return await self._delete(f"/models/{part(model)}/versions/{version}/keep")

    async def compare_models(self, model: str, before: int, after: int) -> Json:
        """Two versions side by side: figures, and accuracy by class."""
        return dict(await self._get(f"/models/{part(model)}/compare/{before}/{after}"))

    async def decisions(self, model: str) -> list[Json]:
        """What was decided about a model, newest first."""
        return await self._all(f"/models/{part(model)}/decisions")

    async def deployments(self) -> list[Json]:
        """What should be served: alias, version, generation."""
        return await self._all("/deployments")

    async def promote(self, model: str, alias: str, version: int, reason: str = "") -> list[Json]:
        """Serve ``version`` as ``{model}:{alias}`` and as ``current``; returns when every server has it."""
        body = {"version": version, "reason": reason}
        return list((await self._stream(f"/deployments/{part(model)}/{part(alias)}", body, None, "PUT"))["moved"])

    async def roll_back(self, model: str, alias: str, *, seen: int | None = None, reason: str = "") -> list[Json]:
        """Serve again what was served before; with ``seen``, only if that is what is served now."""
        body = {"seen": seen, "reason": reason}
        return list((await self._stream(f"/deployments/{part(model)}/{part(alias)}/rollback", body, None))["moved"])

    async def set_canary(
        self, model: str, alias: str, version: int | None, *, percent: int = 0, reason: str = ""
    ) -> Json:
        """Have ``version`` answer ``percent`` of an alias's requests; None: the alias's own version answers all."""
        body = {"version": version, "percent": percent, "reason": reason}
        return dict(await self._put(f"/deployments/{part(model)}/{part(alias)}/canary", body))

    async def withdraw(self, model: str, alias: str) -> Json:
        """Serve nothing under an alias any more; versions stay. Returns what was there."""
        return await self._delete(f"/deployments/{part(model)}/{part(alias)}")

    async def policy_evaluations(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest answers of the training policy to whether a round is due."""
        return await self._all(f"/datasets/{part(dataset)}/policy/evaluations", limit)

    async def structure_searches(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest answers to whether the model's structure is still right, and what came of each."""
        return await self._all(f"/datasets/{part(dataset)}/structure/searches", limit)

    async def structure_search(self, dataset: str, search: int) -> Json:
        """One search, with all that was tried."""
        return dict(await self._get(f"/datasets/{part(dataset)}/structure/searches/{search}"))

    async def scoring_runs(self, dataset: str, limit: int = 50) -> list[Json]:
        """The newest passes of models over batches, with what was chosen of them."""
        return await self._all(f"/datasets/{part(dataset)}/scoring-runs", limit)

    async def accuracy(self, model: str) -> list[Json]:
        """How often each version was right about samples that were drawn at random for it, the newest first."""
        return list((await self._get(f"/models/{part(model)}/accuracy"))["items"])


class AsyncPipelineMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        async def _get(self, path: str, **params: Any) -> Any: ...

        async def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...

        async def _delete(self, path: str, if_match: str | None = None, **params: Any) -> Json: ...

        async def _write(
            self, path: str, body: Json, key: str | None = None, if_match: str | None = None
        ) -> httpx.Response: ...

        async def _post(self, path: str, body: Json | None = None) -> Json: ...

        def follow_run(self, dag: str, run_id: str) -> AsyncIterator[Json]: ...

    async def apply_pipeline(
        self, declaration: str | Json, message: str = "", *, personal: bool = False, dry_run: bool = False
    ) -> Json:
        """Keep a declaration (YAML or JSON, or what it stands for) as the newest version of its pipeline.

        Raises:
            InvalidInput: with a list of all that is wrong; nothing was changed.
        """
        text = declaration if isinstance(declaration, str) else json.dumps(declaration)
        body = {"declaration": text, "message": message, "personal": personal, "dry_run": dry_run}
        return dict((await self._write("/pipelines", body)).json())

    async def pipelines(self) -> list[Json]:
        """The pipelines one may see, each in its newest version."""
        return await self._all("/pipelines")

    async def pipeline(self, name: str, version: int | None = None) -> Json:
        """What was declared, in the newest version or another."""
        return dict(await self._get(f"/pipelines/{part(name)}" + ("" if version is None else f"/versions/{version}")))

    async def pipeline_versions(self, name: str) -> list[Json]:
        """A pipeline's versions, newest first."""
        return await self._all(f"/pipelines/{part(name)}/versions")

    async def remove_pipeline(self, name: str) -> None:
        """Take it out of Airflow; what was declared and what ran stays."""
        await self._delete(f"/pipelines/{part(name)}")

    async def release_pipeline(self, name: str) -> dict[str, int]:
        """Give back what it holds beyond its runs: how many of each kind."""
        return dict((await self._delete(f"/pipelines/{part(name)}/resources"))["released"])

    async def run_pipeline(self, name: str) -> Json:
        """Start a run of the newest version: ``dag_id``, ``run_id``, ``version``. `follow_run` tells how it goes."""
        return await self._post(f"/pipelines/{part(name)}/runs")

    async def pipeline_runs(self, name: str) -> list[Json]:
        """Runs that have begun, the newest first."""
        return await self._all(f"/pipelines/{part(name)}/runs")

    async def pipeline_run(self, name: str, run_id: str) -> Json:
        """A run with its stages: states, progress, results."""
        return dict(await self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}"))

    async def cancel_pipeline_run(self, name: str, run_id: str) -> None:
        """End a run: its jobs are killed, and it counts as failed."""
        await self._post(f"/pipelines/{part(name)}/runs/{part(run_id)}/cancel")

    async def rerun_pipeline(self, name: str, run_id: str, stage: str | None = None) -> list[str]:
        """Run again what failed, or a stage and all after it; returns the stages that will."""
        return list(
            (await self._post(f"/pipelines/{part(name)}/runs/{part(run_id)}/rerun", {"stage": stage}))["stages"]
        )

    async def stage_log(self, name: str, run_id: str, stage: str) -> list[str]:
        """What a stage of one's own run printed last."""
        return list((await self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}/stages/{part(stage)}/log"))["lines"])

    async def compare_pipeline_runs(
        self, name: str, run_id: str, to: str, *, pipeline: str | None = None, stage: str | None = None
    ) -> list[Json]:
        """Of each stage what is other in the run ``to`` (of ``pipeline``, if another): configuration, metrics, log."""
        wanted = {"to": to, "pipeline": pipeline, "stage": stage}
        params = {key: value for key, value in wanted.items() if value is not None}
        return list((await self._get(f"/pipelines/{part(name)}/runs/{part(run_id)}/diff", **params))["stages"])

    async def train_incrementally(
        self, dataset_version: str, base_pipeline: str, annotations_path: str, *, personal: bool = False
    ) -> Json:
        """Ask for a training of ``base_pipeline`` on the version with the labels of a file: ``dag_id``, ``run_id``."""
        body = {"dataset_version": dataset_version, "annotations_path": annotations_path, "personal": personal}
        return await self._post(f"/pipelines/{part(base_pipeline)}/incremental", body)


class AsyncReviewMethods:
    """Mixed into ``LearnloopClient``, which sends."""

    if TYPE_CHECKING:

        async def _get(self, path: str, **params: Any) -> Any: ...

        async def _show(self, path: str) -> Json: ...

        async def _put(self, path: str, body: Json, if_match: str | None = None) -> Any: ...

        async def _all(self, path: str, most: int | None = None, **params: Any) -> list[Json]: ...

        async def _write(self, path: str, body: Json, key: str | None = None) -> httpx.Response: ...

    async def reviews(self, dataset: str, *, state: str = "open", limit: int | None = None) -> list[Json]:
        """What waits for a reviewer (``open``), or was ``decided``, or ``all``; newest first."""
        return await self._all(f"/datasets/{part(dataset)}/reviews", limit, state=state)

    async def review(self, review_id: int) -> Json:
        """A review with everything that people said of its sample."""
        return dict(await self._get(f"/reviews/{review_id}"))

    async def request_review(self, dataset: str, sample_id: str, reason: str = "") -> Json:
        """Have a confirmed label decided anew."""
        body = {"sample_id": sample_id, "reason": reason}
        return dict((await self._write(f"/datasets/{part(dataset)}/reviews", body)).json())

    async def decide(
        self, review_id: int, decision: str, *, label: str | None = None, reason: str = "", key: str | None = None
    ) -> Json:
        """``confirm`` a label, ``send_back`` the sample to the queue, or ``reject`` it; the same again does no harm."""
        body = {"decision": decision, "label": label, "reason": reason}
        return dict((await self._write(f"/reviews/{review_id}/decision", body, key)).json())

    async def guide(self, dataset: str) -> Json:
        """What annotators are told: ``instructions`` (Markdown), ``classes`` (``color`` and ``key``), and the ``etag``."""
        return await self._show(f"/datasets/{part(dataset)}/guide")

    async def write_guide(
        self,
        dataset: str,
        *,
        instructions: str,
        classes: Mapping[str, Mapping[str, str | None]] | None = None,
        if_match: str | None = None,
    ) -> Json:
        """Replace it; with ``if_match``, an ``etag`` of `guide`, only if nobody else has since.

        Args:
            classes: ``{label: {"color": "#rrggbb", "key": "A"}}``; what is left out, the page chooses.

        Raises:
            PreconditionFailed: somebody has: look again.
        """
        styles = [{"label": label, **style} for label, style in (classes or {}).items()]
        body: Json = {"instructions": instructions, "classes": styles}
        return dict(await self._put(f"/datasets/{part(dataset)}/guide", body, if_match))

    async def my_quality(self, dataset: str) -> Json:
        """How far one's own answers can be believed, told in steps."""
        return dict(await self._get(f"/datasets/{part(dataset)}/quality/me"))

    async def my_answers(self, dataset: str, *, outcome: str | None = None, limit: int | None = None) -> list[Json]:
        """One's own answers that were decided, newest first: ``outcome`` (``confirmed`` or ``rejected``), and of rejected
        ones the ``reason`` and the label that was confirmed ``instead``. Told in steps, as `my_quality` is.
        """
        wanted = {} if outcome is None else {"outcome": outcome}
        return await self._all(f"/datasets/{part(dataset)}/answers/me", limit, **wanted)

    async def quality(self, dataset: str) -> Json:
        """Everybody's figures, agreement, the policy, the last check of all answers."""
        return dict(await self._get(f"/datasets/{part(dataset)}/quality"))

    async def my_throughput(self, dataset: str, *, days: int = 14) -> list[Json]:
        """What you answered on each of the last days: ``day``, ``answers``, ``skipped``, ``timed``, ``seconds``."""
        return list((await self._get(f"/datasets/{part(dataset)}/throughput/me", days=days))["items"])

    async def throughput(self, dataset: str, *, days: int = 14) -> list[Json]:
        """The same of everybody, by ``annotator``."""
        return list((await self._get(f"/datasets/{part(dataset)}/throughput", days=days))["items"])

    async def check_quality(self, dataset: str) -> Json:
        """Look at all answers now; suspected labels go to review."""
        return dict((await self._write(f"/datasets/{part(dataset)}/quality/checks", {})).json())

    async def tasks(
        self,
        dataset: str,
        *,
        state: str = "open",
        label: str | None = None,
        batch: str | None = None,
        least: float = 0.0,
        most: float = 1.0,
        since: str | None = None,
        until: str | None = None,
        limit: int | None = None,
    ) -> list[Json]:
        """The newest tasks in a state: ``open`` ones to choose from, what one ``skipped``, or (a reviewer's to see) others.

        Filters: the ``label`` that the model predicts, its confidence from ``least`` to ``most``, the batch, and when they
        came (ISO times with their zones).
        """
        wanted = {"state": state, "label": label, "batch": batch, "since": since, "until": until}
        given: Json = {name: value for name, value in wanted.items() if value is not None}
        given |= {"least_confidence": least, "most_confidence": most}
        return await self._all(f"/datasets/{part(dataset)}/tasks", limit, **given)


class AsyncLearnloopClient(
    AsyncDataMethods,
    AsyncEventMethods,
    AsyncExchangeMethods,
    AsyncModelMethods,
    AsyncPipelineMethods,
    AsyncReviewMethods,
):
    """Acts as the user whose token it bears. May be shared by threads.

    Every method raises what the API says: ``NotAuthenticated``, ``PermissionDenied``, ``NotFound``, ``InvalidInput``,
    ``Conflict``, ``Gone``, or ``Unavailable`` when it does not answer. Reads, and writes that carry an
    ``Idempotency-Key``, are tried again when the connection breaks; other writes are not.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        headers = {**context.headers(), **({"Authorization": f"Bearer {token}"} if token else {})}
        self._http = httpx.AsyncClient(base_url=self.base_url, headers=headers, timeout=30)

    @classmethod
    async def login(cls, base_url: str, username: str, password: str) -> Self:
        """Get a token from Airflow for a user of Airflow's.

        Raises:
            NotAuthenticated: wrong name or password.
            Unavailable: nothing answers there, or what answers is not well.
        """
        async with cls(base_url) as anonymous:
            credentials = {"username": username, "password": password}
            try:
                answer = await anonymous._checked("POST", "/auth/token", retry=True, json=credentials)
            except NotAuthenticated as error:
                raise NotAuthenticated("the user name or the password is wrong") from error
        return cls(base_url, answer.json()["access_token"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def logout(self) -> None:
        """Have the token revoked: nobody can use it any more, here or at Airflow."""
        await self._checked("POST", f"{API}/session/logout", retry=False)
        await self.close()

    async def refresh(self) -> str:
        """Exchange the token for a new one, which this client then bears; the old one ends. Returns the new one."""
        token: str = (await self._checked("POST", f"{API}/session/refresh", retry=False)).json()["access_token"]
        self.token = token
        self._http.headers["Authorization"] = f"Bearer {token}"
        return token

    async def session(self) -> SessionInfo:
        """Who this client acts as."""
        return SessionInfo.model_validate(await self._get("/session"))

    async def health(self) -> dict[str, str]:
        """``status`` and ``version``; Unavailable when the API cannot read its database."""
        return dict(await self._get("/health"))

    async def dataset(self, name: str) -> DatasetInfo:
        """One dataset."""
        return DatasetInfo.model_validate(await self._get(f"/datasets/{part(name)}"))

    async def datasets(self) -> list[DatasetInfo]:
        """All datasets."""
        return [DatasetInfo.model_validate(item) for item in await self._all("/datasets")]

    async def versions(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's shared versions and one's own personal ones, newest first."""
        return await self._all(f"/datasets/{part(dataset)}/versions")

    async def batches(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's batches, newest first."""
        return await self._all(f"/datasets/{part(dataset)}/batches")

    async def rounds(self, dataset: str) -> list[dict[str, Any]]:
        """A dataset's rounds with their figures, newest first."""
        return await self._all(f"/datasets/{part(dataset)}/rounds")

    async def start_round(self, dataset: str, reason: str = "") -> dict[str, Any]:
        """Start a round by hand, whatever the training policy says."""
        return dict((await self._write(f"/datasets/{part(dataset)}/rounds", {"reason": reason})).json())

    async def progress(self, dataset: str) -> ProgressInfo:
        """How far a dataset is from its next training."""
        return ProgressInfo.model_validate(await self._get(f"/datasets/{part(dataset)}/progress"))

    async def loop(self, dataset: str) -> dict[str, Any]:
        """The seven ``steps``, the number of the one a dataset is at (``now``), ``needs`` of a person, ``progress``."""
        return dict(await self._get(f"/datasets/{part(dataset)}/loop"))

    async def balance(self, dataset: str) -> list[dict[str, Any]]:
        """Of each class: ``label``, ``confirmed`` labels, and how many of them are ``waiting`` for a round."""
        return list((await self._get(f"/datasets/{part(dataset)}/balance"))["items"])

    async def claim(self, dataset: str, *, beside: int | None = None) -> Task | None:
        """Lease the next task; None when there is none. Claiming again gives the task one holds: it may be retried.

        With ``beside``, the id of the task one holds, the one to follow it is leased in advance.
        """
        params = {} if beside is None else {"beside": beside}
        answer = await self._checked("POST", f"{API}/datasets/{part(dataset)}/tasks/claim", retry=True, params=params)
        return None if answer.status_code == 204 else Task.model_validate(answer.json())

    async def choose(self, task_id: int) -> Task:
        """Lease a task that `tasks` lists, also one that was skipped; what one holds goes back to the queue.

        Raises:
            Conflict: somebody else is answering it, one has answered it, or nothing is left to do for it.
        """
        return Task.model_validate((await self._checked("POST", f"{API}/tasks/{task_id}/claim", retry=True)).json())

    async def task(self, task_id: int) -> Task:
        """One annotation task."""
        return Task.model_validate(await self._get(f"/tasks/{task_id}"))

    async def content(self, task_id: int) -> bytes:
        """The sample's bytes."""
        return (await self._checked("GET", f"{API}/tasks/{task_id}/content", retry=True)).content

    async def submit(
        self, task_id: int, label: str, *, seconds: float | None = None, comment: str = "", key: str | None = None
    ) -> None:
        """Answer a task; the same ``key`` again (or a retry) counts once."""
        body = {"label": label, "seconds": seconds, "comment": comment}
        await self._write(f"/tasks/{task_id}/annotation", body, key)

    async def submit_and_claim(
        self, task_id: int, label: str, *, seconds: float | None = None, comment: str = "", key: str | None = None
    ) -> Task | None:
        """`submit` and then `claim` in one request; None when there is no next task.

        With an error nothing was answered. The same ``key`` again (or a retry) counts once.
        """
        body = {"label": label, "seconds": seconds, "comment": comment}
        following = (await self._write(f"/tasks/{task_id}/annotation?next=true", body, key)).json()["next"]
        return None if following is None else Task.model_validate(following)

    async def skip(self, task_id: int, reason: str = "", *, key: str | None = None) -> None:
        """Give a task back; the same ``key`` again (or a retry) counts once."""
        await self._write(f"/tasks/{task_id}/skip", {"reason": reason}, key)

    async def undo(self, dataset: str, *, key: str | None = None) -> Task | None:
        """Take the last answer or skip back and get its task again; None when somebody else is answering it just now.

        Raises:
            Conflict: something followed from the answer already.
        """
        task = (await self._write(f"/datasets/{part(dataset)}/tasks/undo", {}, key)).json()["task"]
        return None if task is None else Task.model_validate(task)

    async def release(self, task_id: int) -> None:
        """Give a task back unanswered: others may have it at once."""
        await self._delete(f"/tasks/{task_id}/claim")

    async def renew(self, task_id: int) -> None:
        """Keep a task for another lease."""
        await self._checked("POST", f"{API}/tasks/{task_id}/renew", retry=True)

    async def audit(
        self, *, user: str | None = None, action: str | None = None, since: str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """The newest ``limit`` events of the audit log that match; ``since`` is an ISO time with its zone."""
        wanted = {"user": user, "action": action, "since": since}
        return await self._all("/audit", limit, **{name: value for name, value in wanted.items() if value is not None})

    async def offboard(
        self, name: str, *, to: str | None = None, archive: bool = False, dry_run: bool = False
    ) -> dict[str, Any]:
        """Somebody leaves; what is theirs goes to ``to`` or into the archive. Again does no harm."""
        body = {"name": name, "to": to, "archive": archive, "dry_run": dry_run}
        return await self._stream("/users/offboard", body, None)

    async def _stream(
        self,
        path: str,
        body: dict[str, Any] | bytes,
        progress: Progress | None,
        method: str = "POST",
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Long work of the API's: tells ``progress`` as it goes and returns the result. Not tried again by itself.

        A body of bytes is sent as a file.
        """
        options: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            options = {"content": body, "headers": {"Content-Type": "application/octet-stream"}}
        try:
            timeout = httpx.Timeout(30, read=None)
            async with self._http.stream(method, API + path, params=params, timeout=timeout, **options) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _error(answer)
                async for line in answer.aiter_lines():
                    told = json.loads(line)
                    if "result" in told:
                        return dict(told["result"])
                    if "problem" in told:
                        raise _of_problem(told["problem"])
                    if progress is not None:
                        progress(told["done"], told["total"])
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error
        raise Unavailable(f"{self.base_url} broke off; doing it again does no harm")

    async def _follow(self, path: str, headers: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        """The events of one answer of server-sent events, until it ends."""
        try:
            timeout = httpx.Timeout(30, read=60)
            async with self._http.stream("GET", API + path, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _error(answer)
                async for event in server_sent(answer.aiter_lines()):
                    if event["event"] == "problem":
                        raise _of_problem(event["data"])
                    yield event
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error

    async def _download(self, path: str, params: dict[str, Any]) -> AsyncIterator[bytes]:
        """An answer's content as it comes, for it may be large."""
        try:
            timeout = httpx.Timeout(30, read=None)
            async with self._http.stream("GET", API + path, params=params, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    await answer.aread()
                    raise _error(answer)
                async for chunk in answer.aiter_bytes():
                    yield chunk
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error

    async def _delete(self, path: str, if_match: str | None = None, **params: Any) -> dict[str, Any]:
        headers = {} if if_match is None else {"If-Match": if_match}
        return dict((await self._checked("DELETE", API + path, retry=False, params=params, headers=headers)).json())

    async def _get(self, path: str, **params: Any) -> Any:
        return (await self._checked("GET", API + path, retry=True, params=params)).json()

    async def _show(self, path: str) -> dict[str, Any]:
        """Something with its ``etag``."""
        answer = await self._checked("GET", API + path, retry=True)
        return {**answer.json(), "etag": answer.headers["ETag"]}

    async def _text(self, path: str) -> str:
        return (await self._checked("GET", API + path, retry=True)).text

    async def _all(self, path: str, most: int | None = None, **params: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page, or the first ``most``."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while most is None or len(items) < most:
            size = 200 if most is None else min(200, most - len(items))
            found = await self._get(path, limit=size, **params, **{"cursor": cursor} if cursor else {})
            items += found["items"]
            cursor = found["next"]
            if cursor is None:
                break
        return items

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A write that is not tried again: done twice, it would be two."""
        return dict((await self._checked("POST", API + path, retry=False, json=body)).json())

    async def _put(self, path: str, body: dict[str, Any], if_match: str | None = None) -> Any:
        headers = {} if if_match is None else {"If-Match": if_match}
        return (await self._checked("PUT", API + path, retry=if_match is None, json=body, headers=headers)).json()

    async def _write(
        self, path: str, body: dict[str, Any], key: str | None = None, if_match: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        if if_match is not None:
            return await self._checked("POST", API + path, retry=False, json=body, headers={"If-Match": if_match})
        return await self._checked("POST", API + path, retry=True, json=body, headers=headers)

    async def _checked(self, method: str, path: str, *, retry: bool, **options: Any) -> httpx.Response:
        wait = 0.0
        for attempt in range(TRIES if retry else 1):
            if attempt:
                await asyncio.sleep(max(wait, BACKOFF_SECONDS * 2**attempt))
            last = attempt == (TRIES if retry else 1) - 1
            try:
                answer = await self._send(method, path, **options)
            except Unavailable:
                if last:
                    raise
                continue
            if answer.status_code < 400:
                return answer
            after = answer.headers.get("retry-after", "")
            wait = float(after) if after.isdecimal() else 0.0
            if last or answer.status_code not in RETRIED or wait > LONGEST_WAIT_SECONDS:
                raise _error(answer)
        raise AssertionError("unreachable")

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.base_url} does not answer: {error or type(error).__name__}") from error
