"""How many SQL statements a read costs does not depend on how many rows there are."""

from __future__ import annotations

import pytest
from openapi_walk import Made, requests_of
from platform_data import DATASET, PIPELINE, USER, add_rows
from sent_statements import counted
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from learnloop.database import AnnotationTask, Dataset, DatasetVersion, engine
from learnloop.datasets.store import Store
from learnloop.permissions import Principal
from learnloop.settings import settings
from learnloop_airflow.api import auth
from learnloop_airflow.api.app import create_app

MOST = 12
"""No read needs more, however it is done."""


@pytest.fixture(scope="module")
def reads(platform) -> tuple[TestClient, list[Made]]:
    app = create_app()
    app.dependency_overrides[auth.principal] = lambda: Principal(USER, frozenset({"admin"}))
    with Session(engine()) as db:
        task = db.scalar(select(AnnotationTask.id).where(AnnotationTask.claimed_by == USER))
    known = {
        "datasets.name": DATASET,
        "versions.name": f"{DATASET}_v1.1",
        "versions.before": f"{DATASET}_v1.0",
        "versions.after": f"{DATASET}_v1.1",
        "models.name": DATASET,
        "models.version": 1,
        "models.before": 1,
        "models.after": 2,
        "workspaces.name": "mine",
        "pipelines.name": PIPELINE,
        "merge_id": 1,
        "review_id": 1,
        "task_id": task,
        "limit": 200,
        "state": "all",
    }
    client = TestClient(app)
    made_workspace = client.post("/workspaces", json={"version": f"{DATASET}_v1.1", "name": "mine"})
    assert '"result"' in made_workspace.text
    airflows = ("/runs/", "/events/stream", "/pipelines/{name}/runs")  # they ask Airflow's database too
    made = [
        one for one in requests_of(app.openapi(), known) if one.method == "GET" and not one.path.startswith(airflows)
    ]
    for one in made:
        for name in ("cursor", "user", "action", "since", "until", "label", "batch", "most_confidence"):
            one.values["query"].pop(name, None)  # all there is
        if one.path.endswith("/tasks"):
            one.values["query"]["state"] = "open"
    assert len(made) > 15
    return client, made


def measure(client: TestClient, reads: list[Made]) -> dict[str, tuple[int, int, list[str]]]:
    """By path: how many statements, how large the answer, which statements."""
    found = {}
    for one in reads:
        with counted() as sent:
            answer = client.request(**one.arguments)
        assert answer.status_code == 200, (str(one), answer.text)
        found[one.path] = (len(sent), len(answer.content), sent)
    return found


def test_many_rows_cost_as_many_statements_as_few(reads) -> None:
    client, made = reads
    few = measure(client, made)
    with Session(engine()) as db:
        dataset = db.scalars(select(Dataset).where(Dataset.name == DATASET)).one()
        first = db.scalars(select(DatasetVersion).where(DatasetVersion.name == f"{DATASET}_v1.0")).one()
        add_rows(db, Store(settings().store), dataset, first, 40)
        db.commit()
    many = measure(client, made)
    grown = {path: (few[path][0], many[path][0], many[path][2]) for path in few if many[path][0] > few[path][0]}
    assert grown == {}
    assert {path: found[0] for path, found in many.items() if found[0] > MOST} == {}
    lists = [path for path in many if many[path][1] > 5 * few[path][1]]
    assert len(lists) >= 8, lists  # otherwise there were no rows to pay for


def test_a_read_writes_nothing(reads) -> None:
    client, made = reads
    sent = {statement for _, _, statements in measure(client, made).values() for statement in statements}
    assert len(sent) > 30
    assert [each for each in sent if not each.lstrip().startswith(("SELECT", "WITH"))] == []


def test_a_statement_for_each_row_would_be_seen(platform) -> None:
    with Session(engine()) as db, counted() as sent:
        for dataset in db.scalars(select(Dataset)):
            assert dataset.head is not None
    assert len(sent) > 3
