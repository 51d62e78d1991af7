"""The operators of `dataset_merge` on real PostgreSQL; tests/integration/stack has them in a real run."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from merges import changed, labels_of

from learnloop import settings
from learnloop.database.engine import engine, session
from learnloop.datasets.merge.requests import get_merge
from learnloop.datasets.merge.responders import vouch_for
from learnloop.datasets.merge.stored import conflicts_of
from learnloop.datasets.versions import get_version, head_of
from learnloop.errors import Conflict, InvalidInput, PermissionDenied
from learnloop.permissions import Principal

RUN = "manual__2026-05-02"


@pytest.fixture
def airflow(monkeypatch, tmp_path, database_url, store):
    """Learnloop's settings for the operators."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("LEARNLOOP_HOME", str(tmp_path))
    monkeypatch.setenv("LEARNLOOP_STORE", str(store.root))
    monkeypatch.setenv("LEARNLOOP_DATABASE_URL", database_url)
    settings.settings.cache_clear()
    engine.cache_clear()
    yield
    engine().dispose()
    engine.cache_clear()
    settings.settings.cache_clear()


@pytest.fixture
def answered(airflow, database_url):
    """``answered(name, *roles)``: what the API server notes of somebody before their answer reaches Airflow."""

    def note(name, *roles, dag="dataset_merge"):
        with session(database_url) as db:
            person = Principal(name, frozenset(roles))
            vouch_for(db, person, dag_id=dag, run_id=RUN, task_id="decide")

    return note


@pytest.fixture
def theirs(db, store, head):
    made = {"annotator": "ben", "annotated_at": datetime(2026, 5, 1, tzinfo=UTC)}
    branch = changed(db, store, head, user="ben", records={"s000": {"label": "bright", **made}})
    changed(db, store, head, records={"s000": {"label": None}, "s001": {"label": "dark"}})
    return branch.name


def context(user):
    return {"dag_run": SimpleNamespace(triggering_user_name=user), "run_id": RUN}


def open_merge(theirs, user="ben", dataset="lamps", **options):
    from learnloop_airflow.operators.merge import OpenMergeOperator

    return OpenMergeOperator(task_id="open", dataset=dataset, version=theirs, **options).execute(context(user))


def decide(opened, choice, who):
    from airflow.sdk import DAG

    from learnloop_airflow.operators.merge import DecideMergeOperator

    event = {
        "chosen_options": [choice],
        "params_input": {},
        "responded_at": datetime(2026, 5, 2, tzinfo=UTC),
        "responded_by_user": who and {"id": "7", "name": who},
    }
    with DAG("dataset_merge"):
        return DecideMergeOperator(task_id="decide", merge=opened).execute_complete(context("ben"), event)


def complete(opened):
    from learnloop_airflow.operators.merge import MergeOperator

    return MergeOperator(task_id="merge", merge=opened).execute(context("ben"))


def test_a_person_decides(answered, db, store, theirs):
    opened = open_merge(theirs)
    assert (opened["conflicts"], opened["unanswered"]) == (1, 1)
    with pytest.raises(Conflict, match=r"1 of 1 conflicts have no answer\. Answer them at http"):
        complete(opened)
    answered("ben", "scientist")
    assert decide(opened, "theirs", "ben") == {"merge_id": opened["merge_id"], "choice": "theirs", "by": "ben"}
    made = complete(opened)
    assert complete(opened) == made
    version = get_version(db, made["version"])
    assert labels_of(store, version)["s000"] == "bright"
    assert version.parents[1].name == theirs
    [row] = conflicts_of(db, get_merge(db, opened["merge_id"]))
    assert (row.answered_by, row.answer) == ("ben", "theirs")


def test_who_may_not_merge_decides_nothing(answered, db, head, theirs):
    answered("vera", "viewer")
    answered("sue", "scientist", dag="another")
    opened = open_merge(theirs)
    for who, problem in (
        ("vera", "vera may not dataset:merge"),
        ("sue", "does not count"),
        ("nobody", "does not count"),
        (None, "nobody is named"),
    ):
        for choice in ("theirs", "cancel"):
            with pytest.raises(PermissionDenied, match=problem):
                decide(opened, choice, who)
    merge = get_merge(db, opened["merge_id"])
    assert merge.state == "open"
    assert conflicts_of(db, merge)[0].answer is None


def test_another_ones_personal_version_is_for_its_owner(airflow, theirs):
    with pytest.raises(PermissionDenied, match="personal to ben"):
        open_merge(theirs, user="eva")
    assert open_merge(theirs, user=None)["unanswered"] == 1  # the service identity, for runs that nobody started


def test_a_strategy_asks_nobody(airflow, db, head, theirs):
    from learnloop_airflow.operators.merge import DecideMergeOperator

    opened = open_merge(theirs, strategy="newest", message="mine")
    assert opened["unanswered"] == 0
    assert DecideMergeOperator(task_id="decide", merge=opened).execute(context("ben"))["choice"] is None
    made = complete(opened)
    assert get_version(db, made["version"]).message == "mine"


def test_cancelled(answered, db, head, theirs):
    from airflow.sdk.exceptions import AirflowSkipException

    before = head_of(db, head.dataset).id
    opened = open_merge(theirs)
    answered("ben", "scientist")
    decide(opened, "cancel", "ben")
    with pytest.raises(AirflowSkipException, match="cancelled by ben"):
        complete(opened)
    db.expire_all()
    assert head_of(db, head.dataset).id == before


def test_a_version_of_another_dataset(airflow, theirs):
    with pytest.raises(InvalidInput, match="is a version of lamps, not of other"):
        open_merge(theirs, dataset="other")
