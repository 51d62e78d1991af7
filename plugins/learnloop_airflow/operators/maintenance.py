"""What `platform_maintenance` does: finds what the fast paths missed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context


class DueRoundsOperator(BaseOperator):
    """List the rounds that wait for their run, as arguments for mapped ``TriggerDagRunOperator``s.
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


class DeliverEventsOperator(BaseOperator):
    """Send the events that people want by mail or webhook, and that could not be sent when they happened.

    :return: ``{sent, failed}``
    """

    def execute(self, context: Context) -> dict[str, int]:
        from learnloop_airflow.notifiers.events import deliver_due

        done = deliver_due()
        self.log.info("sent %(sent)d events; %(failed)d could not be sent, and are tried again", done)
        return done
