"""The runner for a cluster, as a task sees it: what comes before the pod, and the judgement after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from learnloop.errors import JobFailed, JobKilled
from learnloop_airflow.pods import state
from learnloop_airflow.pods.asking import ApiAway, asked
from learnloop_airflow.pods.names import JOB, STAGE, Owner

if TYPE_CHECKING:
    from datetime import timedelta
    from logging import Logger

    from airflow.sdk import Context

    from learnloop.jobs.contract import JobResult
    from learnloop.jobs.spec import JobSpec
    from learnloop.mounts.made import Prepared
    from learnloop.traces.context import TraceContext
    from learnloop_airflow.operators.pod import JobPod
    from learnloop_airflow.triggers.job_pod import JobPodTrigger


class PodRunner:
    """Runs one job for one try of a task: :meth:`begin`, then a wait in the triggerer, then :meth:`end`.

    What decides is ``result.json`` in the job's results, never the pod: a pod that succeeded and was removed, or a worker
    that died after it, make no difference to a retry.
    """

    def __init__(self, spec: JobSpec, context: Context, log: Logger, mounts: Sequence[Prepared] = ()) -> None:
        from learnloop.jobs.contract import Places
        from learnloop.settings import settings

        self.spec = spec
        self.context = context
        self.log = log
        self.mounts = mounts
        self.owner = Owner.of(context)
        self.places = Places.of(settings().namespaces, spec)
        self._pod: JobPod | None = None

    def begin(self) -> JobResult | None:
        """The result, when an earlier run left it; None when a pod has to run.

        Raises:
            Conflict: this key already has the result of other work.
        """
        from learnloop.jobs.attempt import finished, reject

        found = finished(self.spec, self.places, self.log.info)
        if found is None:
            reject(self.places)  # of a result that is damaged
            return None
        try:
            pod = self._read()
        except ApiAway as error:
            self.log.info("%s; the result is whole, and that is enough", error)
            return found
        if pod is None or not state.ended(pod):
            return found
        if pod.status.phase == "Failed" and not state.already_done(pod) and state.disruption(pod) is None:
            self.log.info("but its pod failed after that, so it does not count; running the job again")
            reject(self.places)
            found = None
        if self.owner.same_task(Owner.read(pod)):
            self._delete(pod)
        return found

    def trigger(self, limit: timedelta | None = None) -> JobPodTrigger:
        """What makes the pod and waits for it, at most for ``limit`` from the task's start or, where jobs wait to be
        admitted, from then on.

        Raises:
            InvalidInput: the spec asks for what this runner does not have.
        """
        from learnloop.limits import limit_of
        from learnloop.settings import settings
        from learnloop_airflow.notifiers.events import EventNotifier
        from learnloop_airflow.operators.pod import hand_over
        from learnloop_airflow.pods.gate import admission_for
        from learnloop_airflow.pods.kueue import queued
        from learnloop_airflow.pods.security import user_of
        from learnloop_airflow.pods.template import load_template
        from learnloop_airflow.triggers.job_pod import JobPodTrigger

        pod = self._operator()
        manifest = pod.manifest(self.context)
        if settings().admission == "kueue":
            manifest = queued(manifest, settings().kueue_queue)
        hand_over(self.places, user_of(load_template(settings().pod_template)), self.mounts)
        start, seconds = self.context["ti"].start_date, None if limit is None else limit.total_seconds()
        return JobPodTrigger(
            manifest=manifest,
            results=str(self.places.results),
            user=self.spec.user,
            most=limit_of(self.spec.user, settings().jobs_per_user),
            admitted=EventNotifier("admitted").prepared(self.context),
            admission=admission_for(self.spec, self.owner, manifest, seconds),
            deadline=None if seconds is None or start is None else start.timestamp() + seconds,
        )

    def end(self, event: dict[str, Any]) -> JobResult:
        """Judge a job whose wait has ended, and remove its pod.

        Raises:
            JobFailed: it did not end with the result its spec promises.
            AirflowFailException: nor would another try.
            ApiAway: nothing can be judged now.
        """
        from learnloop.jobs.attempt import accept
        from learnloop_airflow.tracing import what_went_wrong

        pod = self._read()
        if pod is not None and Owner.read(pod) != self.owner:
            pod = None  # another task's, made since
        last: deque[str] = deque()
        if pod is not None:
            last = self._log(pod, event.get("logged") or {})
        error: str | None = None
        try:
            if event["status"] == "disrupted":
                raise JobKilled(event["reason"])
            if event["status"] in ("blocked", "refused", "timeout"):
                raise JobFailed(event["reason"])
            if pod is not None and pod.status.phase == "Failed" and not state.already_done(pod):
                self._fail(pod, last)
            return accept(self.spec, self.places)
        except BaseException as raised:  # a task that is killed, or at its time's end, is ended by one of these
            error = what_went_wrong(raised)
            raise
        finally:
            self._tell_trace(pod, error)
            if pod is not None:
                self._keep_usage(pod, event.get("used") or {})
            if pod is not None:
                self._delete(pod)
            self._release()

    def _keep_usage(self, pod: Any, seen: dict[str, Any]) -> None:
        from learnloop_airflow.operators.job import keep_usage
        from learnloop_airflow.pods.usage import Seen, memory_limit

        seconds = state.ran_for(pod, JOB)
        if seconds is not None:
            had, used = memory_limit(pod) or "", Seen(**seen).usage(seconds)
            keep_usage(self.context, self.spec, used, "kubernetes", self.log.info, had)

    def _tell_trace(self, pod: Any, error: str | None) -> None:
        from learnloop_airflow.tracing import tell

        if self._trace is None:
            return
        own, above = self._trace
        begun = self.context["ti"].start_date if pod is None else pod.metadata.creation_timestamp
        nanoseconds = int(begun.timestamp() * 1e9)
        tell(self.spec, self.places.results, own, above, begun=nanoseconds, runner="kubernetes", error=error)

    def remove(self) -> None:
        """Remove this try's pod, where there is one."""
        try:
            pod = self._read()
        except ApiAway as error:
            self.log.warning("%s: a pod of this try, if there is one, is left to platform_maintenance", error)
            return
        if pod is not None and Owner.read(pod) == self.owner:
            self._delete(pod)
        self._release()

    def _release(self) -> None:
        """Give back what the trigger could not, such as when it was killed together with the task."""
        from learnloop.capacity.turn import Turn
        from learnloop.settings import settings
        from learnloop_airflow.pods.admission import wanted_for

        if settings().admission == "reservation":
            Turn(wanted_for(self.spec, self.owner)).release(self.log)

    def _fail(self, pod: Any, last: deque[str]) -> None:
        from learnloop.jobs.attempt import reject, with_log
        from learnloop.jobs.memory import more, needed, remember
        from learnloop.settings import settings

        reject(self.places)
        said = with_log(state.failure(pod, self.spec.timeout_seconds), last)
        if state.out_of_memory(pod):
            cap = settings().job_memory_cap
            had = needed(self.places.results, self.spec.resources.memory, cap)
            wanted = more(had, cap)
            if wanted is None:
                raise AirflowFailException(
                    f"{said}\nit had {had}, and no try may have more (LEARNLOOP_JOB_MEMORY_CAP is {cap}):"
                    " give it less to do at once, or raise the cap"
                )
            remember(self.places.results, wanted)
            raise JobKilled(f"{said}\nit had {had}: the next try asks for {wanted} (at most {cap})")
        raise JobFailed(said)

    def _log(self, pod: Any, logged: dict[str, str]) -> deque[str]:
        """Keep the job's log beside its results, and log what has not been; returns the last lines.

        They are the stager's when that failed.
        """
        from learnloop.jobs.attempt import LAST_LINES
        from learnloop.jobs.checksums import write_beside
        from learnloop_airflow.pods.follow import lines_after

        last: deque[str] = deque(maxlen=LAST_LINES)
        for container in (STAGE, JOB):
            if not state.has_begun(pod, container):
                continue
            text = self._read_log(pod, container)
            lines = lines_after(text, None)
            for _, line in lines_after(text, logged.get(container)):
                self.log.info("%s", line)
            if lines:
                last = deque((line for _, line in lines), maxlen=LAST_LINES)
            if container == JOB:
                write_beside(self.places.results / "job.log", "".join(f"{line}\n" for _, line in lines))
                last = deque((line for _, line in lines), maxlen=LAST_LINES)
        return last

    def _read_log(self, pod: Any, container: str) -> str:
        from kubernetes.client.exceptions import ApiException

        where = (pod.metadata.name, pod.metadata.namespace)
        wanted = {"container": container, "timestamps": True, "_preload_content": False}
        try:
            answer = asked(self._client.read_namespaced_pod_log, *where, **wanted)
        except ApiException as error:
            if error.status != 400:  # the node has it no more; lines, unlike results, may be lost with a pod
                raise
            return ""
        return "" if answer is None else bytes(answer.data).decode(errors="replace")

    def _read(self) -> Any:
        from learnloop_airflow.pods.names import pod_name

        return asked(self._client.read_namespaced_pod, pod_name(self.spec), self._namespace)

    def _delete(self, pod: Any) -> None:
        from kubernetes.client import V1DeleteOptions, V1Preconditions

        only = V1DeleteOptions(preconditions=V1Preconditions(uid=pod.metadata.uid))
        try:
            asked(self._client.delete_namespaced_pod, pod.metadata.name, pod.metadata.namespace, body=only)
        except ApiAway as error:
            self.log.warning("%s: pod %s is left to platform_maintenance", error, pod.metadata.name)

    def _operator(self) -> JobPod:
        from learnloop.jobs.memory import needed
        from learnloop.settings import settings
        from learnloop_airflow.operators.pod import JobPod

        if self._pod is None:
            memory = needed(self.places.results, self.spec.resources.memory, settings().job_memory_cap)
            if memory != self.spec.resources.memory:
                self.log.info("an earlier try ran out of memory: this one asks for %s", memory)
            self._pod = JobPod(
                spec=self.spec,
                owner=self.owner,
                memory=memory,
                mounts=self.mounts,
                trace=None if self._trace is None else self._trace[0],
                namespace=self._namespace,
            )
        return self._pod

    @cached_property
    def _trace(self) -> tuple[TraceContext, str] | None:
        from learnloop_airflow.tracing import context_of_pod

        return context_of_pod(self.context, self.owner.written())

    @cached_property
    def _client(self) -> Any:
        return client()

    @cached_property
    def _namespace(self) -> str:
        return namespace()


def client() -> Any:
    """The cluster's API, by Airflow's connection."""
    return _hook().core_v1_client


def namespace() -> str:
    """Where jobs' pods are: as the template says, else as the connection does, else the API's default."""
    from learnloop.settings import settings
    from learnloop_airflow.pods.template import load_template

    named = (load_template(settings().pod_template).get("metadata") or {}).get("namespace")
    return str(named or _hook().get_namespace() or "default")


def _hook() -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    return KubernetesHook(conn_id=KubernetesHook.default_conn_name)
