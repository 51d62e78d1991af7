"""Every DAG runs to its end with `dag.test()`, on real data, against the live stack's databases and model server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, make_url, text

from learnloop.database import Decision, Round, ScoringRun, StructureSearch, StructureTrial
from learnloop.database.engine import session
from learnloop.settings import load
from learnloop.stack.__main__ import running_environment
from learnloop.stack.places import Places

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SCRIPT = Path(__file__).parents[1] / "run_dags.py"


def empty_database(environment: dict[str, str]) -> str:
    """Beside Airflow's own in the stack's server: the live scheduler would run the same tasks."""
    url = make_url(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    maintenance = create_engine(url, isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(text("CREATE DATABASE airflow_of_dag_test"))
    maintenance.dispose()
    return url.set(database="airflow_of_dag_test").render_as_string(hide_password=False)


def test_every_dag_runs_to_its_end(live_stack, live_dataset, tmp_path: Path) -> None:
    user, password = live_stack.users["admin"]
    environment = {**running_environment(Places(live_stack.home)), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = empty_database(environment)
    environment["LEARNLOOP_BACKUP_REMOTE"] = str(tmp_path / "backups")
    subprocess.run(["airflow", "db", "migrate"], env=environment, check=True, capture_output=True, timeout=200)
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), live_stack.url, str(tmp_path / "digits"), user, password],
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert ran.returncode == 0, f"{ran.stderr[-4000:]}\n{ran.stdout[-4000:]}"
    lines = [line.split(maxsplit=3) for line in ran.stdout.splitlines() if line.startswith("RUN ")]
    # One of the DAGs starts another, which `dag.test()` cannot: test_pipelines_live.py has it.
    every = {path.stem for path in Path("dags").rglob("*.py")} - {"pipeline_incremental_training"}
    assert {line[1] for line in lines} == every
    assert len(list((tmp_path / "backups" / "backups").glob("*.head"))) == 1
    with session(load({"LEARNLOOP_HOME": str(live_stack.home)}).database_url) as db:
        (by_hand,) = (done for done in db.query(Round) if done.dataset.name == "digits-by-hand" and done.number == 1)
        assert by_hand.state in ("accepted", "rejected")
        assert by_hand.labels == 70  # 60 it began with, and the lot of ten that a right gold answer confirmed
        first, voted = db.query(ScoringRun).filter_by(dataset_id=by_hand.dataset_id).order_by(ScoringRun.id)
        assert (first.strategy, first.chosen, first.summary["random"]) == ("diverse_mini_batch", 20, 2)
        # The base model, and the one of round 1 if the gate accepted it: it is current then.
        members = [by_hand.model_version, by_hand.parent_model_version]
        assert voted.summary["committee"] == (members if by_hand.state == "accepted" else members[1:])
        searches = db.query(StructureSearch).filter_by(dataset_id=by_hand.dataset_id).order_by(StructureSearch.id)
        after_the_round, wanted = searches
        assert (after_the_round.state, after_the_round.trials) == ("not_needed", 0)
        assert "70 labelled samples, 90 would be a reason" in after_the_round.reason
        assert wanted.reason.startswith("asked for by ")
        assert wanted.state == "changed", wanted.outcome
        trials = db.query(StructureTrial).filter_by(search_id=wanted.id).order_by(StructureTrial.number).all()
        assert [(trial.state, trial.described.split()[0]) for trial in trials] == [
            ("done", "mlp"),
            ("done", "logistic"),
            ("failed", "logistic"),  # which failed nothing but itself
            ("done", "logistic"),
        ]
        assert "depth: Extra inputs are not permitted" in trials[2].reason
        (loser,) = (trial for trial in trials if trial.state == "done" and trial.number not in (0, wanted.chosen))
        assert loser.reason
        assert loser.model_version
        gate = db.query(Decision).filter_by(kind="structure", run_id=wanted.run_id).one()
        assert gate.comparison["model_version"] > loser.model_version
        assert (by_hand.dataset.loop["trainer"]["name"] == "logistic") is gate.accepted
        file = next(Path(voted.predictions).glob("batch-*.parquet"))
        assert len(pq.read_table(file)["committee"][0]) == 10 * len(voted.summary["committee"])
