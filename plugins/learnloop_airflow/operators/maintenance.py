"""What `platform_maintenance` does: finds what the fast paths missed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

if TYPE_CHECKING:
    from learnloop_airflow.pods.names import Owner


class DueRoundsOperator(BaseOperator):
    """List the rounds that wait for their run, as arguments for mapped tasks of ``TriggerDagRunOperator``.
    The run id is the round's own, so that starting a round twice is refused by Airflow.

    :param ask_policies: before, ask the training policies that look at more than labels, such as time.
    """

    def __init__(self, *, ask_policies: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ask_policies = ask_policies

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from learnloop.database import session
        from learnloop.loop.rounds import due_rounds, evaluate_waiting

        with session() as db:
            for asked in evaluate_waiting(db) if self.ask_policies else ():
                self.log.info("dataset %d: %s", asked.dataset_id, asked.reason)
            due = [
                {"trigger_run_id": found.run_id, "conf": {"dataset": found.dataset.name}} for found in due_rounds(db)
            ]
        self.log.info("%d rounds are due", len(due))
        return due


class ReleaseLapsedOperator(BaseOperator):
    """Return what lapsed: annotation leases, locks and places in line, model leases; remove dead workspaces."""

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop.database import session
        from learnloop.datasets.workspace_removal import remove_dead
        from learnloop.loop.upkeep import release_lapsed
        from learnloop.settings import settings

        with session() as db:
            released = release_lapsed(db, audit_days=settings().audit_days)
        removed = remove_dead(session, grace=timedelta(days=settings().workspace_grace_days))
        released["workspaces"] = removed.removed
        self.log.info("released: %s", released)
        if removed.failed:
            raise RuntimeError(f"workspaces could not be removed, and are tried again: {'; '.join(removed.failed)}")
        return released


class CheckQualityOperator(BaseOperator):
    """Look at the answers of every dataset that got new ones: annotators' reliability, suspected labels."""

    def execute(self, context: Context) -> dict[str, int]:
        from sqlalchemy import select

        from learnloop.annotation.quality import checks
        from learnloop.database import Dataset, session

        with session() as db:
            names = list(db.scalars(select(Dataset.name).order_by(Dataset.id)))
        suspected = {}
        for name in names:
            with session() as db:  # one transaction a dataset: no dataset's lock is held while another is looked at
                dataset = db.scalars(select(Dataset).where(Dataset.name == name)).one()
                if checks.due(db, dataset):
                    suspected[name] = checks.check(db, dataset).suspected
        self.log.info("checked, and suspected labels sent to review: %s", suspected)
        return suspected


class LiveBatchesOperator(BaseOperator):
    """Make batches of the live samples that models were not sure of, and list those that wait to be scored, as arguments
    for mapped tasks of ``TriggerDagRunOperator``. The run id is the batch's own, so that scoring one twice is refused.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from learnloop.database import session
        from learnloop.loop.live import register_live_batches
        from learnloop.permissions import SERVICE
        from learnloop_airflow.common import store

        found = register_live_batches(session, store(), owner=SERVICE.name)
        self.log.info("%d batches of live samples wait to be scored", len(found))
        return [{"trigger_run_id": one.run_id, "conf": {"dataset": one.dataset, "batch": one.batch}} for one in found]


class AlignRegistryOperator(BaseOperator):
    """Have the registry's aliases say what is deployed, where a model server took a version back by itself."""

    def execute(self, context: Context) -> list[str]:
        from learnloop.database import session
        from learnloop.models.promotion import align_registry

        moved = align_registry(session)
        self.log.info("aliases moved in the registry: %s", ", ".join(moved) or "none")
        return moved


class FollowDeploymentsOperator(BaseOperator):
    """End canaries that do worse than what they stand beside, whoever opened them. Where models are pods, have the pods be
    what the deployment rows say, where an API server or a worker could not see to it.

    A version that its pods refuse to serve, and whose task was killed before it could take it back, is taken back.

    :return: ``{model: what was changed}``, of the models of which something was. It fails after all have been looked at.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        from airflow.sdk.exceptions import AirflowException
        from sqlalchemy import select

        from learnloop.database import Deployment, session
        from learnloop.errors import LearnloopError
        from learnloop.settings import settings

        if settings().serving_runner != "kubernetes":
            return self._judge_in_servers()
        from learnloop.models.canaries import judge_open, open_canaries
        from learnloop.models.everywhere import take_back_refused
        from learnloop.serving.cluster.connected import rows_of, served_models
        from learnloop_airflow.common import cluster_client

        cluster = served_models(cluster_client(), self.log.info)
        with session() as db:
            models = set(db.scalars(select(Deployment.model_name))) | cluster.models()
        changed, failed = {}, []
        for model in sorted(models):
            try:
                for one in take_back_refused(session, model, cluster):
                    self.log.warning("%s", one)
                for unit in open_canaries(session, model):
                    if ended := judge_open(session, unit, cluster.look(unit)):
                        self.log.warning("%s", ended)
                if found := cluster.follow(model, rows_of(session, model)):
                    changed[model] = found
            except LearnloopError as error:
                failed.append(f"{model}: {error}")
        if failed:
            raise AirflowException("; ".join(failed))
        return changed

    def _judge_in_servers(self) -> dict[str, list[str]]:
        from learnloop.database import session
        from learnloop.models.canaries import judge_open, open_canaries
        from learnloop.serving.looking import look_at_servers

        changed: dict[str, list[str]] = {}
        for unit in open_canaries(session):
            if ended := judge_open(session, unit, look_at_servers(session, unit)):
                self.log.warning("%s", ended)
                changed.setdefault(unit.model, []).append(ended)
        return changed


class DeliverEventsOperator(BaseOperator):
    """Send the events that people want by mail or webhook, and that could not be sent when they happened.

    :return: ``{sent, failed}``
    """

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop_airflow.notifiers.events import deliver_due

        done = deliver_due()
        self.log.info("sent %(sent)d events; %(failed)d could not be sent, and are tried again", done)
        return done


class RemoveOrphanedPodsOperator(BaseOperator):
    """Remove pods of jobs whose task is over: ended by hand while no triggerer ran, or timed out. With pods as jobs only.

    :return: ``{kept, removed, unknown}``, the pods' names.
    """

    def execute(self, context: Context) -> dict[str, list[str]]:
        from learnloop.settings import settings

        if settings().job_runner != "kubernetes":
            self.log.info("jobs are processes here: there are no pods")
            return {}
        from learnloop_airflow.pods.orphans import sweep
        from learnloop_airflow.pods.runner import client, namespace

        done = sweep(client(), namespace(), _state_of)
        self.log.info("removed pods without a live task: %s", ", ".join(done.removed) or "none")
        if done.unknown:
            self.log.warning("labelled as ours, but by no task of ours; left: %s", ", ".join(done.unknown))
        return asdict(done)


class ReleaseReservationsOperator(BaseOperator):
    """Release what tasks hold of the nodes, or wait for, that are over: ended by hand while no triggerer ran, or killed.

    :return: how many that were.
    """

    def execute(self, context: Context) -> int:
        from learnloop.capacity.reservations import held_by, release
        from learnloop.database import session
        from learnloop_airflow.pods.names import Owner
        from learnloop_airflow.pods.orphans import LIVE

        with session() as db:
            # First the reservations, then the states: one is asked for by a task that is live, so none is too new.
            holders = held_by(db)
        over = [(runner, one) for runner, one in holders if _state_of(Owner(**vars(one))) not in LIVE]
        released = 0
        with session() as db:
            for runner, one in over:
                self.log.info("released: %s %s %s", one.dag_id, one.run_id, one.task_id)
                released += release(db, runner, [one])
        self.log.info(
            "released %d reservations of tasks that are over; %d are live", released, len(holders) - len(over)
        )
        return released


class RemoveOrphanedMountsOperator(BaseOperator):
    """Remove the mounts of runs that have ended: a worker was killed, or the teardown did not run. Others are told of.

    :param aws_conn_id: the Airflow connection for storage classes on S3.
    :return: ``{removed, unknown, foreign, failed}``: what was removed; of what is left, what is labelled ours and does not
        say whose it is, and claims of the namespace that are not ours.
    """

    def __init__(self, *, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, list[str]]:
        from learnloop_airflow.mounts.home import home
        from learnloop_airflow.mounts.orphans import sweep

        done = sweep(home(self.aws_conn_id), _run_goes)
        self.log.info("removed mounts of runs that have ended: %s", ", ".join(done.removed) or "none")
        if done.unknown:
            self.log.warning("mounts that do not say whose they are; left: %s", ", ".join(done.unknown))
        if done.foreign:
            self.log.info("claims that are not ours; left: %s", ", ".join(done.foreign))
        if done.failed:
            raise RuntimeError(f"mounts could not be removed, and are tried again: {'; '.join(done.failed)}")
        return asdict(done)


class BackUpOperator(BaseOperator):
    """Take a backup when the last one is older than ``LEARNLOOP_BACKUP_HOURS``, read it back, and remove old ones.

    Skips when it is not yet time, or ``LEARNLOOP_BACKUP_REMOTE`` names no place.

    :param aws_conn_id: the Airflow connection for a place, or a remote, on S3.
    :return: ``{backup, bytes, new_bytes, removed}``
    """

    def __init__(self, *, aws_conn_id: str = "aws_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.settings import settings

        if not settings().backup_remote:
            raise AirflowSkipException("there is no place for backups: LEARNLOOP_BACKUP_REMOTE names one")
        from learnloop.backup.opening import place_of
        from learnloop.backup.upkeep import due, keep_up
        from learnloop_airflow.aws import open_remote

        if not due(settings()):
            raise AirflowSkipException(f"the last backup is less than {settings().backup_hours} hours old")
        place = place_of(settings(), open_remote(settings().backup_remote, self.aws_conn_id))
        remote = open_remote(settings().remote, self.aws_conn_id) if settings().remote else None
        done = keep_up(settings(), place, remote=remote)
        for note in done.head.notes:
            self.log.warning("%s", note)
        head = done.head
        self.log.info(
            "%s: %d things, %d bytes, %d new; read back whole", head.name, head.objects, head.size, head.new_bytes
        )
        return {"backup": head.name, "bytes": head.size, "new_bytes": head.new_bytes, "removed": done.pruned.removed}


def _run_goes(dag_id: str, run_id: str) -> bool:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return RuntimeTaskInstance.get_dr_count(dag_id, run_ids=[run_id], states=["queued", "running"]) > 0


def _state_of(owner: Owner) -> str | None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    named = {"dag_id": owner.dag_id, "run_ids": [owner.run_id], "task_ids": [owner.task_id]}
    mapped = owner.map_index >= 0
    found = RuntimeTaskInstance.get_task_states(**named, map_index=owner.map_index if mapped else None)
    key = f"{owner.task_id}_{owner.map_index}" if mapped else owner.task_id
    state = found.get(owner.run_id, {}).get(key)
    return None if state is None else str(state)
