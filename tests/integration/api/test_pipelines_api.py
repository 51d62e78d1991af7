"""Pipelines over the API, as a client and a terminal use it. What asks Airflow is tried on the live stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import ONE, Run, bundle, dags_of, python
from test_data_cli import run  # noqa: F401 - fixture

from learnloop.audit import LOGIN, Entry
from learnloop.database import engine
from learnloop.pipelines.comparing import LOG_LINES, tail

ONE_TEXT = "name: one\ndescription: first\nstages:\n  a: {module: x.y, params: {n: 1}}\n"


def put(client: Any, text: str, **fields: Any) -> Any:
    return client.post("/pipelines", json={"declaration": text, **fields})


def test_a_pipeline_is_applied_listed_and_shown(as_user: Any) -> None:
    engineer = as_user("eng", "engineer")
    made = put(engineer, ONE_TEXT, message="begin")
    assert made.status_code == 201
    assert (made.json()["version"], made.json()["dag_id"]) == (1, "pipeline.one")
    assert put(engineer, ONE_TEXT).json()["version"] == 1
    put(engineer, "name: two\nextends: one\nstages: {b: {module: z, after: [a]}}")
    two, one = as_user("sue", "scientist").get("/pipelines").json()["items"]
    assert (two["name"], two["extends"], two["stages"]) == ("two", "one@1", ["a", "b"])
    assert (one["version"], one["owner"], one["personal"]) == (1, "eng", False)
    shown = engineer.get("/pipelines/one").json()
    assert (shown["declaration"], shown["message"], shown["derived"]) == (ONE_TEXT, "begin", ["two"])
    assert engineer.get("/pipelines/two").json()["whole"]["stages"]["a"]["params"] == {"n": 1}
    assert engineer.get("/pipelines/one/versions").json()["items"][0]["number"] == 1
    assert engineer.get("/pipelines/one/versions/2").status_code == 404


def test_a_dry_run_changes_nothing(as_user: Any) -> None:
    answer = put(as_user("eng", "engineer"), ONE_TEXT, dry_run=True)
    assert (answer.status_code, answer.json()["version"]) == (201, None)
    assert answer.json()["whole"]["stages"]["a"]["module"] == "x.y"
    assert as_user("eng", "engineer").get("/pipelines").json()["items"] == []


BAD = [
    ("name: a\nstages:\n  x: {module: m, after: [y]}\n  y: {module: m, after: [x]}", 422, "stages: x -> y -> x"),
    ("name: a\nstages: {x: {module: m, colour: red}}", 422, "stages.x.colour: unknown field"),
    ("name: a\nstages: {X_1: {module: m}}", 422, "stages.X_1: the stage's name must be a DNS label"),
    ("name: a\nstages: {x: {module: m, image: other/image}}", 422, "stages.x.image: other/image is no image"),
    ("name: a\nstages: {x: {module: m, resources: {cpu: 1000}}}", 422, "stages.x.resources.cpu: 1000 is beyond"),
    ("name: a\nb: &b [x]\nc: *b", 422, "line 2, column 4: anchors and aliases"),
    ("name: a\nstages: !!python/object/apply:os.system [id]", 422, "the tag"),
    ("x" * 200_000, 422, "longer than 128 KiB"),
    ("x" * 10_000_000, 413, "at most"),
    ("name: '{{ 1 }}'\nstages: {'$(id)': {module: '; rm'}}", 422, "stages.$(id).module: String should match"),
]


def test_bad_input_is_told_in_one_list_and_changes_nothing(as_user: Any) -> None:
    engineer = as_user("eng", "engineer")
    for text, status, says in BAD:
        answer = put(engineer, text)
        assert answer.status_code == status, (text[:50], answer.text)
        assert says in answer.text
    assert engineer.get("/pipelines").json()["items"] == []


def test_who_may_what(as_user: Any) -> None:
    assert put(as_user("sue", "scientist"), ONE_TEXT).status_code == 403
    put(as_user("eng", "engineer"), ONE_TEXT, personal=True)
    assert as_user("eng", "engineer").get("/pipelines/one").json()["personal"]
    for name, role in (("sue", "scientist"), ("ada", "admin")):
        other = as_user(name, role)
        assert other.get("/pipelines").json()["items"] == []
        for path in ("", "/versions", "/versions/1", "/runs", "/runs/r", "/runs/r/diff?to=x", "/runs/r/stages/a/log"):
            assert other.get(f"/pipelines/one{path}").status_code == 404, path
        assert other.get("/runs/pipeline.one/r/progress").json()["detail"] == "there is no pipeline 'one'"
        for path in ("runs", "runs/r/cancel", "runs/r/rerun"):
            body = {"json": {}} if path.endswith("rerun") else {}
            assert other.post(f"/pipelines/one/{path}", **body).status_code == 404, path
        assert other.delete("/pipelines/one").status_code in (403, 404)
        assert other.delete("/pipelines/one/resources").status_code == 404
    taken = put(as_user("bob", "engineer"), ONE_TEXT)
    assert (taken.status_code, taken.json()["detail"]) == (409, "the name one is taken: choose another")
    for method, path in (("GET", "/pipelines"), ("GET", "/pipelines/one"), ("POST", "/pipelines/one/runs")):
        assert as_user("ann", "annotator").request(method, path).status_code == 403


def test_who_leaves_hands_their_pipelines_over(as_user: Any) -> None:
    put(as_user("eng", "engineer"), ONE_TEXT, personal=True)
    Entry(resource="/x", address="127.0.0.1", request_id="r", action=LOGIN, user="bob", status=200).write()
    left = as_user("ada", "admin").post("/users/offboard", json={"name": "eng", "to": "bob"})
    assert '"result"' in left.text, left.text
    assert as_user("bob", "engineer").get("/pipelines/one").json()["personal"]
    assert as_user("eng", "engineer").get("/pipelines/one").status_code == 404
    assert put(as_user("bob", "engineer"), ONE_TEXT + "  b: {module: z}", personal=True).json()["version"] == 2


@pytest.fixture
def two_runs(as_user: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of two versions of a pipeline, by two people, as tasks of Airflow's would have run them."""
    import json

    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    stage = python()
    for number, user in enumerate(("sue", "bob"), 1):
        stages = {"a": {**stage, "params": {"accuracy": number / 10}}}
        assert put(as_user("eng", "engineer"), json.dumps({**ONE, "stages": stages})).status_code == 201
        dags, _ = dags_of(bundle())
        Run(dags["pipeline.one"], user=user, run_id=f"run {number}").all()
    engine().dispose()
    return ["run 1", "run 2"]


def test_two_runs_are_compared_and_logs_are_ones_own(two_runs: list[str], as_user: Any) -> None:
    before, after = two_runs
    path = f"/pipelines/one/runs/{before}/diff"
    (stage,) = as_user("sue", "scientist").get(path, params={"to": after}).json()["stages"]
    differing = {each["path"]: (each["before"], each["after"]) for each in stage["configuration"]}
    assert differing == {"params.accuracy": (0.1, 0.2), "user": ("sue", "bob")}
    metrics = {each["path"]: each for each in stage["metrics"]}
    assert metrics["accuracy"]["change"] == pytest.approx(0.1)
    assert stage["log"] is None  # one run is bob's
    (stage,) = as_user("ada", "admin").get(path, params={"to": after, "stage": "a"}).json()["stages"]
    assert any(line.startswith("-learning {'accuracy': 0.1") for line in stage["log"])
    assert any(line.startswith("+learning {'accuracy': 0.2") for line in stage["log"])
    assert as_user("sue", "scientist").get(path, params={"to": after, "stage": "none"}).status_code == 404
    assert as_user("sue", "scientist").get(path, params={"to": "none"}).status_code == 404
    mine = as_user("sue", "scientist").get(f"/pipelines/one/runs/{before}/stages/a/log")
    assert mine.json()["lines"][0].startswith("learning")
    assert as_user("bob", "scientist").get(f"/pipelines/one/runs/{before}/stages/a/log").status_code == 403
    assert as_user("sue", "scientist").get(f"/pipelines/one/runs/{before}/stages/b/log").status_code == 404


def test_a_log_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password\n")
    (tmp_path / "job.log").symlink_to(tmp_path / "secret")
    assert tail(tmp_path) == []
    (tmp_path / "job.log").unlink()
    assert tail(tmp_path) == []
    (tmp_path / "job.log").write_bytes(b"\xff line\n" * 100_000)
    assert len(tail(tmp_path)) == LOG_LINES


def test_the_command_line_applies_and_shows(run: Any, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "one.yaml"
    file.write_text(ONE_TEXT)
    assert "nothing is wrong" in shown(run, "eng", "pipeline", "apply", str(file), "--dry-run")
    assert "one version 1; in Airflow it is the DAG pipeline.one" in shown(
        run, "eng", "pipeline", "apply", str(file), "-m", "begin"
    )
    assert "one" in shown(run, "eng", "pipeline", "list")
    assert "description: first" in shown(run, "eng", "pipeline", "show", "one")
    assert "begin" in shown(run, "eng", "pipeline", "versions", "one")
    file.write_text("name: one\nstages: {a: {}, b: {}}")
    said = shown(run, "eng", "pipeline", "apply", str(file), code=1)
    assert "stages.a: give either a module" in said
    assert "stages.b: give either a module" in said
    file.write_bytes(b"a" * 10_000_000)
    assert "longer than 128 KiB" in shown(run, "eng", "pipeline", "apply", str(file), code=1)
    file.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in shown(run, "eng", "pipeline", "apply", str(file), code=1)


def shown(run: Any, *words: str, code: int = 0) -> str:  # noqa: F811
    """What the terminal shows, its lines put together."""
    return " ".join(run(*words, code=code).output.split())
