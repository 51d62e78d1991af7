import json
from pathlib import Path

import pytest

from learnloop.errors import Corrupted, InvalidInput, NotFound
from learnloop.jobs.contract import Job, Places, prepare, read_progress, read_result
from learnloop.jobs.spec import JobSpec


@pytest.fixture
def places(tmp_path: Path) -> Places:
    spec = JobSpec(module="m", user="ann", params={"a": 1}, seed=7)
    made = Places.of(tmp_path, spec)
    prepare(made, spec)
    return made


def test_a_job_finds_its_places_and_commits(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in places.environment().items():
        monkeypatch.setenv(name, value)
    job = Job.current()
    assert job.params == {"a": 1, "seed": 7}
    assert read_result(places) is None
    folder = job.places.models / "model"
    folder.mkdir()
    (folder / "weights").write_text("w")
    job.finish({"accuracy": 0.5}, [folder])
    found = read_result(places)
    assert found is not None
    assert found.result == {"accuracy": 0.5}
    assert found.path("models/model") == folder
    with pytest.raises(NotFound, match=r"made no models/other; it made models/model/weights"):
        found.path("models/other")


def test_what_cannot_be_committed_is_refused(places: Places, tmp_path: Path) -> None:
    job = Job(places)
    outside = tmp_path / "outside"
    outside.write_text("x")
    with pytest.raises(InvalidInput, match="not below RESULTS_DIR or MODELS_DIR"):
        job.finish({}, [outside])
    with pytest.raises(InvalidInput, match="does not exist"):
        job.finish({}, [places.models / "nothing"])
    with pytest.raises(InvalidInput, match="not JSON"):
        job.finish({"loss": float("nan")})
    assert read_result(places) is None


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a job's result"),
        ('{"result": {}, "outputs": {"models/../../x": "0"}}', "must be below results/ or models/"),
        ('{"result": {}, "outputs": {"models/x": "0"}}', "models/x is missing"),
    ],
)
def test_a_bad_marker_is_corrupted(places: Places, marker: str, message: str) -> None:
    (places.results / "result.json").write_text(marker)
    with pytest.raises(Corrupted, match=message):
        read_result(places)


def test_progress_leaves_out_a_torn_line(places: Places) -> None:
    Job(places).progress(epoch=1)
    with (places.results / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 2})[:5])
    assert [line["epoch"] for line in read_progress(places.results)] == [1]


def test_a_checkpoint_outlives_an_attempt_but_not_other_work(places: Places, tmp_path: Path) -> None:
    spec = JobSpec(module="m", user="ann", params={"a": 1}, seed=7)
    (Job(places).checkpoint_dir / "epoch").touch()
    (places.results / "old").touch()
    prepare(places, spec)
    assert (places.results / "checkpoint" / "epoch").exists()
    assert not (places.results / "old").exists()
    prepare(places, spec.model_copy(update={"params": {"a": 2}}))
    assert not (places.results / "checkpoint").exists()


def test_outside_a_job_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_DIR", raising=False)
    with pytest.raises(InvalidInput, match=r"DATA_DIR.* not set"):
        Job.current()


def test_a_result_that_is_a_link_counts_for_nothing(places: Places, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"result": {}, "outputs": {}}')
    (places.results / "result.json").symlink_to(other)
    with pytest.raises(Corrupted, match="is a link"):
        read_result(places)
