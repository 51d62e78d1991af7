"""Makes a job's pod, waits for its end, and passes on what it says meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from learnloop_airflow.pods.gate import REFUSALS, Refused, gate_of

if TYPE_CHECKING:
    from kubernetes_asyncio.client import CoreV1Api

    from learnloop_airflow.pods.follow import Follower

DISRUPTIONS = 5
"""So often a try's pod is made anew after evictions, deletions and lost nodes."""
FOREIGN_SECONDS = 60.0
"""So long an ended pod of another task is left to that task, which reads its log and removes it."""


class JobPodTrigger(BaseTrigger):
    """Sees to it that a pod runs to its end, and fires then. It holds no worker's slot, however long that takes.

    It makes the pod, again when it was evicted or deleted, and waits with the reason shown while a quota, the scheduler
    or an API server that is away does not let it run. A pod of that name that another task has made does the same work:
    it is waited for, and never removed by this task. Marked failed or cleared meanwhile, the task leaves no pod.

    :param manifest: the pod, as JSON.
    :param results: the job's results on the workers and here.
    :param user: whose job it is; their progress.
    :param most: how many pods of this user may be there at once; None: no limit.
    :param admitted: whom to tell that the job begins, as arguments of `learnloop.events.log.tell`.
    :param admission: what the pod waits for before it is made, as `learnloop_airflow.pods.gate.admission_for`.
    :param deadline: the end of the task's ``execution_timeout``, in seconds since the epoch; with a reservation that counts
        from admission. Airflow's own timeout of a trigger would end it without a word, and leave the pod.
    :param poll_seconds: how often to look.
    :param connection: the Airflow connection of the cluster.

    Fires ``{"status", "reason", "logged", "used"}``: ``ended`` (the pod has; ask the API how), ``done`` (the result is
    there, and the pod gone), ``blocked`` (it cannot start), ``refused`` (it cannot be made), ``disrupted`` (too often) or
    ``timeout``.
    ``logged`` says up to when each container's lines were passed on, ``used`` what the pod was seen to use.
    """

    def __init__(
        self,
        *,
        manifest: dict[str, Any],
        results: str,
        user: str,
        most: int | None = None,
        admitted: dict[str, str] | None = None,
        admission: dict[str, Any] | None = None,
        deadline: float | None = None,
        poll_seconds: float = 2.0,
        connection: str = "kubernetes_default",
    ) -> None:
        super().__init__()
        self.manifest = manifest
        self.results = results
        self.user = user
        self.most = most
        self.admitted = admitted
        self.admission = admission
        self.deadline = deadline
        self.poll_seconds = poll_seconds
        self.connection = connection
        self._disruptions = 0
        self._refusals = 0
        self._foreign_since: tuple[str, float] | None = None
        self._fired = False
        self._gate = gate_of(admission, manifest, deadline, self.log)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = (
            "manifest",
            "results",
            "user",
            "most",
            "admitted",
            "admission",
            "deadline",
            "poll_seconds",
            "connection",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    @property
    def _name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def _namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from learnloop_airflow.pods.follow import Follower
        from learnloop_airflow.pods.names import Owner

        self._owner = Owner.read(_Manifest(self.manifest))
        follower = Follower(self.log, self._owner, self.user, Path(self.results), self.admitted)
        while (found := await self._watch(follower)) is None and not self._gate.late():
            await asyncio.sleep(self.poll_seconds)
        if found is None:
            found = {"status": "timeout", "reason": "the task's execution_timeout is over: the job was ended"}
        self._fired = True
        await self._gate.release()  # now, and not when the task has a worker's slot to see how it ended
        yield TriggerEvent({**found, "logged": follower.logged, "used": follower.used})

    async def _watch(self, follower: Follower) -> dict[str, str] | None:
        """Look again and again over one connection, until there is something to fire or the connection breaks."""
        from aiohttp import ClientError
        from kubernetes_asyncio.client import ApiException, CoreV1Api
        from kubernetes_asyncio.config import ConfigException

        try:
            async with self._hook().get_conn() as connection:
                api = CoreV1Api(connection)
                while (found := await self._look(api, follower)) is None:
                    self._refusals = 0
                    if self._gate.late():
                        break
                    await asyncio.sleep(self.poll_seconds)
                return found
        except ApiException as error:
            from learnloop_airflow.pods.state import refusal

            reason = f"the API server says {error.status}: {refusal(error.body)}"
            if error.status in (401, 403):
                self._refusals += 1
                if self._refusals >= REFUSALS:
                    return {"status": "refused", "reason": reason}
            await follower.say(reason)
        except Refused as error:
            return {"status": "refused", "reason": str(error)}
        except ConfigException as error:
            return {
                "status": "refused",
                "reason": f"there is no way to a cluster (connection {self.connection}): {error}",
            }
        except (ClientError, ConnectionError, TimeoutError) as error:
            await follower.say(f"the Kubernetes API server does not answer: {error or type(error).__name__}")
        return None

    async def _look(self, api: CoreV1Api, follower: Follower) -> dict[str, str] | None:
        from kubernetes_asyncio.client import ApiException

        from learnloop_airflow.pods import state
        from learnloop_airflow.pods.names import Owner

        try:
            pod = await api.read_namespaced_pod(self._name, self._namespace)
        except ApiException as error:
            if error.status != 404:
                raise
            return await self._without_pod(api, follower)
        mine = Owner.read(pod) == self._owner
        if mine:
            await self._gate.found(pod)
        if pod.metadata.deletion_timestamp is not None:
            await follower.follow(api, pod)
            await follower.say("a pod of this job is being removed")
            return None
        if state.ended(pod):
            return await self._with_ended(api, pod, follower, mine)
        if not mine:
            await follower.say(f"another task runs the same job in pod {self._name}; waiting for its result")
            return None
        blocked = state.blocked(pod)
        if blocked is not None:
            return {"status": "blocked", "reason": blocked}
        held = await self._gate.says(api, pod) or state.waiting(pod)
        if held is not None:
            await follower.say(held)
        await follower.follow(api, pod)
        return None

    async def _without_pod(self, api: CoreV1Api, follower: Follower) -> dict[str, str] | None:
        if await asyncio.to_thread(follower.committed):
            return {"status": "done", "reason": "the result is there"}
        if follower.has_seen_pod:
            if self._disruptions >= DISRUPTIONS:
                return {"status": "disrupted", "reason": f"the job's pod was removed or evicted {DISRUPTIONS} times"}
            self._disruptions += 1
            await follower.new_pod("the job's pod was deleted before it ended: it is made again, from its checkpoint")
        if (reason := await self._gate.holds_back(api)) is not None:
            await follower.say(reason)
            return None
        return await self._create(api, follower)

    async def _create(self, api: CoreV1Api, follower: Follower) -> dict[str, str] | None:
        from kubernetes_asyncio.client import ApiException

        from learnloop_airflow.pods.state import held_back, refusal

        if self.most is not None and (others := await self._pods_of_user(api)) >= self.most:
            await follower.say(f"{self.user} has {others} jobs, and {self.most} are allowed at once (jobs_per_user)")
            return None
        try:
            await api.create_namespaced_pod(self._namespace, self.manifest)
        except ApiException as error:
            said = refusal(error.body)
            if error.status == 403 and (held := held_back(said)) is not None:
                await follower.say(held)
            elif error.status in (400, 403, 404, 422):
                return {"status": "refused", "reason": f"Kubernetes does not take the job's pod: {said}"}
            elif error.status != 409:  # 409: somebody else has just made it, or a quota was being counted
                raise
            return None
        self.log.info("made pod %s in namespace %s", self._name, self._namespace)
        return None

    async def _pods_of_user(self, api: CoreV1Api) -> int:
        from learnloop_airflow.pods.names import SELECTOR, USER
        from learnloop_airflow.pods.state import ended

        whose = self.manifest["metadata"]["labels"][USER]
        found = await api.list_namespaced_pod(self._namespace, label_selector=f"{SELECTOR},{USER}={whose}")
        return sum(not ended(pod) for pod in found.items)

    async def _with_ended(self, api: CoreV1Api, pod: Any, follower: Follower, mine: bool) -> dict[str, str] | None:
        from learnloop_airflow.pods import state
        from learnloop_airflow.pods.names import Owner

        if mine:
            await follower.follow(api, pod)
            why = state.disruption(pod)
            if why is None or self._disruptions >= DISRUPTIONS:
                return {"status": "ended", "reason": why or ""}
            self._disruptions += 1
            await self._delete(api, pod)
            await follower.new_pod(f"the job's pod ended through no fault of the job ({why}): it is made again")
            return None
        if self._owner is None or not self._owner.same_task(Owner.read(pod)):
            since = asyncio.get_running_loop().time()
            if self._foreign_since is None or self._foreign_since[0] != pod.metadata.uid:
                self._foreign_since = (pod.metadata.uid, since)
            if since - self._foreign_since[1] < FOREIGN_SECONDS:
                await follower.say("the pod of another task with the same job has ended; waiting for that task")
                return None
        if pod.status.phase == "Failed" and not state.already_done(pod):
            await asyncio.to_thread(follower.reject)  # a marker counts only with a clean end
        self.log.info("removing pod %s, which an earlier try left", self._name)
        await self._delete(api, pod)
        return None

    async def _delete(self, api: CoreV1Api, pod: Any) -> None:
        from kubernetes_asyncio.client import ApiException, V1DeleteOptions, V1Preconditions

        only = V1DeleteOptions(preconditions=V1Preconditions(uid=pod.metadata.uid))
        try:
            await api.delete_namespaced_pod(self._name, self._namespace, body=only)
        except ApiException as error:
            if error.status not in (404, 409):  # gone, or another pod of that name by now
                raise

    async def on_kill(self) -> None:
        """The task was marked or cleared: remove its pod, unless it is another task's."""
        from kubernetes_asyncio.client import ApiException, CoreV1Api

        from learnloop_airflow.pods.names import Owner

        if self._fired:
            return
        await self._gate.release()
        async with self._hook().get_conn() as connection:
            api = CoreV1Api(connection)
            try:
                pod = await api.read_namespaced_pod(self._name, self._namespace)
            except ApiException as error:
                if error.status != 404:
                    raise
                return
            if Owner.read(pod) == Owner.read(_Manifest(self.manifest)):
                self.log.info("the task was ended by hand: removing its pod %s", self._name)
                await self._delete(api, pod)

    def _hook(self) -> Any:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook

        return AsyncKubernetesHook(conn_id=self.connection)


class _Manifest:
    """A pod that has not been made yet, as `Owner.read` reads one that has."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.metadata = self
        self.annotations = manifest["metadata"]["annotations"]
