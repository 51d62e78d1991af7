"""Runs each DAG with `dag.test()`: in this process, task after task, as a person debugging a DAG file would.

`python run_dags.py URL FOLDER USER PASSWORD`, in the environment of a running stack's components but with an Airflow
database of its own, so that no scheduler runs the same tasks. A dataset is written into FOLDER. Ends with 1 and
the failed tasks when a run does not succeed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from learnloop.client import LearnloopClient
from learnloop.stack.demo import digits

DAGS = Path(__file__).parents[3] / "dags"
NAME = "digits-by-hand"


def load(dag_id: str) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    (file,) = DAGS.rglob(f"{dag_id}.py")
    bag = BundleDagBag(dag_folder=file, bundle_path=DAGS, bundle_name="dags-folder")
    if bag.import_errors:
        sys.exit(f"{dag_id} does not load: {bag.import_errors}")
    return bag.dags[dag_id]


def run(dag_id: str, **conf: Any) -> None:
    done = load(dag_id).test(run_conf=conf)
    states = {task.task_id: str(task.state) for task in done.get_task_instances()}
    print("RUN", dag_id, str(done.state), states, flush=True)
    if str(done.state) != "success":
        sys.exit(f"{dag_id} ended as {done.state}: {states}")


def personal_version() -> str:
    """A version personal to who runs DAGs here, with one label changed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from learnloop.database import session
    from learnloop.datasets import workspaces
    from learnloop.datasets.store import Store
    from learnloop.datasets.versions import get_dataset
    from learnloop.settings import settings

    with session() as db:
        head = get_dataset(db, NAME).head
        assert head is not None
    store, owner = Store(settings().store), "dag_test"
    made = workspaces.create(
        session,
        store,
        head.name,
        owner=owner,
        name="by-hand",
        namespaces=settings().namespaces,
        quota=workspaces.Quota(2, 2**30),
    )
    path = Path(made.path) / "annotations.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    row = next(row for row in rows if row["split"] == "train")
    row["label"] = "0" if row["label"] != "0" else "1"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return workspaces.commit(session, store, "by-hand", owner=owner, message="one label").name


def have_models_vote() -> None:
    """As a new version of the dataset with this in its dataset.yaml would."""
    from learnloop.database import session
    from learnloop.datasets.versions import get_dataset

    with session() as db:
        dataset = get_dataset(db, NAME)
        dataset.loop = {**dataset.loop, "query": {**dataset.loop["query"], "strategy": "vote_entropy"}}


def have_a_poor_structure() -> None:
    """So that a search finds a better one: a linear model, and the one that Optuna proposes."""
    from learnloop.database import session
    from learnloop.datasets.versions import get_dataset

    with session() as db:
        dataset = get_dataset(db, NAME)
        poor = {"name": "mlp", "hidden": [4], "parameters": {"max_epochs": 5}}
        dataset.loop = {**dataset.loop, "trainer": poor, "structure": {"families": ["logistic"]}}


@contextmanager
def a_trial_that_fails(number: int) -> Iterator[None]:
    """The database gives the trial of that number a parameter that no trainer takes."""
    from sqlalchemy import text

    from learnloop.database import engine

    wrong = """jsonb_set(NEW.candidate, '{trainer,parameters}', '{"depth": 3}')"""
    body = f"BEGIN IF NEW.number = {number} THEN NEW.candidate = {wrong}; END IF; RETURN NEW; END"
    made = (
        f"CREATE FUNCTION wrong_candidate() RETURNS trigger AS $$ {body} $$ LANGUAGE plpgsql",
        "CREATE TRIGGER wrong_candidate BEFORE INSERT ON structure_trials"
        " FOR EACH ROW EXECUTE FUNCTION wrong_candidate()",
    )
    with engine().begin() as connection:
        for statement in made:
            connection.execute(text(statement))
    yield
    with engine().begin() as connection:
        connection.execute(text("DROP FUNCTION wrong_candidate CASCADE"))


def main(url: str, folder: str, user: str, password: str) -> None:
    data = digits.write(Path(folder), NAME, budget=20)
    run(
        "base_model_training", path=str(data.dataset), message="42"
    )  # as text: templates that make Python values would make a number
    run("score_incoming_data", dataset=NAME, path=str(data.pool), batch="2026")
    with LearnloopClient.login(url, user, password) as annotator:
        for _ in range(12):  # fewer than start a round: it is started by hand below
            task = annotator.claim(NAME)
            assert task is not None
            annotator.submit(task.id, data.truth[task.sample_id], seconds=random.uniform(0.5, 2))
    run("incremental_training", dataset=NAME)
    have_models_vote()
    run("score_incoming_data", dataset=NAME, batch="2026")
    run("structure_optimization", dataset=NAME, when="if_needed")
    have_a_poor_structure()
    with a_trial_that_fails(number=2):
        run("structure_optimization", dataset=NAME, trials=4)
    run("workspace_training", dataset=NAME, trainer={"hidden": [16]}, keep=True)
    run("plain_training", dataset=NAME)
    run("hyperparameter_sweep", dataset=NAME, grid={"name": ["mlp"], "hidden": [[4], [8]]})
    run("batch_inference", dataset=NAME, batch="2026")
    run("dataset_merge", dataset=NAME, version=personal_version(), strategy="newest")
    run("dispatch_rounds")
    run("platform_maintenance")
    run("storage_maintenance")
    run("backup_maintenance")


if __name__ == "__main__":
    main(*sys.argv[1:])
