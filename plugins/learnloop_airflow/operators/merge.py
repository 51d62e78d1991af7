"""Operators that merge a version into its dataset: open, let a person decide, complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from learnloop_airflow.common import run_owner, store
from learnloop_airflow.notifiers.events import EventNotifier
from learnloop_airflow.operators.snapshot import pin

STRATEGIES = ("ours", "theirs", "newest", "most_agreed")
ASK = "ask"
ONE_BY_ONE = "answered one by one in the conflict view"
CANCEL = "cancel"


class OpenMergeOperator(BaseOperator):
    """Open the merge of a version into its dataset's head, and answer its conflicts when a strategy is given.

    :param dataset: the dataset's name, which the version must be of (templated).
    :param version: the name of the version to merge (templated).
    :param strategy: ``ours``, ``theirs``, ``newest``, ``most_agreed``, or ``ask`` (templated).
    :param message: what the merged version's history says (templated).
    :return: ``{merge_id, dataset, version, conflicts, unanswered, notes, link}``
    """

    template_fields: Sequence[str] = ("dataset", "version", "strategy", "message")

    def __init__(self, *, dataset: str, version: str, strategy: str = ASK, message: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version = version
        self.strategy = strategy
        self.message = message

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.merge.requests import open_merge, resolve_all, result_of
        from learnloop.datasets.versions import get_version
        from learnloop.errors import InvalidInput, PermissionDenied
        from learnloop.permissions import SERVICE

        owner = run_owner(context)
        with session() as db:
            theirs = get_version(db, self.version)
            if theirs.dataset.name != self.dataset:
                raise InvalidInput(f"{theirs.name} is a version of {theirs.dataset.name}, not of {self.dataset}")
            if theirs.personal_to is not None and owner not in (theirs.personal_to, SERVICE.name):
                raise PermissionDenied(f"{theirs.name} is personal to {theirs.personal_to}: ask them to merge it")
            merge = open_merge(db, store(), theirs, owner=owner, message=str(self.message))
            if self.strategy != ASK and merge.state == "open":
                resolve_all(db, merge, self.strategy, by=owner)
            result = result_of(db, merge)
        self.log.info("merge %d of %s: %d conflicts", result.merge_id, self.version, result.conflicts)
        for note in result.notes:
            self.log.info("%s", note)
        return {
            "merge_id": result.merge_id,
            "dataset": self.dataset,
            "version": self.version,
            "conflicts": result.conflicts,
            "unanswered": result.unanswered,
            "notes": list(result.notes),
            "link": conflict_view(result.merge_id),
        }


class DecideMergeOperator(HITLOperator):
    """Let a person decide the conflicts of a merge; nobody is asked when each has an answer.

    Who responded needs the right ``dataset:merge``; before that is known, nothing happens. Clear the task to ask again.

    :param merge: what ``OpenMergeOperator`` returned (templated).
    :return: ``{merge_id, choice, by}``; ``choice`` is None when nobody was asked.
    """

    template_fields: Sequence[str] = (*HITLOperator.template_fields, "merge")

    def __init__(self, *, merge: Any, **kwargs: Any) -> None:
        kwargs.setdefault("notifiers", [EventNotifier("needs_answer")])
        super().__init__(subject="Conflicts of a merge", options=[*STRATEGIES, ONE_BY_ONE, CANCEL], **kwargs)
        self.merge = merge

    def execute(self, context: Context) -> Any:
        if not self.merge["unanswered"]:
            return {"merge_id": self.merge["merge_id"], "choice": None, "by": None}
        for notifier in self.notifiers:
            if isinstance(notifier, EventNotifier) and not notifier.text:
                notifier.text = f"{self.merge['unanswered']} conflicts of {self.merge['version']} wait for an answer"
        self.subject = f"{self.merge['unanswered']} conflicts: merge of {self.merge['version']}"
        self.body = (
            f"Merging **{self.merge['version']}** into **{self.merge['dataset']}** leaves {self.merge['unanswered']}"
            f" conflicts without an answer. [See them, each with a suggestion and its reason]({self.merge['link']}).\n\n"
            "- `ours`: keep what the dataset has now\n"
            "- `theirs`: take what the merged version has\n"
            "- `newest`: by record the later annotation, else the later version\n"
            "- `most_agreed`: the label that more people gave, else the newest\n"
            f"- `{ONE_BY_ONE}`: answer each there first, then choose this\n"
            f"- `{CANCEL}`: do not merge"
        )
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        from learnloop.database import session
        from learnloop.datasets.merge.requests import cancel_merge, get_merge, resolve_all
        from learnloop.datasets.merge.responders import responder
        from learnloop.errors import PermissionDenied
        from learnloop.permissions import authorize

        response = super().execute_complete(context, event)
        choice, who = response["chosen_options"][0], response["responded_by_user"]
        if not who:
            raise PermissionDenied("nobody is named as who responded, so that the answer counts for nothing")
        with session() as db:
            person = responder(db, who["name"], dag_id=self.dag_id, run_id=context["run_id"], task_id=self.task_id)
            authorize(person, "dataset:merge")
            merge = get_merge(db, self.merge["merge_id"])
            if choice == CANCEL:
                cancel_merge(db, merge, by=person.name)
            elif choice != ONE_BY_ONE:
                resolve_all(db, merge, choice, by=person.name)
        self.log.info("%s decided: %s", person.name, choice)
        return {"merge_id": self.merge["merge_id"], "choice": choice, "by": person.name}


class MergeOperator(BaseOperator):
    """Complete a merge whose conflicts are answered; skips when it was cancelled.

    Run again, it gives the version that the first run made.

    :param merge: what ``OpenMergeOperator`` returned (templated).
    :return: the merged version, as ``SnapshotOperator`` returns it.
    """

    template_fields: Sequence[str] = ("merge",)

    def __init__(self, *, merge: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.merge = merge

    def execute(self, context: Context) -> dict[str, Any]:
        from learnloop.database import session
        from learnloop.datasets.merge.requests import complete_merge, get_merge
        from learnloop.errors import Conflict

        with session() as db:
            merge = get_merge(db, self.merge["merge_id"])
            if merge.state == "cancelled":
                raise AirflowSkipException(f"merge {merge.id} was cancelled by {merge.closed_by}")
            result = complete_merge(db, store(), merge, owner=run_owner(context))
            made = None if result.version is None else pin(result.version)
        # After the transaction: what a moved head changed among the conflicts stays.
        if made is None:
            raise Conflict(
                f"merge {result.merge_id}: {result.unanswered} of {result.conflicts} conflicts have no answer."
                f" Answer them at {conflict_view(result.merge_id)} and clear this task"
            )
        self.log.info("%s -> %s", self.merge["version"], made["version"])
        return made


def conflict_view(merge_id: int) -> str:
    """Where people see the conflicts of a merge and answer them."""
    from learnloop.settings import settings

    return f"{settings().loop_api_url}/merges/{merge_id}/view"
