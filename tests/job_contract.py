"""What every runner of jobs promises, as one suite: `JobContract`, which a test file of each runner subclasses.

Jobs run as a task of Airflow's runs them, by `JobOperator`, so that it is the setting alone that chooses the runner.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from job_sources import FAIL, SILENT, TRAIN, spec
from job_tasks import Task
from waits import eventually

from learnloop.errors import Conflict, InvalidInput, JobFailed
from learnloop.jobs.contract import read_progress

ENVIRONMENT = """
import json, os
from learnloop.jobs.contract import Job
job = Job.current()
names = ("DATA_DIR", "CACHE_DIR", "RESULTS_DIR", "MODELS_DIR")
job.finish({
    "places": {name: os.environ[name].split("/")[-2:] for name in names},
    "threads": os.environ["OMP_NUM_THREADS"],
    "home": os.environ["HOME"] == os.environ["CACHE_DIR"] == os.getcwd(),
    "worth": os.environ["WORTH"],
    "secrets": [name for name in os.environ if "DATABASE" in name or "AIRFLOW" in name],
    "data": sorted(os.listdir(os.environ["DATA_DIR"])),
})
"""


class JobContract:
    """``runner`` (a fixture) is the Python that jobs of this runner start with; settings say which runner it is."""

    def test_a_job_commits_its_result_outputs_progress_and_log(self, runner: str) -> None:
        found = Task(spec(TRAIN, python=runner, seed=7)).run()
        assert found["result"] == {"resumed": False, "seed": 7}
        assert (Path(found["models_dir"]) / "model" / "weights").read_text() == "weights"
        results = Path(found["results_dir"])
        marker = json.loads((results / "result.json").read_text())
        assert list(marker["outputs"]) == ["models/model/weights"]
        assert [line["epoch"] for line in read_progress(results)] == [1]
        assert (results / "job.log").read_text().splitlines()[-1] == "done"

    def test_what_a_job_finds(self, runner: str) -> None:
        found = Task(spec(ENVIRONMENT, python=runner, outputs=[], env={"WORTH": "$(HOME) $5"})).run()["result"]
        (place,) = {tuple(place) for place in found["places"].values()}
        assert place[0] == "ann"
        assert found == {
            "places": found["places"],
            "threads": "1",
            "home": True,
            "worth": "$(HOME) $5",
            "secrets": [],
            "data": [],
        }

    def test_a_failure_is_told_with_the_last_lines_and_may_be_tried_again(self, runner: str) -> None:
        task = Task(spec(FAIL, python=runner, outputs=[]))
        for _ in range(2):
            with pytest.raises(JobFailed, match=r"exit code 3; its last lines:\n  reading the data\n  out of ideas"):
                task.run()

    def test_a_command_that_does_not_exist_is_named(self, runner: str) -> None:
        fields = spec(outputs=[]) | {"command": ["no-such-program", "x"]}
        with pytest.raises(JobFailed, match="no-such-program"):
            Task(fields).run()

    def test_a_job_over_its_timeout_is_ended(self, runner: str) -> None:
        job = spec(TRAIN, python=runner, params={"seconds": 600}, timeout_seconds=6)
        with pytest.raises(JobFailed, match="ran longer than its timeout of 6 s and was killed"):
            Task(job).run()

    def test_a_job_ended_with_its_task_is_gone_and_resumes_from_its_checkpoint(
        self, runner: str, results: Path
    ) -> None:
        task = Task(spec(TRAIN, python=runner, params={"seconds": 600}))
        going = task.start()
        eventually(lambda: any(results.glob("*/*/checkpoint/epoch")))
        going.kill()
        assert not any(results.glob("*/*/result.json"))
        assert task.run()["result"]["resumed"] is True

    def test_a_crash_is_told_and_the_next_try_resumes(self, runner: str) -> None:
        task = Task(spec(TRAIN, python=runner, params={"crash": True}))
        with pytest.raises(JobFailed, match="ended with exit code 9"):
            task.run()
        assert task.run()["result"]["resumed"] is True

    def test_one_key_runs_once(self, runner: str) -> None:
        job = spec(TRAIN, python=runner, idempotency_key="round-1")
        first = Task(job).run()
        again = Task(job, run_id="another", task_id="another").run()
        assert again == first
        assert len(read_progress(Path(first["results_dir"]))) == 1
        with pytest.raises(Conflict, match="already holds the result of other work"):
            Task({**job, "seed": 3}).run()

    def test_a_marker_counts_only_with_a_clean_end(self, runner: str) -> None:
        task = Task(spec(TRAIN, python=runner, params={"exit": 4}))
        for _ in range(2):
            with pytest.raises(JobFailed, match="exit code 4"):
                task.run()

    def test_a_promised_output_must_be_declared_and_a_result_written(self, runner: str) -> None:
        with pytest.raises(JobFailed, match=r"did not declare the outputs its spec promises: results/report\.json"):
            Task(spec(TRAIN, python=runner, outputs=["models/model", "results/report.json"])).run()
        with pytest.raises(JobFailed, match=r"wrote no result\.json"):
            Task(spec(SILENT, python=runner, outputs=[])).run()

    def test_a_damaged_result_is_noticed_and_made_again(self, runner: str) -> None:
        task = Task(spec(TRAIN, python=runner))
        weights = Path(task.run()["models_dir"]) / "model" / "weights"
        weights.write_text("damaged")
        task.run()
        assert weights.read_text() == "weights"

    def test_a_spec_that_is_wrong_runs_nothing(self, runner: str) -> None:
        with pytest.raises(InvalidInput, match="give either a module"):
            Task({"command": [], "params": {}}).run()
        with pytest.raises(InvalidInput, match="is the runner's to set"):
            Task(spec(TRAIN, python=runner, env={"RESULTS_DIR": "/"})).run()
