"""The notifier that tells people how their runs go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, Context

from learnloop_airflow.common import run_owner

if TYPE_CHECKING:
    from learnloop.database import Event

SMTP_CONNECTION = "smtp_default"


class EventNotifier(BaseNotifier):
    """Tell the person whose run it is: on the API's event stream, and by mail or webhook as they chose.

    ``DAG(..., on_success_callback=EventNotifier("finished"), on_failure_callback=EventNotifier("failed"))``; :data:`TOLD`
    has these, and tells of a failed task with its reason. A run that nobody triggered by hand is its dataset's owner's.
    Each is told once a run, however often it is reported; a cleared run tells again.

    :param kind: ``admitted``, ``needs_answer``, ``finished`` or ``failed``.
    :param text: what is said (templated); by default the run, and what went wrong.
    """

    template_fields: Sequence[str] = ("text",)

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__()
        self.kind = kind
        self.text = text

    def notify(self, context: Context) -> None:
        from learnloop.events.log import tell

        told = self.prepared(context)
        if told is None:
            return
        if tell(**told) is not None:
            self.log.info("told %s: %s", told["owner"], told["text_"])
            deliver_due()

    def prepared(self, context: Context) -> dict[str, str] | None:
        """What :meth:`notify` would tell, as arguments of `learnloop.events.log.tell`; None when nobody is to be told."""
        from learnloop.permissions import is_persons_name

        run, task = context.get("dag_run"), context.get("ti")
        if run is None:  # Airflow may lack it in a callback for a run whose tasks are gone
            self.log.warning("nobody is told: Airflow did not say whose run %s is", context.get("run_id"))
            return None
        whose = owner_of(context)
        if not is_persons_name(whose):
            return None
        about = f"{self.kind} {run.clear_number or 0} {run.dag_id} {run.run_id}"
        if self.kind == "needs_answer" and task is not None:  # a run may ask several times
            about += f" {task.task_id} {task.map_index} {task.try_number}"
        return {
            "owner": whose,
            "kind": self.kind,
            "text_": str(self.text or _said(self.kind, context)),
            "key": about,
            "link": run_link(run.dag_id, run.run_id),
            "dag_id": run.dag_id,
            "run_id": run.run_id,
        }


class RunFinishedNotifier(EventNotifier):
    """As ``EventNotifier("finished")``, for a task that runs when others have ended: it tells when they ended well.

    For DAGs of a bundle that has versions. A callback of such a DAG runs in the dag-processor, and in Airflow 3.3 that then
    reads the DAG's file anew without a pause for as long as it lives; a task's callback runs in a worker.

    :param task_ids: the others.
    """

    def __init__(self, task_ids: Sequence[str]) -> None:
        super().__init__("finished")
        self.task_ids = list(task_ids)

    def notify(self, context: Context) -> None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        task = context["ti"]
        states = RuntimeTaskInstance.get_task_states(task.dag_id, task_ids=self.task_ids, run_ids=[task.run_id])
        if all(state == "success" for state in states[task.run_id].values()):
            super().notify(context)


TOLD: dict[str, Any] = {
    "on_success_callback": EventNotifier("finished"),
    "on_failure_callback": EventNotifier("failed"),
    "default_args": {"on_failure_callback": EventNotifier("failed")},
}
"""For ``DAG(..., **TOLD)``: its runs' people are told how they end."""


def owner_of(context: Context) -> str:
    """Who triggered the run; for one that nobody did, the owner of the dataset it is about, else the service."""
    from sqlalchemy import select

    from learnloop.database import Dataset, session
    from learnloop.permissions import SERVICE

    owner = run_owner(context)
    conf = getattr(context["dag_run"], "conf", None) or {}
    if owner == SERVICE.name and isinstance(name := conf.get("dataset"), str):
        with session() as db:
            return db.scalar(select(Dataset.owner).where(Dataset.name == name)) or owner
    return owner


def run_link(dag_id: str, run_id: str) -> str:
    """Airflow's page of a run."""
    from learnloop.settings import settings

    return f"{settings().api_url}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def deliver_due() -> dict[str, int]:
    """Send the events that wait to be sent; what cannot be sent now is tried again later."""
    from learnloop.events.delivery import deliver

    return deliver(senders())


def senders() -> Mapping[str, Callable[[Event, str], None]]:
    from learnloop.events.delivery import post
    from learnloop.settings import settings

    return {"mail": _mail, "webhook": lambda event, url: post(event, url, settings().webhook_secret)}


def _mail(event: Event, address: str) -> None:
    """By Airflow's connection ``smtp_default``."""
    from html import escape

    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from airflow.sdk.exceptions import AirflowException

    from learnloop.errors import Unavailable

    html = f"<p>{escape(event.text)}</p>" + (
        f'<p><a href="{escape(event.link)}">{escape(event.link)}</a></p>' if event.link else ""
    )
    try:
        opened = SmtpHook(smtp_conn_id=SMTP_CONNECTION).get_conn()
    except AirflowException as error:
        raise Unavailable(f"mail goes by Airflow's connection {SMTP_CONNECTION!r}: {error}") from error
    with opened as hook:
        hook.send_email_smtp(to=address, subject=f"Learnloop: {event.text.splitlines()[0][:150]}", html_content=html)


def _said(kind: str, context: Context) -> str:
    run, task, error = context["dag_run"], context.get("ti"), context.get("exception")
    name = f"{run.dag_id} {run.run_id}"
    if kind == "finished":
        return f"{name} finished"
    if kind == "failed":
        where = f": task {task.task_id}" if task is not None and error is not None else ""
        return f"{name} failed{where}{f': {error}' if error is not None else ''}"[:2000]
    if kind == "admitted":
        return f"{name}: {task.task_id if task is not None else 'a job'} begins"
    return f"{name} waits for an answer"
